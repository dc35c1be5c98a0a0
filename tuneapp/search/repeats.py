"""One config on several seeds: which deserve another one, and what they say together."""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from tuneapp.settings import Config, Metric
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial

DOUBT = 1.0  # standard errors on either side within which a config may still win
SHARE = 0.5  # of the trials after warm-up, at most, are repeats


@dataclass(frozen=True)
class Repeats:
    """All trials of one config."""

    config: Config
    trials: list[Trial]  # in order of number
    scores: list[float]  # of those that ran to their end; higher is better

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds; None for fewer than two."""
        if len(self.scores) < 2:
            return None
        return math.sqrt(sum((score - self.mean) ** 2 for score in self.scores) / (len(self.scores) - 1))

    @property
    def races(self) -> bool:
        """Whether all its trials that ended ran to their end: one that was stopped early has lost its
        race."""
        ended = [trial for trial in self.trials if trial.over]
        return len(self.scores) == len(ended) > 0


def by_config(trials: Iterable[Trial], space: SearchSpace, metric: Metric) -> list[Repeats]:
    """The trials of each config together, in order of first appearance."""
    groups: dict[Hashable, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        groups.setdefault(space.key(trial.config), []).append(trial)
    return [Repeats(group[0].config, group, _scores(group, metric)) for group in groups.values()]


def noise(configs: Iterable[Repeats]) -> float | None:
    """The standard deviation of one seed's score, pooled over the configs that have several; None where
    none has."""
    pooled = [(config.sd, len(config.scores) - 1) for config in configs if config.sd is not None]
    freedom = sum(count for _, count in pooled)
    return (
        math.sqrt(sum(sd**2 * count for sd, count in pooled if sd is not None) / freedom) if freedom else None
    )


def due(configs: list[Repeats], repeats: int) -> Repeats | None:
    """The config that should run on one more seed, if one should.

    Racing, as SMAC's intensification (Hutter et al., 2011) and F-race do: only configs that may still
    win. That is, whose mean + standard error reaches the best one's mean - standard error, with the noise
    pooled over all configs. Where no config has two seeds, the noise is unknown and only the best runs
    again. The best of those comes first. The r-th seed is the same for all configs, so that they are
    compared on the same draws.
    """
    racing = [config for config in configs if config.races]
    if not racing:
        return None
    sd = noise(configs)
    best = max(racing, key=lambda config: config.mean)
    if sd is None:
        waiting = any(len(config.trials) > 1 for config in configs)  # its second seed still runs
        return best if repeats > 1 and not waiting else None
    bar = best.mean - DOUBT * sd / math.sqrt(len(best.scores))
    contenders = [
        config
        for config in racing
        if len(config.trials) < repeats and config.mean + DOUBT * sd / math.sqrt(len(config.scores)) >= bar
    ]
    return max(contenders, key=lambda config: config.mean, default=None)


def _scores(trials: list[Trial], metric: Metric) -> list[float]:
    values = [trial.value(metric) for trial in trials if trial.complete]
    return [metric.score(value) for value in values if value is not None]
