"""Asynchronous successive halving (Li et al., 2020), in one bracket or, as in Hyperband, in several.

The decisions are those of Ray's `AsyncHyperBandScheduler`, which tests hold them equal to.
"""

import math
from bisect import insort
from collections import defaultdict

import numpy as np

from tuneapp.settings import Metric, SchedulerSettings
from tuneapp.stopping.base import Rule, Stop

BRACKETS = 3  # at most, of hyperband


class Asha(Rule):
    """ASHA that stops and never promotes.

    Rungs stand at grace, grace * reduction, grace * reduction^2, … below max_iterations. A trial that comes
    to one is stopped where its score is below the best 1 / reduction of the scores before it; the first
    trial at a rung goes on. A trial that has no score at the rung itself is judged by its next one: once,
    at the highest of the rungs that it has passed meanwhile.
    """

    def __init__(
        self, grace: int, reduction: int, max_iterations: int | None = None, metric: Metric | None = None
    ) -> None:
        """The metric says in which sign a reason shows scores; without one they are shown as they are."""
        self.grace, self.reduction, self.metric = grace, reduction, metric or Metric("score")
        self.limit = max_iterations or math.inf
        # Ray hands numpy a percentage; for a reduction of 6 the way there and back changes the last bit.
        self._quantile = (1 - 1 / reduction) * 100 / 100
        self._scores: defaultdict[int, list[float]] = defaultdict(list)  # rung -> scores, ascending
        self._next: dict[int, int] = {}  # trial -> the next rung that it comes to

    def report(self, trial: int, iteration: int, score: float) -> Stop | None:
        rung = self._next.get(trial, self.grace)
        if iteration < rung or iteration >= self.limit or not math.isfinite(score):
            return None
        while rung * self.reduction <= iteration:
            rung *= self.reduction
        self._next[trial] = rung * self.reduction
        scores = self._scores[rung]
        cut = quantile(scores, self._quantile) if scores else -math.inf
        stop = None
        if score < cut:
            shown, limit = self.metric.score(score), self.metric.score(cut)
            stop = Stop(f"rung {rung}: {shown:.4g} against a cut of {limit:.4g} from {len(scores)} trials")
        insort(scores, score)
        return stop

    def rungs(self, below: int) -> list[int]:
        return rungs(self.grace, self.reduction, min(below, self.limit))


class Hyperband(Rule):
    """ASHA in several brackets: each has its rungs one step later than the one before, and trials of its own.

    A trial's bracket is drawn from its number: a step later is drawn e times more rarely.
    """

    def __init__(
        self, grace: int, reduction: int, max_iterations: int | None = None, metric: Metric | None = None
    ) -> None:
        starts = [grace * reduction**k for k in range(BRACKETS)]
        starts = [start for start in starts if start <= (max_iterations or math.inf)]
        self.brackets = [Asha(start, reduction, max_iterations, metric) for start in starts]
        weights = np.e ** -np.arange(len(starts))
        self._shares = weights / weights.sum()
        self._bracket_of: dict[int, Asha] = {}

    def report(self, trial: int, iteration: int, score: float) -> Stop | None:
        if trial not in self._bracket_of:
            # numpy's old generator, for it draws what it drew in studies that are to be resumed.
            draw = np.random.RandomState(trial % 2**32).choice(len(self.brackets), p=self._shares)
            self._bracket_of[trial] = self.brackets[draw]
        return self._bracket_of[trial].report(trial, iteration, score)

    def rungs(self, below: int) -> list[int]:
        return self.brackets[0].rungs(below)


def asha(settings: SchedulerSettings, metric: Metric) -> Rule:
    return Asha(settings.grace_iterations, settings.reduction, settings.max_iterations, metric)


def hyperband(settings: SchedulerSettings, metric: Metric) -> Rule:
    return Hyperband(settings.grace_iterations, settings.reduction, settings.max_iterations, metric)


def rungs(grace: int, reduction: int, below: float) -> list[int]:
    """grace, grace * reduction, grace * reduction^2, … below `below`, which is finite."""
    milestones = []
    rung = grace
    while rung < below:
        milestones.append(rung)
        rung *= reduction
    return milestones


def quantile(ordered: list[float], q: float) -> float:
    """numpy's linear quantile, to the bit, of a list in ascending order; some 40 times as fast."""
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    share, gap = position - below, ordered[above] - ordered[below]
    return ordered[above] - gap * (1 - share) if share >= 0.5 else ordered[below] + gap * share
