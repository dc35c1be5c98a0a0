"""A trial: one config, evaluated once with one seed, and what it is worth."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate

from tuneapp.settings import Config, Metric, Metrics


class TrialState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"  # ended by itself, or at the limit that its objective was told
    LIMITED = "limited"  # ended by the limit of iterations, with more to give
    STOPPED = "stopped"  # ended early by a stopping rule
    DIVERGED = "diverged"  # its metric became nan or infinite
    FAILED = "failed"  # raised an error, never reported its metric, or lost its worker


ENDS = frozenset(TrialState) - {TrialState.RUNNING}


@dataclass(frozen=True)
class Iteration:
    """What a trial reported once: an epoch, a round, one item that its objective yielded."""

    number: int  # from 1
    time: float  # on the study's clock, in seconds
    metrics: Metrics  # under the user's own names; the metric that steers may be missing
    checkpoint: str | None = None  # a folder relative to the run directory


@dataclass
class Trial:
    """All times are on the study's clock: seconds of running since its first event, pauses left out."""

    number: int  # from 0, in the order of asking
    config: Config
    origin: str  # which part of the search proposed it: point, warmup, random, grid, bayes, repeat, cell
    seed: int
    state: TrialState = TrialState.RUNNING
    history: list[Iteration] = field(default_factory=list)
    reason: str = ""  # why it was stopped, limited, diverged or failed
    asked: float = 0.0
    started: float | None = None
    ended: float | None = None
    started_at: float | None = None  # as the next: unix seconds, for people only
    ended_at: float | None = None
    worker: str = ""  # host:pid
    worked: float | None = None  # seconds its objective ran, over all its lives; None in records of 0.1.0

    @property
    def iterations(self) -> int:
        """The number of the last iteration; 0 before the first."""
        return self.history[-1].number if self.history else 0

    @property
    def last(self) -> Metrics:
        """The metrics of the last iteration; empty before the first."""
        return self.history[-1].metrics if self.history else {}

    @property
    def over(self) -> bool:
        return self.state is not TrialState.RUNNING

    @property
    def complete(self) -> bool:
        """No stopping rule and no fault cut it short."""
        return self.state in (TrialState.FINISHED, TrialState.LIMITED)

    @property
    def succeeded(self) -> bool:
        """Complete or stopped: what it reported counts."""
        return self.complete or self.state is TrialState.STOPPED

    @property
    def seconds(self) -> float:
        """How long its objective ran, over all its lives; 0 before it starts.

        Records of 0.1.0 do not hold it: there it is the time from the start to the end or the last result.
        """
        if self.worked is not None:
            return self.worked
        if self.started is None:
            return 0.0
        last = self.ended
        if last is None:
            last = self.history[-1].time if self.history else self.started
        return max(0.0, last - self.started)

    @property
    def checkpoint(self) -> str | None:
        """The latest checkpoint, from which the trial can go on."""
        return next((each.checkpoint for each in reversed(self.history) if each.checkpoint), None)

    def kept(self, metric: Metric) -> str | None:
        """The checkpoint that holds what the trial is worth: that of its best iteration where it counts at
        its best, else the latest."""
        if metric.at == "last":
            return self.checkpoint
        iteration = self.counting(metric)
        return None if iteration is None else iteration.checkpoint

    def curve(self, name: str) -> list[tuple[int, float]]:
        """(iteration, value) wherever the metric of that name was reported."""
        return [(each.number, each.metrics[name]) for each in self.history if name in each.metrics]

    def course(self, metric: Metric) -> list[tuple[int, float]]:
        """(iteration, score) wherever the metric was reported: what the trial was worth by then.

        Higher is better. Where the metric counts at its best, scores never fall. What is not finite is left
        out.
        """
        points = [(n, metric.score(value)) for n, value in self.curve(metric.name) if math.isfinite(value)]
        if metric.at == "last":
            return points
        return list(zip((n for n, _ in points), accumulate((score for _, score in points), max), strict=True))

    def worth(self, metric: Metric, iteration: int) -> float | None:
        """The score at an iteration, which may lie between two reports; None where the trial never came so
        far, or had not reported the metric by then."""
        if self.iterations < iteration:
            return None
        return next((score for number, score in reversed(self.course(metric)) if number <= iteration), None)

    def counting(self, metric: Metric) -> Iteration | None:
        """The iteration that counts: the last, or the first best one, that reported a finite value."""
        finite = [each for each in self.history if math.isfinite(each.metrics.get(metric.name, math.nan))]
        if metric.at == "best":
            return max(finite, key=lambda each: metric.score(each.metrics[metric.name]), default=None)
        return finite[-1] if finite else None

    def value(self, metric: Metric | str) -> float | None:
        """The metric at the iteration that counts for it; a name alone counts at the last report."""
        wanted = Metric(metric) if isinstance(metric, str) else metric
        iteration = self.counting(wanted)
        return None if iteration is None else iteration.metrics[wanted.name]

    def traded(self, metric: Metric) -> float | None:
        """`value` of a metric that is traded off; `seconds`, where no iteration reports such a metric, is how
        long the trial ran."""
        if metric.name == "seconds" and self.history and not self.curve("seconds"):
            return self.seconds
        return self.value(metric)
