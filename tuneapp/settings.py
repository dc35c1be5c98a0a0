"""Every setting, once: what a study is asked to do, and how it is run and shown.

The fields below are the flags of the command line, the keywords of the Python API, the sections of a
search-space file, and docs/settings.md. Request is what run.json freezes: workers get it, resume reads it.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

from tuneapp.declarations import STUDIES, Declared, Setting, check, declared, finite
from tuneapp.errors import UnknownName, UsageError, nearest

Config = dict[str, Any]  # hyperparameter -> value; inactive conditional hyperparameters are absent
Metrics = dict[str, float]  # one iteration's numbers
Mode = Literal["max", "min"]
At = Literal["last", "best"]

SEARCHED = ("tune", "fed")  # the commands that search
IMAGES, FEDERATED, COMMAND = "an image set", "a federation", "a command"  # kinds of tasks


@dataclass(frozen=True)
class Metric:
    """The number that steers, and whether more of it is better."""

    name: str
    mode: Mode = "max"
    at: At = "last"  # the iteration that counts of a trial's

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise UsageError(f"A metric's name must be a text, but got {self.name!r:.40}.")
        if self.mode not in ("max", "min"):
            raise UsageError(f"A metric's mode must be max or min, but got '{self.mode}' for '{self.name}'.")
        if self.at not in ("last", "best"):
            raise UsageError(f"A metric's at must be last or best, but got '{self.at}' for '{self.name}'.")

    @classmethod
    def parse(cls, text: str, mode: Mode | None = None) -> "tuple[Metric, bool]":
        """`loss`, `seconds:min`, `val_accuracy:max:best`; and whether its mode was guessed.

        Only :min, :max, :last and :best at the end are split off. `mode` is that of a text that names none;
        where it is None too, the name decides. A name that holds a colon needs a mode: `a:b:max`.
        """
        if not text.partition(":")[0]:
            raise UsageError(f"A metric must have a name, as in val_loss:min, but got '{text}'.")
        name, own_mode, at = text, None, None
        while True:
            rest, colon, word = name.rpartition(":")
            if not colon or not rest:
                break
            if word in ("max", "min") and own_mode is None:
                own_mode = word
            elif word in ("last", "best") and at is None:
                at = word
            else:
                break
            name = rest
        if ":" in name and own_mode is None and mode is None:  # a slip, or part of the name?
            ending = name.rpartition(":")[2]
            raise UsageError(
                f"A metric's mode must be max or min, but got '{ending}' in '{text}'."
                f"{nearest(ending, ['max', 'min', 'last', 'best'])} If '{name}' is the metric's name, write "
                f"'{name}:max' or '{name}:min'."
            )
        chosen = own_mode or mode or usual_mode(name)
        return cls(name, chosen, at or "last"), own_mode is None and mode is None  # type: ignore[arg-type]

    def score(self, value: float) -> float:
        """Higher is better, whatever the mode."""
        return value if self.mode == "max" else -value


def usual_mode(name: str) -> Mode:
    """min for a name that says that it is a loss, an error or a time."""
    return "min" if name.endswith(("loss", "error", "seconds")) else "max"


@dataclass(frozen=True)
class MetricSettings:
    """What steers, as a caller says it; a search-space file says `metric: {name: …, mode: …, at: …}`."""

    metric: Annotated[
        tuple[str | Metric, ...],
        Setting(
            "Metric that steers, perhaps with its mode, and with the iteration that counts: val_loss:min, "
            "val_loss:min:best. Repeatable: several are traded off against each other.",
            "Metric",
            default="the task's own",
            yaml="metric.name",
            commands=(*STUDIES, "ask_tell"),
        ),
    ] = ()
    mode: Annotated[
        Mode | None,
        Setting(
            "Whether more (max) or less (min) is better of a metric that does not say.",
            "Metric",
            default="min where a name ends in loss, error or seconds, else max",
            commands=(*STUDIES, "ask_tell"),
        ),
    ] = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SearchSettings:
    """How configs are chosen."""

    algorithm: Annotated[
        str,
        Setting(
            "How trials are chosen.",
            "Search",
            choices="tuneapp.search.trials:SEARCHES",
            keyword="search",
            commands=(*SEARCHED, "ask_tell"),
        ),
    ] = "bayes"
    samples: Annotated[
        int,
        Setting(
            "Trials in all, warm-up included.",
            "Search",
            low=1,
            default_of={"fed": "one federation is trained, nothing is searched"},
            commands=(*SEARCHED, "resume", "ask_tell"),
        ),
    ] = 30
    warmup: Annotated[
        int | None,
        Setting(
            "Random trials before the model.",
            "Search",
            low=0,
            default="a third of the samples, 10 at most",
            commands=(*SEARCHED, "ask_tell"),
        ),
    ] = None
    repeats: Annotated[
        int,
        Setting("Seeds that a config is run with, if it may win.", "Search", low=1, commands=SEARCHED),
    ] = 1
    seed: Annotated[
        int,
        Setting(
            "Seed of every random draw, splits and first weights included.",
            "Search",
            low=0,
            commands=(*STUDIES, "ask_tell"),
        ),
    ] = 0
    warmup_design: Annotated[
        Literal["sobol", "random"],
        Setting(
            "Warm-up trials: spread evenly (sobol), or independent draws (random).",
            "Search",
            commands=(*SEARCHED, "ask_tell"),
            rare=True,
        ),
    ] = "sobol"
    deterministic: Annotated[
        bool,
        Setting(
            "Propose the same trials whatever the timing, waiting for results if need be; else at once, from "
            "all results that there are.",
            "Search",
            commands=SEARCHED,
            rare=True,
        ),
    ] = True
    lag: Annotated[
        int | None,
        Setting(
            "Trials just before, whose results a deterministic proposal may miss.",
            "Search",
            low=0,
            default="trials at once - 1",
            commands=SEARCHED,
            rare=True,
        ),
    ] = None
    plan: dict[str, Any] | None = None  # of the search `cells`: search.plan.Plan as plain data

    def __post_init__(self) -> None:
        check(self)

    @property
    def warmup_trials(self) -> int:
        chosen = min(10, math.ceil(self.samples / 3)) if self.warmup is None else self.warmup
        return min(chosen, self.samples)


@dataclass(frozen=True)
class SchedulerSettings:
    """When a trial ends."""

    type: Annotated[
        str,
        Setting(
            "What stops weak trials early.",
            "Stopping",
            choices="tuneapp.stopping:RULES",
            keyword="scheduler",
            default_of={"effects": "none"},
        ),
    ] = "asha"
    max_iterations: Annotated[
        int | None,
        Setting(
            "Epochs, rounds or iterations of a trial that is not stopped early.",
            "Stopping",
            low=1,
            default="the search-space file's, else no limit",
            flags=("--max-epochs", "--max-iterations"),
            flags_of={"fed": ("--rounds", "--max-iterations")},
            default_of={"fed": "32"},
        ),
    ] = None
    grace: Annotated[
        int | None,
        Setting(
            "Epochs, rounds or iterations before a trial may be stopped.",
            "Stopping",
            low=1,
            default="a tenth of all, 1 where there is no limit",
        ),
    ] = None
    reduction: Annotated[int, Setting("At each rung, one trial in so many goes on.", "Stopping", low=2)] = 3

    def __post_init__(self) -> None:
        check(self)

    @property
    def grace_iterations(self) -> int:
        if self.max_iterations is None:
            return self.grace or 1
        chosen = math.ceil(self.max_iterations / 10) if self.grace is None else self.grace
        return max(1, min(chosen, self.max_iterations))


def read_time(text: Any) -> Any:
    """Seconds of `90s`, `30m`, `2h`, `1h30m`; what is no such text is returned as it is.

    Raises UsageError for a text that is no time; the message goes on from the setting's name.
    """
    if not isinstance(text, str) or re.fullmatch(r"\s*[\d.]+\s*", text):
        return text
    parts = re.fullmatch(r"\s*(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s)?\s*", text)
    if parts is None or not any(parts.groups()):
        raise UsageError(f"must be a time such as 90s, 30m, 2h or 1h30m, but got {text!r}.")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return 3600 * hours + 60 * minutes + seconds


def time_text(seconds: float) -> str:
    """`1h30m`, `45s`: what `read_time` reads, to the second above a minute."""
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number)


SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Condition:
    """What a metric's value must fulfil: `val_accuracy>=0.95`."""

    metric: str
    sign: str
    value: float

    @classmethod
    def parse(cls, text: Any) -> "Condition":
        """Raises UsageError; the message goes on from the setting's name."""
        parts = re.fullmatch(r"\s*([^<>=]*[^\s<>=])\s*(>=|<=|>|<)\s*([^\s<>=]+)\s*", str(text))
        if parts is None:
            raise UsageError(
                f"must be a metric, a sign and a number, as val_accuracy>=0.95, but got {text!r}."
            )
        return cls(parts[1], parts[2], finite(parts[3]))

    def holds(self, value: float) -> bool:
        return SIGNS[self.sign](value, self.value)

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.value:g}"


