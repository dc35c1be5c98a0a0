"""Which trial is the incumbent: the one rule by which scores at unequal iterations are compared.

A trial that a stopping rule ended at iteration k is out where another that succeeded was better at k: it
lost there, however its last score compares with what the other reported later. Of the rest the best score
wins, at a tie the complete trial, then the earlier one.
"""

import math
from collections.abc import Iterable

from tuneapp.settings import Metric
from tuneapp.studies.trials import Trial, TrialState


class Race:
    """The succeeded trials that are not out. Takes trials one by one, each in time that does not grow with
    their number."""

    def __init__(self, metric: Metric, trials: Iterable[Trial] = ()) -> None:
        self.metric = metric
        self.contenders: list[Trial] = []
        self.losers: list[Trial] = []  # of the last trial added: they can't become the incumbent any more
        self._best_at: list[float] = []  # [iteration - 1] -> best score of any succeeded trial by then
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Take an ended trial into account."""
        if not trial.succeeded or self._score(trial) is None:
            self.losers = [trial]
            return
        course = dict(trial.course(self.metric))
        score = -math.inf
        self._best_at += [-math.inf] * (trial.iterations - len(self._best_at))
        for at in range(trial.iterations):
            score = course.get(at + 1, score)
            self._best_at[at] = max(self._best_at[at], score)
        entered = [*self.contenders, trial]
        inside = [each for each in entered if not self.lost(each)]
        # Complete trials are never out later, so whoever is behind the best of them stays behind it.
        complete = max((each for each in inside if each.complete), key=self.rank, default=None)
        if complete is not None:
            inside = [each for each in inside if self.rank(each) >= self.rank(complete)]
        self.contenders, self.losers = inside, [each for each in entered if each not in inside]

    @property
    def best(self) -> Trial | None:
        return max(self.contenders, key=self.rank, default=None)

    def lost(self, trial: Trial) -> bool:
        """Whether it was stopped where another that succeeded was better."""
        score = self._score(trial)
        if trial.state is not TrialState.STOPPED or score is None:
            return False
        return self._best_at[trial.iterations - 1] > score

    def rank(self, trial: Trial) -> tuple[bool, float, bool, int]:
        """Sorts succeeded trials with a value: the highest is the incumbent."""
        score = self._score(trial)
        assert score is not None
        return not self.lost(trial), score, trial.complete, -trial.number

    def _score(self, trial: Trial) -> float | None:
        value = trial.value(self.metric)
        return None if value is None else self.metric.score(value)


def ranked(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    """The succeeded trials with a value, the incumbent first, those that lost at a rung last."""
    scored = _with_value(trials, metric)
    return sorted(scored, key=Race(metric, scored).rank, reverse=True)


def undefeated(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    """The succeeded trials with a value that did not lose at a rung, in the given order."""
    scored = _with_value(trials, metric)
    race = Race(metric, scored)
    return [trial for trial in scored if not race.lost(trial)]


def _with_value(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    return [trial for trial in trials if trial.succeeded and trial.value(metric) is not None]
