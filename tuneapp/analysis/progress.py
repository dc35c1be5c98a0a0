"""How the search went: its incumbent after each trial, beside what random draws alone would have given."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tuneapp.analysis.numbers import Array
from tuneapp.analysis.scale import Scale
from tuneapp.settings import Metric
from tuneapp.studies import Race, Study, Trial, ranked

BASELINE_TRIALS = 5  # random results below this number make no band


@dataclass(frozen=True)
class RandomBaseline:
    """Quantiles of the best of 1, 2, … draws from the run's own random trials: the metric, [number of draws].

    low and high are the smaller and the greater value, whichever of them is better.
    """

    low: Array
    middle: Array
    high: Array


@dataclass(frozen=True)
class Progress:
    ended: tuple[Trial, ...]  # in the order of their ends
    values: tuple[float | None, ...]  # of the incumbent after each of them; None before the first success
    baseline: RandomBaseline | None  # after as many draws as trials ended; None below five random results

    def scale(self, metric: Metric) -> Scale:
        """On which the incumbent and the baseline are drawn."""
        band = [] if self.baseline is None else [*self.baseline.low.tolist(), *self.baseline.high.tolist()]
        return Scale.of([*self.values, *band], metric.mode)


def progress(study: Study) -> Progress:
    """Empty where no trial has succeeded."""
    ended = in_order_of_end(study.trials) if ranked(study.trials, study.metric) else []
    incumbents = incumbents_after(study, ended)
    values = tuple(None if trial is None else study.value(trial) for trial in incumbents)
    return Progress(tuple(ended), values, random_baseline(study, len(ended)) if ended else None)


def in_order_of_end(trials: Iterable[Trial]) -> list[Trial]:
    """Trials that are over, as they ended."""
    return sorted((trial for trial in trials if trial.over), key=lambda t: (t.ended or 0.0, t.number))


def incumbents_after(study: Study, ended: Iterable[Trial]) -> list[Trial | None]:
    """The incumbent after each of these trials, by the study's one rule; None before the first success.

    The rule knows what had ended by then. So its value can get worse: a trial that was stopped early leads
    until another turns out to have been better where it was stopped, even if that one ends below. Where
    configs run on several seeds, the line is of single trials, while the study's best is that of the best
    mean.
    """
    race = Race(study.metric)
    incumbents = []
    for trial in ended:
        race.add(trial)
        incumbents.append(race.best)
    return incumbents


def random_baseline(study: Study, count: int) -> RandomBaseline | None:
    """10, 50 and 90 % quantiles of the best of 1…count draws from the run's own random trials.

    Exact order statistics of the empirical distribution, drawn with replacement: the best of n is at most
    the q quantile with probability q^n. Trials are in the order of the study's one rule, so that one that
    was stopped early is never above a trial it lost to; those without a result count as the worst.
    """
    ended = [trial for trial in study.trials if origin_group(trial.origin) == "random" and trial.over]
    results = [study.value(trial) or 0.0 for trial in reversed(ranked(ended, study.metric))]
    if len(results) < BASELINE_TRIALS:
        return None
    values = np.array([results[0]] * (len(ended) - len(results)) + results)
    draws = np.arange(1, count + 1)
    low, middle, high = (
        values[np.ceil(share ** (1 / draws) * len(values)).astype(int) - 1] for share in (0.1, 0.5, 0.9)
    )
    return RandomBaseline(np.minimum(low, high), middle, np.maximum(low, high))


def origin_group(origin: str) -> str:
    """`random`, `bayes` or `point`: what a reader must tell apart."""
    if origin in ("random", "warmup"):
        return "random"
    return "bayes" if origin == "bayes" else "point"