def _condition(text: Any) -> str:
    Condition.parse(text)
    return str(text).strip()


@dataclass(frozen=True)
class Budget:
    """What ends a study before its samples do: whichever comes first. A resume changes it."""

    time: Annotated[
        float | None,
        Setting(
            "Time that the study may take, as 90s, 30m, 2h or 1h30m; of a resume, from then on. No trial "
            "begins that can't reach its first rung in time; at its end trials stop at their next iteration.",
            "End of the study",
            above=0,
            unit="seconds",
            reads=read_time,
            default="no limit",
            commands=(*STUDIES, "resume"),
        ),
    ] = None
    until: Annotated[
        str | None,
        Setting(
            "Condition on a metric, val_accuracy>=0.95 or loss<0.1: the first trial to end with it ends the "
            "study.",
            "End of the study",
            reads=_condition,
            default="none",
            commands=(*SEARCHED, "resume"),
        ),
    ] = None
    patience: Annotated[
        int | None,
        Setting(
            "Trials that may end, one after the other, without a new incumbent.",
            "End of the study",
            low=1,
            default="all",
            commands=(*SEARCHED, "resume"),
        ),
    ] = None
    keep_going: Annotated[
        bool,
        Setting(
            "Go on though the first three trials failed alike; else they end the study.",
            "End of the study",
            commands=(*STUDIES, "resume"),
        ),
    ] = False

    def __post_init__(self) -> None:
        check(self)

    @property
    def condition(self) -> Condition | None:
        return None if self.until is None else Condition.parse(self.until)


