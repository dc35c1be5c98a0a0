"""The search that a driver asks, and the dictionary of searches."""

from collections.abc import Callable, Sequence

import numpy as np

from tuneapp.errors import lookup
from tuneapp.search.algorithm import Algorithm
from tuneapp.search.base import REPEAT, Problem, Proposal, Search
from tuneapp.search.cells import Cells
from tuneapp.search.evidence import Evidence
from tuneapp.search.repeats import SHARE, Contender
from tuneapp.search.sampling import Grid, Points, Random
from tuneapp.search.tradeoff import Tradeoff
from tuneapp.settings import Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial


class TrialSearch:
    """First the points of the space file, then what the algorithm chooses, with repeats of what may win
    between.

    Deterministic by default: trial k may know the results of the trials before k - lag, and waits for
    them; the last `lag` trials count as pending even where they have ended. So proposals depend on
    results alone, not on when they came nor on how many run at once. A lag of one less than the trials in
    flight is the least that lets all workers start. With `deterministic=False` each proposal knows all
    results there are.

    Where a scheduler stops trials, a result is waited for up to the first cut only, else every worker
    would wait for the longest trial; a trial that runs on contributes its scores so far. How far it came,
    and which trials are stopped, may depend on timing: there the same proposals come again only from the
    same results.

    `samples` counts trials, repeats among them: `--samples 30 --repeats 3` costs what `--samples 30` does.
    Results that were added from elsewhere do not count as samples, but as warm-up.
    """

    def __init__(self, problem: Problem, algorithm: Algorithm, lag: int) -> None:
        self._problem, self._algorithm = problem, algorithm
        self._evidence = Evidence(problem, lag)

    def tell(self, trial: Trial) -> None:
        self._evidence.tell(trial)

    def ask(self) -> Proposal | None:
        space, settings, evidence = self._problem.space, self._problem.settings, self._evidence
        if self.exhausted:
            return None
        if evidence.asked < len(space.points):
            fill = np.random.default_rng([settings.seed, evidence.number]).random(len(space.searched))
            return Proposal(space.complete(space.points[evidence.asked], fill), "point", self._seed(0))
        if (self._races or self._algorithm.learns(evidence.number)) and evidence.awaited:
            return None
        if self._races and (repeated := self._repeat()) is not None:
            return Proposal(repeated.config, REPEAT, self._seed(repeated.runs))
        chosen = self._algorithm.choose(evidence)
        return None if chosen is None else Proposal(*chosen, self._seed(0))

    @property
    def learns(self) -> bool:
        return self._problem.settings.repeats > 1 or self._algorithm.learns(self._evidence.number)

    @property
    def exhausted(self) -> bool:
        evidence, settings = self._evidence, self._problem.settings
        if evidence.asked >= settings.samples:
            return True
        if evidence.asked < len(self._problem.space.points) or not self._algorithm.used_up(evidence.tried):
            return False
        # All configs were tried; what may still come is another seed of one, and that may hang on those
        # that run.
        return settings.repeats == 1 or (not evidence.running and self._repeat() is None)

    @property
    def _races(self) -> bool:
        return self._problem.settings.repeats > 1 and self._evidence.number >= self._first_race

    @property
    def _first_race(self) -> int:
        """The number of the first trial that may be a repeat."""
        return len(self._problem.space.points) + self._problem.settings.warmup_trials

    def _repeat(self) -> Contender | None:
        """Repeats take at most their share until all configs that are left to find could not be repeated
        any more."""
        evidence, settings = self._evidence, self._problem.settings
        share = SHARE * max(0, evidence.number - self._first_race)
        last = settings.samples - evidence.asked < settings.repeats
        if evidence.repeats > share and not last and not self._algorithm.used_up(evidence.tried):
            return None
        return evidence.race.due()

    def _seed(self, repeat: int) -> int:
        """The seed of a config's repeat-th trial: the same for all configs, so that they race on equal
        terms."""
        return self._problem.settings.seed * 1000 + repeat


def make_search(
    space: SearchSpace,
    metric: Metric,
    settings: SearchSettings,
    scheduler: SchedulerSettings,
    in_flight: int = 1,
    also: Sequence[Metric] = (),
) -> Search:
    """The search of a study. `in_flight`, the trials at once, sets the lag where the settings leave it open;
    `also` are metrics that are traded off against the first.

    Raises UsageError for `points` without points.
    """
    if also:
        return Tradeoff(
            [metric, *also],
            settings.seed,
            lambda worth: make_search(space, worth, settings, scheduler, in_flight),
        )
    lag = in_flight - 1 if settings.lag is None else settings.lag
    make = lookup(settings.algorithm, SEARCHES, "search algorithm")
    return make(Problem(space, metric, settings, scheduler), lag)


def _trials(algorithm: Callable[[Problem], Algorithm]) -> Callable[[Problem, int], Search]:
    """The search that an algorithm chooses the configs of."""
    return lambda problem, lag: TrialSearch(problem, algorithm(problem), lag)


def _bayes(problem: Problem) -> Algorithm:
    # Imported here: the Gaussian process's libraries take over a second, which no other search needs.
    from tuneapp.search.bayes import Bayes

    return Bayes(problem)


# name -> what makes the search of a problem; its second argument is the lag.
SEARCHES: dict[str, Callable[[Problem, int], Search]] = {
    "bayes": _trials(_bayes),
    "random": _trials(Random),
    "grid": _trials(Grid),
    "points": _trials(Points),
    "cells": Cells,
}
