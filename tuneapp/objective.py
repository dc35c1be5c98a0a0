"""What is tuned: a function of a config that yields metrics and reports to nobody."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from tuneapp.errors import TuneappError
from tuneapp.settings import Config, Metric, Metrics, Request


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


def iterate(result: Any, metric: Metric) -> Iterator[Metrics]:
    """The metrics an objective yields, or the one it returned: a number, or a dict of numbers.

    Raises TuneappError for anything else, or where the metric that steers is missing; Diverged where
    that metric is nan or infinite.
    """
    if isinstance(result, Iterator):
        for item in result:
            yield _checked(item, metric)
    else:
        yield _checked(result, metric)


def _checked(item: Any, metric: Metric) -> Metrics:
    if isinstance(item, Mapping):
        metrics = {str(key): float(value) for key, value in item.items() if _is_number(value)}
    elif _is_number(item):
        metrics = {metric.name: float(item)}
    else:
        raise TuneappError(
            f"An objective must return a number or a dict of numbers, or yield them, but gave "
            f"{type(item).__name__}: {item!r:.80}."
        )
    if metric.name not in metrics:
        raise TuneappError(
            f"The objective must report '{metric.name}', but gave {', '.join(metrics) or 'no numbers'}; "
            "name one of them with --metric."
        )
    if not math.isfinite(metrics[metric.name]):
        raise Diverged(f"{metric.name} is {metrics[metric.name]}")
    return metrics


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0)