@dataclass(frozen=True)
class Resources:
    """What a trial may use of the machine."""

    cpus: Annotated[
        float,
        Setting(
            "CPUs of a trial, and threads of torch in it.",
            "Resources",
            above=0,
            flags=("--cpus-per-trial",),
        ),
    ] = 1.0
    gpus: Annotated[
        float,
        Setting(
            "GPUs of a trial; a fraction shares one.",
            "Resources",
            low=0,
            must="a fraction or a whole number",
            holds=lambda gpus: gpus <= 1 or gpus == int(gpus),
            flags=("--gpus-per-trial",),
        ),
    ] = 0.0
    concurrent: Annotated[
        int | None, Setting("Trials at once.", "Resources", low=1, default="as many as fit")
    ] = None
    address: Annotated[
        str | None, Setting("Address of a Ray cluster.", "Resources", default="this machine alone")
    ] = None
    trial_timeout: Annotated[
        float | None,
        Setting(
            "Seconds that a trial may take; one that takes longer fails.",
            "Stopping",
            above=0,
            unit="seconds",
            default="no limit",
        ),
    ] = None
    actors: Annotated[
        int,
        Setting(
            "Client actors of a federated trial, at most one per client; 0: all clients in one process. The "
            "numbers are the same.",
            "Resources",
            low=0,
            default="as many as the trial has CPUs, from when they pay",
            commands=("fed",),
            tasks=(FEDERATED,),
        ),
    ] = 0

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Options:
    """What a task is built with; each kind of task takes its own. None is left to the task."""

    data_dir: Annotated[
        Path | None,
        Setting(
            "Folder of the image sets.",
            "Training",
            default="$TUNEAPP_DATA, else the cache folder",
            tasks=(IMAGES, FEDERATED),
        ),
    ] = None
    examples: Annotated[
        int | None,
        Setting(
            "Training images to use, a stratified subset.",
            "Training",
            low=1,
            default="all",
            commands=("tune", "effects"),
            tasks=(IMAGES,),
        ),
    ] = None
    precision: Annotated[
        str | None,
        Setting(
            "Precision of the matrix products.",
            "Training",
            choices="tuneapp.training.loop:PRECISIONS",
            default="auto",
            commands=("tune", "effects"),
            tasks=(IMAGES,),
            rare=True,
        ),
    ] = None
    eval_every: Annotated[
        int | None,
        Setting(
            "Rounds from one evaluation to the next.",
            "Training",
            low=1,
            default="1",
            commands=("fed", "effects"),
            tasks=(FEDERATED,),
            rare=True,
        ),
    ] = None
    val_examples: Annotated[
        int | None,
        Setting(
            "Examples held out for the evaluation of a federation, a tenth at most.",
            "Training",
            low=1,
            default="1,000",
            commands=("fed", "effects"),
            tasks=(FEDERATED,),
            rare=True,
        ),
    ] = None
    per_client: Annotated[
        bool | None,
        Setting(
            "Also report the mean and the worst tenth of the clients.",
            "Training",
            default="no",
            commands=("fed", "effects"),
            tasks=(FEDERATED,),
            rare=True,
        ),
    ] = None
    command: Annotated[
        str | None,
        Setting(
            "Tune a program instead of a task: 'python train.py --lr {lr}', run once per trial. {out} is a "
            "file that it may write JSON to.",
            "What to tune",
            commands=("tune",),
            tasks=(COMMAND,),
        ),
    ] = None
    metric_regex: Annotated[
        tuple[str, ...],
        Setting(
            "Where the --command prints its result: 'loss={number}', its last match counts; (?P<name>...) "
            "names a metric. Repeatable.",
            "What to tune",
            commands=("tune",),
            tasks=(COMMAND,),
        ),
    ] = ()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class RunSettings:
    """Where a study runs, what it leaves behind, and how it is watched. Changes no result."""

    backend: Annotated[
        str,
        Setting(
            "Where trials run: on Ray, or in processes of this machine without Ray (local).",
            "Resources",
            choices="tuneapp.backends:BACKENDS",
            default_of={"resume": "the one that the run was begun with"},
            commands=(*STUDIES, "resume"),
        ),
    ] = "ray"
    runs_dir: Annotated[
        Path, Setting("Folder of the run directories.", "Output", commands=(*STUDIES, "resume"))
    ] = Path("runs")
    name: Annotated[str | None, Setting("Name of the run directory.", "Output", default="date and task")] = (
        None
    )
    log: Annotated[
        tuple[str, ...],
        Setting(
            "Also log to tensorboard or mlflow, which slows many short trials. Repeatable.",
            "Output",
            choices="tuneapp.backends.ray.loggers:LOGGERS",
            commands=(*STUDIES, "resume"),
            rare=True,
        ),
    ] = ()
    dashboard: Annotated[
        bool | None,
        Setting(
            "Start Ray's dashboard on this machine's loopback address.",
            "Output",
            default="where the dashboard extra is installed",
            commands=(*STUDIES, "resume"),
            rare=True,
        ),
    ] = None
    pictures: Annotated[
        bool,
        Setting(
            "Draw plots/*.png too; without them the report is quick.",
            "Output",
            commands=(*STUDIES, "resume"),
        ),
    ] = True
    quiet: Annotated[
        bool,
        Setting("Show no progress.", "Output", flags=("--quiet", "-q"), commands=(*STUDIES, "resume")),
    ] = False

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Settings:
    """All settings of a study, by section. Sections are the keys of a search-space file."""

    metric: MetricSettings = MetricSettings()
    search: SearchSettings = SearchSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    budget: Budget = Budget()
    resources: Resources = Resources()
    options: Options = Options()
    run: RunSettings = RunSettings()

    @classmethod
    def of(cls, *layers: Mapping[str, Mapping[str, Any]]) -> "Settings":
        """Sections of values by field, a later layer before an earlier one, the rest at its default."""
        kinds = get_type_hints(cls)
        merged = {
            section: {name: value for layer in layers for name, value in layer.get(section, {}).items()}
            for section in kinds
        }
        return cls(**{section: kind(**merged[section]) for section, kind in kinds.items()})


