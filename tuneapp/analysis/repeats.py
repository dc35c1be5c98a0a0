"""Configs that were run on several seeds: the mean is what they are worth, the spread what chance does."""

from dataclasses import dataclass

from tuneapp.analysis.numbers import deviation, mean
from tuneapp.settings import config_key as key
from tuneapp.studies import Study, Trial


@dataclass(frozen=True)
class RepeatedConfig:
    """One config's complete trials, two or more, with their results."""

    trials: tuple[Trial, ...]
    values: tuple[float, ...]

    @property
    def numbers(self) -> str:
        return ", ".join(str(trial.number) for trial in self.trials)

    @property
    def spread(self) -> str:
        return spread(self.values)


def spread(values: tuple[float, ...] | list[float]) -> str:
    """`0.812 ± 0.004 (n = 3)`, the standard deviation of single runs; `-` where there is none."""
    if not values:
        return "-"
    middle = f"{mean(values):.4g}"
    if len(values) == 1:
        return f"{middle} (n = 1)"
    return f"{middle} ± {deviation(values):.2g} (n = {len(values)})"


def repeated_configs(study: Study) -> list[RepeatedConfig]:
    """The best mean first; [] for a study of effects, whose tables show the same."""
    if study.request.search.plan is not None:
        return []
    groups: dict[str, list[tuple[Trial, float]]] = {}
    for trial in study.trials:
        value = study.value(trial) if trial.complete else None
        if value is not None:
            groups.setdefault(key(trial.config), []).append((trial, value))
    repeated = [
        RepeatedConfig(tuple(trial for trial, _ in group), tuple(value for _, value in group))
        for group in groups.values()
        if len(group) > 1
    ]
    return sorted(repeated, key=lambda config: -study.metric.score(mean(config.values)))
