"""Several metrics at once: each proposal improves on a trade-off of them, another one each time.

As in ParEGO (Knowles, 2006): the metrics' scores of all trials are brought to [0, 1], weights are drawn from
the study's seed and the trial's number, and the search maximises the augmented Tchebycheff mean of the
weighted shortfalls. Over a study the weights wander, and so the proposals spread along the Pareto front. The
first metric alone decides which trials are stopped early and which is the incumbent.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tuneapp.search.base import Array, Proposal, Search
from tuneapp.search.repeats import bounded
from tuneapp.settings import Metric
from tuneapp.studies import Iteration, Trial, TrialState

TRADEOFF = Metric("tradeoff", "max")
AUGMENTED = 0.05  # share of the plain weighted sum: without it weakly dominated trials would do
LEAST_WEIGHT = 0.05  # of each metric: a weight of zero would look for the ends of the front again and again


class Tradeoff:
    """A search that is told, in place of its trials' metrics, what they are worth together."""

    def __init__(self, metrics: Sequence[Metric], seed: int, make: Callable[[Metric], Search]) -> None:
        """make: builds the search that maximises the metric it is given."""
        self.metrics, self.seed = list(metrics), seed
        self.inner = make(TRADEOFF)
        self.trials: dict[int, Trial] = {}
        self._scores: dict[int, list[float]] = {}  # of the trials that are over
        self._copies: dict[int, Trial] = {}  # which report the trade-off

    def ask(self) -> Proposal | None:
        if self.inner.learns:
            numbers = sorted(self.trials)
            scores = np.array([self._scores_of(self.trials[n]) for n in numbers], dtype=np.float64)
            values = self._values(scores.reshape(len(numbers), len(self.metrics)))
            for number, value in zip(numbers, values.tolist(), strict=True):
                trial = self.trials[number]
                if number not in self._copies:
                    self._copies[number] = replace(trial, history=[])
                history = [Iteration(trial.iterations, 0.0, {TRADEOFF.name: value})]
                self._copies[number].history = history if trial.history and math.isfinite(value) else []
                self.inner.tell(self._copies[number])
        return self.inner.ask()

    def tell(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self._scores.pop(trial.number, None)
        self._copies.pop(trial.number, None)
        self.inner.tell(trial)

    @property
    def learns(self) -> bool:
        return self.inner.learns

    @property
    def exhausted(self) -> bool:
        return self.inner.exhausted

    def _values(self, scores: Array) -> Array:
        """[N] worth of trials under the weights of the next one; nan where a score [N, metrics] is nan."""
        counted = np.isfinite(scores).all(axis=1)
        if not counted.any():
            return np.full(len(scores), np.nan)
        best, worst = scores[counted].max(axis=0), scores[counted].min(axis=0)
        shortfalls = (best - scores) / np.where(best > worst, best - worst, 1.0)
        drawn = np.random.default_rng([self.seed, len(scores), len(self.metrics)]).dirichlet(
            np.ones(len(self.metrics))
        )
        weighted = shortfalls * (LEAST_WEIGHT + (1 - LEAST_WEIGHT * len(drawn)) * drawn)
        values: Array = -(weighted.max(axis=1) + AUGMENTED * weighted.sum(axis=1))
        return values

    def _scores_of(self, trial: Trial) -> list[float]:
        """One per metric; nan where there is none."""
        scores = self._scores.get(trial.number)
        if scores is None:
            scores = [self._score(trial, metric) for metric in self.metrics]
            if trial.over:
                self._scores[trial.number] = scores
        return scores

    @staticmethod
    def _score(trial: Trial, metric: Metric) -> float:
        if trial.state in (TrialState.DIVERGED, TrialState.FAILED):
            return math.nan
        value = trial.traded(metric)
        return math.nan if value is None else bounded(metric.score(value))
