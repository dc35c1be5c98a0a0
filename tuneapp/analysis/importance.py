"""Which hyperparameters move the result: models of the score, to be read, not to search with.

Importances come from bootstrapped forests (total effects, as Sobol's, of the model over the whole space: the
fANOVA view of Hutter et al., 2014). Diverged trials count as the worst, early-stopped ones as what they would
have come to (`expected_score`). Failed trials are left out: a full disk is no config's fault.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tuneapp.analysis.axes import Axis, axes, units
from tuneapp.analysis.numbers import Array, median
from tuneapp.analysis.scale import Scale
from tuneapp.studies import Study, Trial, TrialState

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

BOOTSTRAPS = 24  # refits of the forest: enough for a 10 to 90 % interval
FOREST_TRIALS = 2000  # more change the answer less than the interval
FAR = 1e100  # a score beyond would overflow where it is squared
NOISE = "(random numbers)"  # a made-up hyperparameter that cannot matter


@dataclass(frozen=True)
class Sample:
    """Trials as a model reads them."""

    axes: list[Axis]
    units: Array  # [N, D] in 0 to 1; nan where a hyperparameter is inactive
    scores: Array  # [N] in units of the metric's scale, higher is better

    @property
    def needed(self) -> int:
        """Trials below which nothing is said: at least 10, and at least 2 per hyperparameter + 2."""
        return max(10, 2 * len(self.axes) + 2)

    @property
    def enough(self) -> bool:
        return len(self.scores) >= self.needed and len(self.axes) > 0 and self._differ

    @property
    def _differ(self) -> bool:
        """Whether the scores differ by more than rounding."""
        return float(np.ptp(self.scores)) > max(1e-12 * float(np.abs(self.scores).max()), 1e-100)

    @property
    def why_not(self) -> str:
        if not self.axes:
            return "No hyperparameter is searched."
        if len(self.scores) < self.needed:
            return f"Too few trials: {len(self.scores)} have ended with a result, {self.needed} are needed."
        return "All trials came out alike: there is nothing to explain."

    def only(self, columns: Sequence[int]) -> "Sample":
        """The same trials with these hyperparameters alone."""
        return Sample([self.axes[i] for i in columns], self.units[:, list(columns)], self.scores)

    def subset(self, limit: int) -> "Sample":
        """Random trials: a choice by score would bend the model."""
        if len(self.scores) <= limit:
            return self
        kept = np.sort(np.random.default_rng(0).permutation(len(self.scores))[:limit])
        return Sample(self.axes, self.units[kept], self.scores[kept])


@dataclass(frozen=True)
class Importance:
    """The share of the model's variance that goes with a hyperparameter, interactions included: 0 to 1."""

    name: str
    share: float
    low: float  # 10 % and 90 % over bootstraps of the trials
    high: float


@dataclass(frozen=True)
class Importances:
    """Of all searched hyperparameters, the greatest first; and how far to trust them."""

    items: tuple[Importance, ...]
    noise: Importance  # what random numbers reach
    explained: float  # share of the variance of unseen trials that the forests predict; from 0 on: nothing

    @property
    def summary(self) -> str:
        """What the importances say, in a sentence or two."""
        percent = f"{max(0.0, self.explained):.0%}"
        if self.explained <= 0.1:
            return (
                f"The model explains {percent} of the variance of unseen trials: too little to say what "
                "matters. More random trials would help."
            )
        above = [item for item in self.items if item.low > self.noise.high]
        trust = f"The model explains {percent} of the variance of unseen trials"
        if not above:
            return f"{trust}; no hyperparameter stands out from random numbers."
        names = ", ".join(f"{item.name} ({item.share:.0%})" for item in above[:3])
        return f"{trust}. Above what random numbers reach: {names}."


def sample_of(study: Study, scale: Scale) -> Sample:
    """All trials that say something.

    Low scores are winsorised at Tukey's fence, penalties at the end of the scale; diverged trials get the
    lowest score that is left.
    """
    over = [
        trial
        for trial in study.trials
        if trial.state is TrialState.DIVERGED or study.score(trial) is not None
    ]
    searched = axes(study)
    expected = expected_score(study)
    raw = scale.units([expected(trial) for trial in over]).clip(-FAR, FAR)
    if np.isnan(raw).all():
        return Sample(searched, np.empty((0, len(searched))), np.empty(0))
    first, third = np.nanquantile(raw, [0.25, 0.75])
    worst = scale.low if study.metric.mode == "max" else -scale.high
    # One loss of 1e9 must not be all that a model sees.
    scores = np.maximum(raw, max(worst, first - 1.5 * (third - first)))
    scores = np.where(np.isnan(scores), np.nanmin(scores), scores)
    configs = [trial.config for trial in over]
    columns = [units(each, configs) for each in searched]
    return Sample(searched, np.column_stack(columns) if columns else np.empty((len(over), 0)), scores)


def expected_score(study: Study) -> Callable[[Trial], float | None]:
    """A trial's score; of an early-stopped one what it would have come to.

    That is its last score and the median gain from there of the complete trials, at most their median: it
    was stopped because it was behind.
    """
    gains = later_gains(study)
    finals = [study.score(trial) for trial in study.trials if trial.complete]
    scores = [score for score in finals if score is not None]
    middle = median(scores) if scores else math.inf

    def expected(trial: Trial) -> float | None:
        score = study.score(trial)
        if score is None or trial.state is not TrialState.STOPPED:
            return score
        return max(score, min(score + gains.get(trial.iterations, 0.0), middle))

    return expected


