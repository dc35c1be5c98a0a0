"""Runs side by side: their incumbents at equal trials, iterations and seconds, and the configs they share."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tuneapp.analysis.numbers import text
from tuneapp.analysis.progress import in_order_of_end, incumbents_after
from tuneapp.errors import UsageError
from tuneapp.search.plan import runs_of
from tuneapp.settings import Config, Metric
from tuneapp.settings import config_key as key
from tuneapp.studies import Study, Trial

SHARES = (0.25, 0.5, 1.0)  # of the smallest run's budget, where runs are compared
MOST_RUNS = 12
UNITS = {
    "trials": "trials ended",
    "iterations": "iterations, of all trials",
    "seconds": "seconds since the start",
}


@dataclass(frozen=True)
class Course:
    """A search's incumbent as its cost grows: at cost[unit][i] it had value[i]. Costs rise with i."""

    name: str
    cost: dict[str, list[float]]  # unit -> accumulated cost at the end of each trial
    value: list[float | None]  # of the incumbent then; None before the first that counts

    def at(self, unit: str, budget: float) -> float | None:
        """The incumbent's value once `budget` is spent."""
        ended = bisect_right(self.cost[unit], budget)
        return self.value[ended - 1] if ended else None

    def whole(self, unit: str) -> float:
        return self.cost[unit][-1] if self.cost[unit] else 0.0


@dataclass(frozen=True)
class SharedConfig:
    """A config that two runs or more have, at the last iteration that all of its trials reached."""

    config: Config
    iteration: int
    ends: tuple[dict[int, float], ...]  # of each run: seed -> the metric at that iteration


@dataclass(frozen=True)
class Comparison:
    """Of 2 to 12 runs with the same metric."""

    studies: tuple[Study, ...]
    courses: tuple[Course, ...]  # of each study
    shared: tuple[SharedConfig, ...]

    def budget(self, unit: str) -> float:
        """What the cheapest run has spent: up to there all runs can be compared."""
        return min(course.whole(unit) for course in self.courses)

    def budgets(self, unit: str) -> list[float]:
        """Shares of the common budget, the smallest first; [] where nothing was spent."""
        budget = self.budget(unit)
        if budget <= 0:
            return []
        parts = [budget * share for share in SHARES]
        return list(dict.fromkeys(parts if unit == "seconds" else [max(1.0, round(part)) for part in parts]))

    @property
    def varied(self) -> list[str]:
        """Hyperparameters that are not the same in all shared configs."""
        configs = [each.config for each in self.shared]
        names = dict.fromkeys(name for config in configs for name in config)
        return [name for name in names if len({text(config.get(name, "")) for config in configs}) > 1]


def compare(studies: Sequence[Study]) -> Comparison:
    """Raises UsageError for fewer than 2 or more than 12 runs, and for runs whose metrics differ."""
    if not 2 <= len(studies) <= MOST_RUNS:
        raise UsageError(f"`tuneapp compare` takes 2 to {MOST_RUNS} runs, but got {len(studies)}.")
    if len({study.metric for study in studies}) > 1:
        metrics = ", ".join(f"{each.name}: {each.metric.name} ({each.metric.mode})" for each in studies)
        raise UsageError(f"Runs must have the same metric to be compared, but have {metrics}.")
    return Comparison(tuple(studies), tuple(map(course, studies)), tuple(_shared(studies)))


def course(study: Study) -> Course:
    """Trials in the order of their ends, the incumbent by the study's one rule.

    Iterations are those of ended trials; seconds are on the study's clock, since its first trial was asked.
    """
    ended = in_order_of_end(study.trials)
    first = min((trial.asked for trial in study.trials), default=0.0)
    cost: dict[str, list[float]] = {unit: [] for unit in UNITS}
    iterations = 0
    for count, trial in enumerate(ended, 1):
        iterations += trial.iterations
        cost["trials"].append(count)
        cost["iterations"].append(iterations)
        cost["seconds"].append(max(0.0, (trial.ended or first) - first))
    values = [None if best is None else study.value(best) for best in incumbents_after(study, ended)]
    return Course(study.name, cost, values)


def _shared(studies: Sequence[Study]) -> list[SharedConfig]:
    by_run = [runs_of(trial for trial in study.trials if trial.over) for study in studies]
    configs: dict[str, Config] = {}
    counts: dict[str, int] = {}
    for trials_of, study in zip(by_run, studies, strict=True):
        configs |= {key(trial.config): trial.config for trial in study.trials}
        for each in trials_of:
            counts[each] = counts.get(each, 0) + 1
    shared = []
    for each in [each for each, count in counts.items() if count > 1]:
        trials = [trials_of.get(each, {}) for trials_of in by_run]
        common = min((t.iterations for seeds in trials for t in seeds.values() if t.succeeded), default=0)
        ends = tuple(_at_iteration(seeds, studies[0].metric, common) for seeds in trials)
        shared.append(SharedConfig(configs[each], common, ends))
    return shared


def _at_iteration(trials: dict[int, Trial], metric: Metric, iteration: int) -> dict[int, float]:
    """seed -> the metric at that iteration, of trials that succeeded."""
    return {
        seed: metric.score(score)  # a score turned once more is the value
        for seed, trial in trials.items()
        if trial.succeeded and (score := trial.worth(metric, iteration)) is not None
    }
