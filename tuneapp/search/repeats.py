"""One config on several seeds: which deserve another one, and what they say together."""

import math
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

from tuneapp.settings import Config, Metric
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial

DOUBT = 1.0  # standard errors on either side within which a config may still win
SHARE = 0.5  # of the trials after warm-up, at most, are repeats
LARGE = 1e100  # scores beyond it are drawn together, so that no difference, sum or square of them overflows


@dataclass(frozen=True)
class Contender:
    """A config in the race: its trials whose results count, in order of number, and how many more it has."""

    config: Config
    trials: list[Trial]
    scores: list[float]  # of those that ran to their end; higher is better
    first: int = 0  # the number of its first trial
    hidden: int = 0  # trials whose results do not count yet, be they there or not

    @property
    def runs(self) -> int:
        return len(self.trials) + self.hidden

    @cached_property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    @cached_property
    def sd(self) -> float | None:
        """The standard deviation over seeds; None for fewer than two."""
        if len(self.scores) < 2:
            return None
        return math.sqrt(sum((score - self.mean) ** 2 for score in self.scores) / (len(self.scores) - 1))

    @cached_property
    def races(self) -> bool:
        """Whether all its trials that ended ran to their end: one that was stopped early has lost its
        race."""
        ended = [trial for trial in self.trials if trial.over]
        return len(self.scores) == len(ended) > 0


def contender(trials: list[Trial], metric: Metric, hidden: Iterable[Trial] = ()) -> Contender:
    """The config of `trials` and `hidden`, both in order of number."""
    rest = list(hidden)
    first = min([*trials[:1], *rest[:1]], key=lambda trial: trial.number)
    scores = [score for trial in trials if trial.complete and (score := score_of(trial, metric)) is not None]
    return Contender(first.config, trials, scores, first.number, len(rest))


def by_config(trials: Iterable[Trial], space: SearchSpace, metric: Metric) -> list[Contender]:
    """The trials of each config together, in order of first appearance."""
    groups: dict[Hashable, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        groups.setdefault(space.key(trial.config), []).append(trial)
    return [contender(group, metric) for group in groups.values()]


def score_of(trial: Trial, metric: Metric) -> float | None:
    """What a search makes of a trial's value: higher is better, at most about 5 * LARGE in size."""
    value = trial.value(metric)
    return None if value is None else bounded(metric.score(value))


def bounded(score: float) -> float:
    """The score itself up to LARGE; beyond, its order of magnitude alone counts.

    The sum, the difference or the square of two scores of 1e308, say the penalty for a config that is not
    feasible, would be infinite.
    """
    size = abs(score)
    return score if size <= LARGE else math.copysign(LARGE * (1 + math.log(size / LARGE)), score)


class SeedRace:
    """All contenders, kept in order, so that finding the next to run again looks at few of them."""

    def __init__(self, repeats: int, contenders: Iterable[Contender] = ()) -> None:
        """repeats: the seeds that a config is run with if it may win."""
        self.repeats = repeats
        self._racing: list[tuple[float, int, Contender]] = []  # the best mean first, then the earliest
        self._several: list[tuple[int, Contender]] = []  # of two scores or more, the earliest first
        self._repeated = 0  # how many have several trials
        for each in contenders:
            self.enter(each)

    def enter(self, new: Contender) -> None:
        if self.repeats > 1 and new.races:
            insort(self._racing, (-new.mean, new.first, new))
        if len(new.scores) > 1:
            insort(self._several, (new.first, new))
        self._repeated += new.runs > 1

    def leave(self, old: Contender) -> None:
        if self.repeats > 1 and old.races:
            del self._racing[bisect_left(self._racing, (-old.mean, old.first))]
        if len(old.scores) > 1:
            del self._several[bisect_left(self._several, (old.first,))]
        self._repeated -= old.runs > 1

    @property
    def noise(self) -> float | None:
        """The standard deviation of one seed's score, pooled over the configs that have several; None where
        none has."""
        pooled = [(each.sd, len(each.scores) - 1) for _, each in self._several]
        freedom = sum(count for _, count in pooled)
        return (
            math.sqrt(sum(sd**2 * count for sd, count in pooled if sd is not None) / freedom)
            if freedom
            else None
        )

    def due(self) -> Contender | None:
        """The config that should run on one more seed, if one should.

        Racing, as SMAC's intensification (Hutter et al., 2011) and F-race do: only configs that may still
        win. That is, whose mean + standard error reaches the best one's mean - standard error, with the noise
        pooled over all configs. Where no config has two seeds, the noise is unknown and only the best runs
        again. The best of those comes first. The r-th seed is the same for all configs, so that they are
        compared on the same draws.
        """
        if not self._racing:
            return None
        best = self._racing[0][2]
        sd = self.noise
        if sd is None:
            waiting = self._repeated > 0  # its second seed still runs
            return None if waiting else best
        bar = best.mean - DOUBT * sd / math.sqrt(len(best.scores))
        for _, _, each in self._racing:
            if each.mean + DOUBT * sd < bar:
                return None  # as all that come after it
            if each.runs < self.repeats and each.mean + DOUBT * sd / math.sqrt(len(each.scores)) >= bar:
                return each
        return None