class SettingsDict(TypedDict, total=False):
    """The keywords of the Python API, written out for editors. What is None counts as not given."""

    metric: "str | Metric | list[str | Metric] | tuple[str | Metric, ...] | None"
    mode: Mode | None
    search: str | None
    samples: int | None
    warmup: int | None
    repeats: int | None
    seed: int | None
    warmup_design: Literal["sobol", "random"] | None
    deterministic: bool | None
    lag: int | None
    scheduler: str | None
    max_iterations: int | None
    grace: int | None
    reduction: int | None
    time: str | float | None
    until: str | None
    patience: int | None
    keep_going: bool | None
    cpus: float | None
    gpus: float | None
    concurrent: int | None
    address: str | None
    trial_timeout: float | None
    actors: int | None
    data_dir: str | Path | None
    examples: int | None
    precision: str | None
    eval_every: int | None
    val_examples: int | None
    per_client: bool | None
    command: str | None
    metric_regex: str | list[str] | tuple[str, ...] | None
    backend: str | None
    runs_dir: str | Path | None
    name: str | None
    log: str | list[str] | tuple[str, ...] | None
    dashboard: bool | None
    pictures: bool | None
    quiet: bool | None


@lru_cache
def all_settings() -> dict[str, Declared]:
    """Keyword -> declaration, in the order of the sections."""
    sections = get_type_hints(Settings)
    return {
        each.keyword: each for section, kind in sections.items() for each in declared(section, kind).values()
    }


