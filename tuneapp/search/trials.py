"""The search that the engine drives, and the dictionary of algorithms inside it."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np

from tuneapp.errors import lookup
from tuneapp.search.base import Algorithm, Known, Problem, Proposal, Search
from tuneapp.search.cells import Cells
from tuneapp.search.repeats import SHARE, Repeats, by_config, due
from tuneapp.search.sampling import Grid, Points, Random
from tuneapp.search.tradeoff import Tradeoff
from tuneapp.settings import Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial, TrialState


class TrialSearch:
    """First the points of the space file, then what the algorithm chooses, with repeats of what may win
    between.

    Deterministic by default: trial k may know the results of the trials before k - lag, and waits for
    them; the last `lag` trials count as pending even where they have ended. So proposals depend on
    results alone, not on when they came nor on how many run at once. A lag of one less than the trials in
    flight is the least that lets all workers start. With `deterministic=False` each proposal knows all
    results there are.

    Where a scheduler stops trials, a result is waited for up to the first cut only, else every worker
    would wait for the longest trial; what runs on counts as far as it came. How far that is, and which
    trials are stopped, depends on timing in Ray's schedulers: there the same proposals come again only
    from the same results.

    `samples` counts trials, repeats among them: `--samples 30 --repeats 3` costs what `--samples 30` does.
    """

    def __init__(self, problem: Problem, algorithm: Algorithm, lag: int) -> None:
        self._problem, self._algorithm, self._lag = problem, algorithm, lag
        self._trials: dict[int, Trial] = {}
        self._keys: set[Hashable] = set()  # of their configs: made anew at each ask, they took milliseconds

    def tell(self, trial: Trial) -> None:
        if trial.number not in self._trials:
            self._keys.add(self._problem.space.key(trial.config))
        self._trials[trial.number] = trial

    def ask(self) -> Proposal | None:
        space, settings, number = self._problem.space, self._problem.settings, len(self._trials)
        if self.exhausted:
            return None
        if number < len(space.points):
            fill = np.random.default_rng([settings.seed, number]).random(len(space.searched))
            return Proposal(space.complete(space.points[number], fill), "point", self._seed(0))
        known = self._known(number)
        racing = settings.repeats > 1 and number >= len(space.points) + settings.warmup_trials
        if (racing or self._algorithm.learns(number)) and not all(map(self._committed, known.done)):
            return None
        if racing and (repeated := self._repeat(known)) is not None:
            return Proposal(repeated.config, "repeat", self._seed(len(repeated.trials)))
        chosen = self._algorithm.choose(known)
        return None if chosen is None else Proposal(*chosen, self._seed(0))

    @property
    def exhausted(self) -> bool:
        number, settings = len(self._trials), self._problem.settings
        if number >= settings.samples:
            return True
        if number < len(self._problem.space.points) or not self._algorithm.used_up(self._tried()):
            return False
        # All configs were tried; what may still come is another seed of one, and that may hang on those
        # that run.
        known = self._known(number)
        running = any(not trial.over for trial in known.done + known.pending)
        return settings.repeats == 1 or (not running and self._repeat(known) is None)

    def _repeat(self, known: Known) -> Repeats | None:
        """Repeats take at most their share until all configs that are left to find could not be repeated
        any more."""
        settings, metric = self._problem.settings, self._problem.metric
        trials = [self._trials[k] for k in sorted(self._trials)]
        after = trials[len(self._problem.space.points) + settings.warmup_trials :]
        repeats = sum(trial.origin == "repeat" for trial in after)
        last = settings.samples - known.number < settings.repeats
        if repeats > SHARE * len(after) and not last and not self._algorithm.used_up(known.tried):
            return None
        hidden = {trial.number for trial in known.pending}
        seen = [replace(t, state=TrialState.RUNNING, history=[]) if t.number in hidden else t for t in trials]
        return due(by_config(seen, self._problem.space, metric), settings.repeats)

    def _known(self, number: int) -> Known:
        trials = [self._trials[k] for k in sorted(self._trials)]
        if self._problem.settings.deterministic:
            split = max(0, number - self._lag)
            done, pending = trials[:split], trials[split:]
        else:
            done = [trial for trial in trials if self._committed(trial)]
            pending = [trial for trial in trials if not self._committed(trial)]
        return Known(number, done, pending, self._tried())

    def _committed(self, trial: Trial) -> bool:
        scheduler = self._problem.scheduler
        return trial.over or (scheduler.type != "none" and trial.iterations >= scheduler.grace_iterations)

    def _tried(self) -> frozenset[Hashable]:
        return frozenset(self._keys)

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
    problem = Problem(space, metric, settings, scheduler)
    if settings.algorithm == "cells":
        return Cells(problem)
    lag = in_flight - 1 if settings.lag is None else settings.lag
    return TrialSearch(problem, lookup(settings.algorithm, SEARCHES, "search")(problem), lag)


def _bayes(problem: Problem) -> Algorithm:
    # Imported here: the Gaussian process's libraries take over a second, which no other search needs.
    from tuneapp.search.bayes import Bayes

    return Bayes(problem)


SEARCHES: dict[str, Callable[[Problem], Algorithm]] = {
    "bayes": _bayes,
    "random": Random,
    "grid": Grid,
    "points": Points,
}
