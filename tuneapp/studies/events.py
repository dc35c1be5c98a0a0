"""What happens to a study, as frozen values: one line of trials.jsonl each.

A line is `{"event": kind, "time": unix seconds, "clock": seconds of running, …}`. Lines of 0.1.0 have no
`clock` and no `seconds`. Kinds that a newer version may add are left out when read.
"""

import json
import math
import sys
from dataclasses import dataclass, fields
from typing import Any

from tuneapp.errors import TuneappError, printable_json
from tuneapp.settings import Config, Metrics
from tuneapp.studies.trials import ENDS, TrialState


@dataclass(frozen=True, kw_only=True)
class _Timed:
    time: float = 0.0  # unix seconds when it was written, for people: clocks may jump
    clock: float | None = None  # seconds that the study has run by then, pauses left out


@dataclass(frozen=True)
class Asked(_Timed):
    """The search proposed a trial."""

    trial: int
    config: Config
    origin: str
    seed: int


@dataclass(frozen=True)
class Started(_Timed):
    """A worker took the trial."""

    trial: int


@dataclass(frozen=True)
class Restarted(_Timed):
    """The trial's worker was lost, and another one took the trial."""

    trial: int


@dataclass(frozen=True)
class Reported(_Timed):
    """One iteration of a trial."""

    trial: int
    iteration: int  # from 1
    metrics: Metrics
    worker: str = ""  # host:pid
    checkpoint: str | None = None  # a folder relative to the run directory
    seconds: float | None = None  # that the objective has run so far, over all lives of the trial


@dataclass(frozen=True)
class Ended(_Timed):
    """The end of a trial. Its line is called after the state: finished, stopped, failed …"""

    trial: int
    state: TrialState
    reason: str = ""
    details: str = ""  # a traceback
    seconds: float | None = None  # as in Reported


@dataclass(frozen=True)
class Extended(_Timed):
    """The study got more trials after its first request."""

    samples: int
    warmup: int
    budget: dict[str, Any] | None = None  # what of the request's budget is new, by field


@dataclass(frozen=True)
class Planned(_Timed):
    """The first driver chose the lag, so that a resume with other workers proposes the same trials."""

    lag: int


@dataclass(frozen=True)
class Tested(_Timed):
    """The test set was read for a trial."""

    trial: int
    metrics: Metrics


@dataclass(frozen=True)
class Closed(_Timed):
    """The driver came to the end of the study."""

    by: str = "samples"  # what ended it: one of ENDINGS; records of 0.1.0 name none


Event = Asked | Started | Restarted | Reported | Ended | Extended | Planned | Tested | Closed
ENDINGS = (
    "samples",  # all are over, or a finite space is used up
    "time",  # what --time gave is used up, or too little is left for another trial
    "until",  # a trial ended with the condition fulfilled
    "patience",  # so many trials ended since the incumbent
    "failures",  # the first trials failed alike
)
NAMES = {
    "asked": Asked,
    "started": Started,
    "restarted": Restarted,
    "iteration": Reported,
    **{state.value: Ended for state in ENDS},
    "extended": Extended,
    "planned": Planned,
    "tested": Tested,
    "closed": Closed,
}
_OPTIONAL = ("worker", "checkpoint", "seconds", "reason", "details", "clock", "budget")
LARGEST = sys.float_info.max
MOST = 10**12  # beyond it, nothing is a count


def to_line(event: Event) -> str:
    """The event as JSON, without a line break. nan and infinities become strings that float() reads."""
    data = {each.name: getattr(event, each.name) for each in fields(event)}
    if isinstance(event, Ended):
        name = str(data.pop("state"))
    else:
        name = next(key for key, kind in NAMES.items() if isinstance(event, kind))
    data = {key: value for key, value in data.items() if key not in _OPTIONAL or value not in (None, "")}
    return json.dumps({"event": name, "time": data.pop("time"), **_plain(data)}, allow_nan=False)


def from_line(line: str) -> Event | None:
    """The event that a line tells; None for a kind of a newer version.

    Raises TuneappError, in words that go on after "line 7 ", for what is no event.
    """
    try:
        data = json.loads(line)
        if "\\ud" in line.lower():  # a lone surrogate, perhaps: no report could be written with one
            data = printable_json(data)
    except (ValueError, RecursionError) as error:
        raise TuneappError(f"is not JSON ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("event"), str):
        raise TuneappError(f"must be an object with an `event`, but is {line:.40}")
    name = data["event"]
    kind = NAMES.get(name)
    if kind is None:
        return None
    values = {each.name: data[each.name] for each in fields(kind) if each.name in data}
    if kind is Ended:
        values["state"] = TrialState(name)
    for each in fields(kind):
        if each.name in values:
            values[each.name] = _read(each.name, values[each.name])
        elif each.default is each.default_factory:  # both MISSING: it has no default
            raise TuneappError(f"must have `{each.name}`, but the event '{name}' has none")
    return kind(**values)  # type: ignore[no-any-return]


def _read(name: str, value: Any) -> Any:
    """The value of a field, checked: a damaged record must not end in a traceback."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "trial" | "seed" | "iteration" | "samples" | "warmup" | "lag":
            low = 1 if name in ("iteration", "samples") else 0
            fits = whole and low <= value and (value <= MOST or name == "seed")
            what = f"a whole number from {low}" + ("" if name == "seed" else f" to {MOST:,}")
        case "time" | "clock" | "seconds":
            fits, what = (
                (number and -LARGEST <= value <= LARGEST) or (value is None and name != "time"),
                "a number",
            )
        case "budget":
            fits, what = value is None or isinstance(value, dict), "an object"
        case "config":
            fits, what = isinstance(value, dict), "an object"
        case "metrics":
            fits = isinstance(value, dict) and all(map(_is_metric, value.values()))
            what = "an object of numbers"
        case "checkpoint":
            fits, what = value is None or isinstance(value, str), "a path"
        case _:
            fits, what = isinstance(value, str), "a text"
    if not fits:
        raise TuneappError(f"must have {what} as `{name}`, but has {json.dumps(value):.40}")
    if name == "metrics":
        return {key: _metric(item) for key, item in value.items()}
    return value


def _metric(value: str | float) -> float:
    """Whole numbers beyond the largest float, which somebody else may have written, are infinite."""
    try:
        return float(value)
    except OverflowError:
        return -math.inf if str(value).startswith("-") else math.inf


def _is_metric(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("nan", "inf", "-inf")
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()  # numpy and torch scalars
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