def by_section(given: Mapping[str, Any], caller: str = "") -> dict[str, dict[str, Any]]:
    """Keywords as a caller or the command line gives them: section -> field -> value; None is not given.

    caller: one of the `commands` of a Setting; empty: all settings may be given. Raises UnknownName for a
    keyword that is none, UsageError for a value that cannot be and a setting that the caller does not take.
    """
    sections: dict[str, dict[str, Any]] = {}
    settings = all_settings()
    taken = [keyword for keyword, each in settings.items() if not caller or caller in each.setting.commands]
    for keyword, value in given.items():
        if keyword not in settings:
            raise UnknownName(
                f"No setting named '{keyword}'; choose from {', '.join(taken)}.{nearest(keyword, taken)}"
            )
        if value is None:
            continue
        each = settings[keyword]
        if keyword not in taken:
            raise UsageError(f"`{keyword}` is no setting of {caller}; it takes {', '.join(taken)}.")
        try:
            sections.setdefault(each.section, {})[each.name] = each.read(value)
        except UsageError as error:
            raise type(error)(f"`{keyword}` {error}") from None
    return sections


@dataclass(frozen=True)
class Request:
    """Everything that decides what a study does. `from_json(to_json(r)) == r`."""

    task: str  # a built-in name, or package.module:function
    space: dict[str, Any]  # {"hyperparameters": …, "points": …} as in a search-space file
    metric: Metric  # that steers
    also: tuple[Metric, ...] = ()  # others, traded off against it
    options: dict[str, Any] = field(default_factory=dict)  # the task's own: data_dir, examples, precision …
    search: SearchSettings = SearchSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    budget: Budget = Budget()
    resources: Resources = Resources()

    def __post_init__(self) -> None:
        names = [metric.name for metric in (self.metric, *self.also)]
        if len(names) > 2:
            raise UsageError(f"A study trades off two metrics at most, but got {', '.join(names)}.")
        if len(set(names)) < len(names):
            raise UsageError(f"The two metrics of a study must differ, but both are '{names[0]}'.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Request":
        """Unknown keys of a newer version are left out.

        Raises UsageError for what can be no request, so that a damaged run.json ends in no traceback.
        """
        if not isinstance(data, dict):
            raise UsageError(f"`request` must be an object, but is {json.dumps(data):.40}.")
        for key, kind in (
            ("task", str),
            ("space", dict),
            ("metric", dict),
            ("search", dict),
            ("scheduler", dict),
            ("resources", dict),
        ):
            if not isinstance(data.get(key), kind):
                what = "a text" if kind is str else "an object"
                raise UsageError(f"`{key}` must be {what}, but is {json.dumps(data.get(key)):.40}.")
        options, also = data.get("options", {}), data.get("also", [])
        if not isinstance(options, dict) or not isinstance(also, list | tuple):
            raise UsageError("`options` must be an object and `also` a list.")
        return cls(
            task=data["task"],
            space=data["space"],
            options=options,
            metric=_of_known_keys(Metric, data["metric"]),
            also=tuple(_of_known_keys(Metric, each) for each in also),
            search=_of_known_keys(SearchSettings, data["search"]),
            scheduler=_of_known_keys(SchedulerSettings, data["scheduler"]),
            budget=_of_known_keys(Budget, data.get("budget", {})),
            resources=_of_known_keys(Resources, data["resources"]),
        )


def config_key(config: Config) -> str:
    """Equal for equal configs, before and after a journey through JSON; 1 and 1.0 are equal."""
    plain = {
        # A whole number beyond the largest float stays one.
        name: float(value) if type(value) is int and abs(value) < 2**1023 else value
        for name, value in config.items()
    }
    return json.dumps(plain, sort_keys=True)


def _of_known_keys(kind: Any, data: dict[str, Any]) -> Any:
    if not isinstance(data, dict):
        raise UsageError(f"a {kind.__name__.lower()} must be an object, but is {json.dumps(data):.40}.")
    if kind is Metric and "name" not in data:
        raise UsageError("a metric must have a `name`.")
    names = {f.name for f in fields(kind)}
    values = {key: value for key, value in data.items() if key in names}
    for name, each in declared("", kind).items():
        if name in values:
            try:
                values[name] = each.read(values[name], names=False)
            except UsageError as error:
                raise UsageError(f"`{name}` {error}") from None
    return kind(**values)


def markdown() -> str:
    """docs/settings.md: a table of all settings per section."""
    lines = [
        "# Settings",
        "",
        "Every setting of a study: a flag of the command line, a keyword of the Python API, and a key of a",
        "search-space file, where `search.samples` is written `search: {samples: 30}`. Flags and keywords",
        "count before the file, the file before the default. In a file the metric is",
        "`metric: {name: val_loss, mode: min, at: best}`, which is `--metric val_loss:min:best`; `at` says",
        "which of a trial's iterations counts, the last or the best. A second metric, traded off against the",
        "first, is `also: [{name: seconds, mode: min}]`.",
        "",
        "This page is written by `python -m tuneapp.settings > docs/settings.md`.",
    ]
    section = ""
    for keyword, each in all_settings().items():
        if each.section != section:
            section = each.section
            lines += ["", f"## {section}", ""]
            lines += ["| flag | commands | keyword | key | default | meaning |", "|---|---|---|---|---|---|"]
        commands = [command for command in each.setting.commands if command in (*STUDIES, "resume")]
        flags = dict.fromkeys(flag for command in commands for flag in each.flags(command))
        cells = [
            ", ".join(f"`{flag}`" for flag in flags),
            ", ".join(commands),
            f"`{keyword}`",
            f"`{each.yaml}`",
            each.shown_default(),
            each.help.replace("|", "\\|"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
