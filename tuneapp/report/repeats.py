"""Configs that were run on several seeds: the mean is what they are worth, the spread what chance does."""

from dataclasses import dataclass
from statistics import fmean

from tuneapp.report.effects import is_effects, spread
from tuneapp.report.tables import config_in_words, table, varied_names
from tuneapp.settings import config_key as key
from tuneapp.studies import Study, Trial

SHOWN = 5


@dataclass(frozen=True)
class Repeated:
    """One config's trials that ran to their end, with their last values; two or more."""

    trials: list[Trial]
    values: list[float]

    @property
    def numbers(self) -> str:
        return ", ".join(str(trial.number) for trial in self.trials)

    @property
    def words(self) -> str:
        """`0.812 ± 0.004 (n = 3)`"""
        return spread(self.values)


def repeated(study: Study) -> list[Repeated]:
    """The best mean first; [] for a study of effects, whose tables show the same."""
    if is_effects(study):
        return []
    groups: dict[str, list[tuple[Trial, float]]] = {}
    for trial in study.trials:
        value = study.value(trial) if trial.complete else None
        if value is not None:
            groups.setdefault(key(trial.config), []).append((trial, value))
    found = [
        Repeated([t for t, _ in group], [v for _, v in group]) for group in groups.values() if len(group) > 1
    ]
    return sorted(found, key=lambda config: -study.metric.score(fmean(config.values)))


def repeats_summary(study: Study) -> str:
    """A table of the best configs with several seeds; empty where there is none."""
    found = repeated(study)
    if not found:
        return ""
    varied = varied_names(study)
    rows = [[one.numbers, one.words, config_in_words(one.trials[0], varied)] for one in found[:SHOWN]]
    return f"Configs on several seeds\n{table(['trials', f'{study.metric.name}, mean ± sd', 'config'], rows)}"
