"""What is tuned: a function of a config that yields metrics and reports to nobody."""

import inspect
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

from tuneapp.errors import TuneappError, nearest, printable
from tuneapp.settings import Config, Metric, Metrics, Request

MOST_NAMES = 8  # of metrics that an error lists


@dataclass
class Context:
    """What an objective may need beside its config."""

    seed: int = 0  # every draw of the trial comes from it
    device: str = "cpu"  # as torch names it
    threads: int = 1  # of torch and BLAS
    max_iterations: int | None = None  # epochs or rounds, where nobody stops the trial; None: no limit
    checkpoint: Path | None = None  # a folder that an earlier life of this trial wrote; go on from there
    folder: Path | None = None  # what lies here at a yield becomes the trial's checkpoint; None: keep nothing
    timeout: float | None = None  # seconds that the trial may take; it is ended soon after
    pool: Any = None  # where a federation's clients train (a federated ClientPool); None: in this process

    def iterations(self, own: int | None, usual: int) -> int:
        """How many to run: the config's own number, at most `max_iterations`; `usual` if both are None."""
        named = [number for number in (own, self.max_iterations) if number is not None]
        return min(named, default=usual)

    @classmethod
    def of(cls, request: Request, seed: int, **rest: Any) -> "Context":
        """What a request gives each of its trials, and `rest`."""
        resources = request.resources
        return cls(
            seed=seed,
            device="cuda" if resources.gpus > 0 else "cpu",
            threads=max(1, int(resources.cpus)),
            max_iterations=request.scheduler.max_iterations,
            **rest,
        )


Objective = Callable[[Config, Context], Any]  # gives what `iterate` takes


class Diverged(Exception):
    """Raised by an objective whose loss is no longer finite: the trial ends at once, known as bad."""


def iterate(result: Any, metric: Metric, reported: bool = False) -> Iterator[Metrics]:
    """The metrics that an objective yields, or those that it returned: a number, or a dict of numbers.

    Arrays and tensors of one element are numbers, True is 1, and None stands for a metric that is not
    reported in this iteration. What is no number is left out: text, dicts, larger arrays.

    reported: an earlier life of the trial has reported the metric that steers. Raises TuneappError for a
    result of another kind, and at the end where that metric never came; Diverged where it is nan or infinite.
    """
    report = _Report(metric, reported)
    if not isinstance(result, Iterator):
        metrics = report.metrics(result, "returned")
        report.refuse_without_metric()  # before anybody takes it for a result
        yield metrics
        return
    ended = False
    while not ended:
        try:
            item = next(result)
        except StopIteration as end:
            ended, returned = True, end.value
        else:
            yield report.metrics(item, "yielded")
    report.refuse_without_metric(returned)


class _Report:
    """What a trial has reported: its numbers, and what came in their place."""

    def __init__(self, metric: Metric, reported: bool) -> None:
        self.metric, self.reported = metric, reported
        self.items = 0
        self.came: dict[str, str] = {}  # name -> how it came, of every value of every item
        self.nested = ""  # name of a dict that has the metric

    def metrics(self, item: Any, how: str) -> Metrics:
        """An item's numbers. Raises Diverged, or TuneappError for an item that can have none."""
        self.items += 1
        alone = _number(item)
        if alone is not None:
            metrics = {self.metric.name: alone}
        elif isinstance(item, Mapping):
            metrics = self._numbers(item)
        else:
            raise TuneappError(_refusal(item, how))
        value = metrics.get(self.metric.name)
        if value is not None:
            self.reported = True
            if not math.isfinite(value):
                raise Diverged(f"{self.metric.name} is {value}")
        return metrics

    def refuse_without_metric(self, returned: Any = None) -> None:
        """Raises TuneappError that says what came, if the metric never did. returned: by a generator."""
        if self.reported:
            return
        name = self.metric.name
        if not self.items:
            came, remedy = "it ended without a single yield", f"Yield {{'{name}': …}} once per iteration."
        elif name in self.came:
            came = f"it gave {self._listed(first=name)}"
            remedy = "Give it as one number: float(…), or the mean of several."
        elif self.nested:
            came = f"'{self.nested}' is a dict with {name}"
            remedy = f"Give '{name}' itself, beside '{self.nested}'."
        else:
            came = f"it gave {self._listed() or 'an empty dict'}"
            remedy = f"Name one of its metrics with --metric.{nearest(name, self.came)}"
        if returned is not None:
            came += f", and at its end returned {_described(returned)}, which is lost"
            remedy = "A function that yields must yield its result too."
        raise TuneappError(f"The objective must report '{name}'; {came}. {remedy}")

    def _numbers(self, item: Mapping[Any, Any]) -> Metrics:
        metrics: Metrics = {}
        for key, value in item.items():
            name, number = printable(str(key)), _number(value)
            if number is not None:
                metrics[name] = number
                self.came[name] = ""
            else:
                self.came.setdefault(name, _described(value))
                if isinstance(value, Mapping) and self.metric.name in map(str, value):
                    self.nested = name
        return metrics

    def _listed(self, first: str = "") -> str:
        """The names of what came, those that were no numbers with what they were."""
        names = sorted(self.came, key=lambda name: name != first)
        told = [f"{name} as {self.came[name]}" if self.came[name] else name for name in names[:MOST_NAMES]]
        return ", ".join(told) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _number(value: Any) -> float | None:
    """The value of a number of any library, or of an array with one element; None for anything else."""
    if not isinstance(value, Real | Decimal):
        try:
            shape = getattr(value, "shape", None)
            if shape is None or math.prod(shape) != 1:
                return None
            value = value.item() if hasattr(value, "item") else value.numpy().item()
        except (AttributeError, TypeError, ValueError, RuntimeError):  # looks like an array, and is none
            return None
    if not isinstance(value, Real | Decimal):  # an array's element may be anything
        return None
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf


def _described(value: Any) -> str:
    """What is no number, in words."""
    shape = getattr(value, "shape", None)
    if value is None:
        return "None"
    if isinstance(value, str):
        return f"text '{value:.40}'"
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(str, list(value)[:MOST_NAMES])) or 'nothing'}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if shape:
        return f"an array of shape {tuple(shape)}"
    return f"{_article(type(value).__name__)}: {value!r:.80}"


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _refusal(item: Any, how: str) -> str:
    """One sentence for a result that can have no metrics, and what to do."""
    must = "An objective must return a number or a dict of numbers, or yield them"
    if isinstance(item, Coroutine):
        item.close()  # else Python warns that nobody awaited it
    if inspect.isawaitable(item) or isinstance(item, AsyncIterator):
        return f"{must}, but it is async; call its coroutine in a plain function, by asyncio.run(…)."
    if item is None:
        return f"{must}, but it {how} None; {'return' if how == 'returned' else 'yield'} its result."
    if isinstance(item, tuple):
        return f"{must}, but it {how} {_described(item)}; name its parts: {{'score': …, 'seconds': …}}."
    if isinstance(item, str):
        return f"{must}, but it {how} {_described(item)}; make it a number: float(…)."
    if isinstance(item, list) or getattr(item, "shape", None):
        return f"{must}, but it {how} {_described(item)}; give one number for all, their mean for one."
    if callable(item):
        return f"{must}, but it {how} {_described(item)}; call it, and give what that returns."
    return f"{must}, but it {how} {_described(item)}."
