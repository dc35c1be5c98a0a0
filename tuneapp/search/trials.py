"""The search that the engine drives, and the dictionary of algorithms inside it."""

from collections.abc import Callable

import numpy as np

from tuneapp.request import Metric, SchedulerSettings, SearchSettings
from tuneapp.search.base import Algorithm, Known, Problem, Proposal, Search
from tuneapp.search.bayes import Bayes
from tuneapp.search.cells import Cells
from tuneapp.search.sampling import Grid, Points, Random
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial


class TrialSearch:
    """First the points of the space file, then what the algorithm chooses.

    Deterministic by default: trial k may know the results of the trials before k - lag, and waits for them; the last
    `lag` trials count as pending even where they have ended. So proposals depend on results alone, not on when
    they came. A lag of one less than the trials in flight is the least that lets all workers start.
    With `deterministic=False` each proposal knows all results there are.
    """

    def __init__(self, problem: Problem, algorithm: Algorithm, lag: int) -> None:
        self._problem, self._algorithm, self._lag = problem, algorithm, lag
        self._trials: dict[int, Trial] = {}

    def tell(self, trial: Trial) -> None:
        self._trials[trial.number] = trial

    def ask(self) -> Proposal | None:
        space, settings, number = self._problem.space, self._problem.settings, len(self._trials)
        if self.exhausted:
            return None
        if number < len(space.points):
            fill = np.random.default_rng([settings.seed, number]).random(len(space.searched))
            return Proposal(space.complete(space.points[number], fill), "point", self._seed(0))
        known = self._known(number)
        if self._algorithm.learns(number) and self._waits(known):
            return None
        chosen = self._algorithm.choose(known)
        return None if chosen is None else Proposal(*chosen, self._seed(0))

    @property
    def exhausted(self) -> bool:
        number = len(self._trials)
        if number >= self._problem.settings.samples:
            return True
        return number >= len(self._problem.space.points) and self._algorithm.used_up(self._tried())

    def _known(self, number: int) -> Known:
        trials = [self._trials[k] for k in sorted(self._trials)]
        if self._problem.settings.deterministic:
            done, pending = trials[: max(0, number - self._lag)], trials[max(0, number - self._lag) :]
        else:
            done = [trial for trial in trials if self._committed(trial)]
            pending = [trial for trial in trials if not self._committed(trial)]
        return Known(number, done, pending, self._tried())

    def _waits(self, known: Known) -> bool:
        return not all(self._committed(trial) for trial in known.done)

    def _committed(self, trial: Trial) -> bool:
        """Where trials are stopped early, the first cut is waited for, and what runs on counts as far as it came."""
        scheduler = self._problem.scheduler
        return trial.over or (scheduler.type != "none" and trial.iterations >= scheduler.grace_iterations)

    def _tried(self) -> frozenset[object]:
        return frozenset(self._problem.space.key(trial.config) for trial in self._trials.values())

    def _seed(self, repeat: int) -> int:
        return self._problem.settings.seed * 1000 + repeat


def make_search(
    space: SearchSpace,
    metric: Metric,
    settings: SearchSettings,
    scheduler: SchedulerSettings,
    in_flight: int = 1,
) -> Search:
    """The search of a study. `in_flight`, the trials at once, sets the lag where the settings leave it open.

    Raises UsageError for `points` without points.
    """
    problem = Problem(space, metric, settings, scheduler)
    if settings.algorithm == "cells":
        return Cells(problem)
    lag = in_flight - 1 if settings.lag is None else settings.lag
    return TrialSearch(problem, SEARCHES[settings.algorithm](problem), lag)


SEARCHES: dict[str, Callable[[Problem], Algorithm]] = {
    "bayes": Bayes,
    "random": Random,
    "grid": Grid,
    "points": Points,
}