def later_gains(study: Study) -> dict[int, float]:
    """iteration -> the median gain in score from there to the end, of the complete trials."""
    gains: dict[int, list[float]] = {}
    for trial in study.trials:
        final = study.score(trial) if trial.complete else None
        if final is not None:
            for iteration, score in trial.course(study.metric):
                gains.setdefault(iteration, []).append(final - score)
    return {iteration: median(values) for iteration, values in gains.items()}


def importances(sample: Sample) -> Importances:
    """From forests on bootstraps of the trials; the sample must be `enough`."""
    from sklearn.ensemble import ExtraTreesRegressor

    sample = sample.subset(FOREST_TRIALS)
    sample = replace(sample, scores=(sample.scores - sample.scores.min()) / np.ptp(sample.scores))
    rng = np.random.default_rng(0)
    count, names = len(sample.scores), [*(one.name for one in sample.axes), NOISE]
    encoder = Encoder(sample.axes)
    shares, unseen_sum, unseen_count = [], np.zeros(count), np.zeros(count)
    for bootstrap in range(BOOTSTRAPS):
        random = rng.random(count)
        drawn = rng.integers(count, size=count)
        forest = ExtraTreesRegressor(12, min_samples_leaf=2, random_state=bootstrap)
        features = np.column_stack([encoder.encode(sample.units), random])
        forest.fit(features[drawn], sample.scores[drawn])
        unseen = np.setdiff1d(np.arange(count), drawn)
        if len(unseen):
            unseen_sum[unseen] += forest.predict(features[unseen])
            unseen_count[unseen] += 1
        shares.append(_total_effects(forest, encoder, sample.axes, rng))
    seen = unseen_count > 0
    residual = sample.scores[seen] - unseen_sum[seen] / unseen_count[seen]
    explained = 1 - float(np.mean(residual**2) / np.var(sample.scores))
    low, high = np.quantile(shares, [0.1, 0.9], axis=0)
    items = [
        Importance(name, float(share), float(least), float(most))
        for name, share, least, most in zip(names, np.mean(shares, axis=0), low, high, strict=True)
    ]
    noise = items.pop()
    return Importances(tuple(sorted(items, key=lambda item: -item.share)), noise, explained)


def _total_effects(
    forest: "ExtraTreesRegressor", encoder: "Encoder", searched: Sequence[Axis], rng: np.random.Generator
) -> Array:
    """Half the mean squared change when one hyperparameter is drawn anew, over the variance (Jansen)."""
    points, noise = uniform_units(searched, 400, rng), rng.random(400)
    fresh, fresh_noise = uniform_units(searched, 400, rng), rng.random(400)
    tables = [np.column_stack([encoder.encode(points), noise])]
    for column in range(len(searched)):
        changed = points.copy()
        # Where it is inactive it stays so: an inactive hyperparameter cannot matter.
        both = ~np.isnan(points[:, column]) & ~np.isnan(fresh[:, column])
        changed[both, column] = fresh[both, column]
        tables.append(np.column_stack([encoder.encode(changed), noise]))
    tables.append(np.column_stack([encoder.encode(points), fresh_noise]))
    predicted = forest.predict(np.concatenate(tables)).reshape(len(tables), -1)
    variance = predicted[0].var()
    if variance == 0:
        return np.zeros(len(searched) + 1)
    changes = ((predicted[1:] - predicted[0]) ** 2).mean(axis=1)
    return np.asarray(np.minimum(1.0, changes / 2 / variance))


def uniform_units(searched: Sequence[Axis], count: int, rng: np.random.Generator) -> Array:
    """Draws from the whole space, [count, D]; nan where a condition does not hold."""
    drawn = rng.random((count, len(searched)))
    for column, one in enumerate(searched):
        if not one.numeric:
            last = max(1, len(one.choices) - 1)
            drawn[:, column] = rng.integers(len(one.choices), size=count) / last
    # A condition may hang on another: as many passes as there are hyperparameters settle all of them.
    for _ in searched:
        for column, one in enumerate(searched):
            drawn[~active_where(one, searched, drawn), column] = np.nan
    return drawn


def active_where(
    one: Axis, searched: Sequence[Axis], drawn: Array
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """[N]: whether the hyperparameter's condition holds in these rows of units."""
    active = np.ones(len(drawn), dtype=bool)
    for column, parent in enumerate(searched):
        if parent.name in one.when:
            allowed = [parent.unit(value) for value in one.when[parent.name]]
            active &= np.isclose(drawn[:, [column]], allowed).any(axis=1)
    return active


class Encoder:
    """Units [N, D] to features [N, C]: choices one-hot, inactive hyperparameters in the middle, flagged."""

    def __init__(self, searched: Sequence[Axis]) -> None:
        self.axes = searched

    def encode(self, points: Array) -> Array:
        columns: list[Array] = []
        for column, one in enumerate(self.axes):
            unit = points[:, column]
            if one.numeric or one.ordered:
                columns.append(np.where(np.isnan(unit), 0.5, unit))
            else:
                last = max(1, len(one.choices) - 1)
                columns += [np.isclose(unit * last, index).astype(float) for index in range(len(one.choices))]
            if one.when:
                columns.append(np.isnan(unit).astype(float))
        return np.column_stack(columns) if columns else np.empty((len(points), 0))
