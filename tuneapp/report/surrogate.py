"""What the trials say about single hyperparameters: models of the score, to be read, not to search with.

Importances come from bootstrapped forests (total effects, as Sobol's, of the model over the whole space: the
fANOVA view of Hutter et al., 2014); dependence and maps come from one Gaussian process with its band.
Both see diverged trials as the worst, and early-stopped ones at what they would have come to
(`expected_score`). Failed trials are left out: a full disk is no config's fault.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from tuneapp.analysis.axes import Array, Axis, text, units
from tuneapp.analysis.axes import axes as axes_of
from tuneapp.studies import Study, Trial, TrialState

BOOTSTRAPS = 24  # refits of the forest: enough for a 10 to 90 % interval
FOREST_TRIALS = 2000  # more change the answer less than the interval
PROCESS_TRIALS = 250  # a Gaussian process costs their cube
SAMPLES = 48  # trials over which dependence is averaged
LARGEST = 1e100  # a score beyond would overflow where it is squared
NOISE = "(random numbers)"  # a made-up hyperparameter that cannot matter


@dataclass(frozen=True)
class Sample:
    """Trials as a model reads them: units [N, D] in 0 to 1, nan where inactive; scores [N], higher better."""

    axes: list[Axis]
    units: Array
    scores: Array

    @property
    def needed(self) -> int:
        """Trials below which nothing is said: ten, or two a hyperparameter and two more."""
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
        """The same trials, known by these hyperparameters alone."""
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


def sample_of(study: Study) -> Sample:
    """All trials that say something; scores far below the bulk are drawn in, diverged ones at the lowest."""
    over = [
        trial
        for trial in study.trials
        if trial.state is TrialState.DIVERGED or study.score(trial) is not None
    ]
    expected = expected_score(study)
    raw = np.array([np.nan if (score := expected(trial)) is None else score for trial in over])
    raw = raw.clip(-LARGEST, LARGEST)
    known = axes_of(study)
    if np.isnan(raw).all():
        return Sample(known, np.empty((0, len(known))), np.empty(0))
    first, third = np.nanquantile(raw, [0.25, 0.75])
    scores = np.maximum(raw, first - 1.5 * (third - first))  # Tukey's fence; one loss of 1e9 must not be all
    scores = np.where(np.isnan(scores), np.nanmin(scores), scores)
    configs = [trial.config for trial in over]
    columns = [units(one, configs) for one in known]
    return Sample(known, np.column_stack(columns) if columns else np.empty((len(over), 0)), scores)


def expected_score(study: Study) -> Callable[[Trial], float | None]:
    """A trial's score; of an early-stopped one what it would have come to.

    That is its last score and the median gain from there of the trials that finished, at most their median:
    the scheduler stopped it because it was behind.
    """
    gains = later_gains(study)
    finals = [study.score(trial) for trial in study.trials if trial.state is TrialState.FINISHED]
    known = [final for final in finals if final is not None]
    middle = float(np.median(known)) if known else math.inf

    def expected(trial: Trial) -> float | None:
        score = study.score(trial)
        if score is None or trial.state is not TrialState.STOPPED:
            return score
        return max(score, min(score + gains.get(trial.iterations, 0.0), middle))

    return expected


def later_gains(study: Study) -> dict[int, float]:
    """iteration -> the median gain in score from there to the end, of the trials that finished."""
    gains: dict[int, list[float]] = {}
    for trial in study.trials:
        final = study.score(trial) if trial.state is TrialState.FINISHED else None
        if final is not None:
            for iteration, value in trial.curve(study.metric.name):
                if math.isfinite(value):
                    gains.setdefault(iteration, []).append(final - study.metric.score(value))
    return {iteration: float(np.median(found)) for iteration, found in gains.items()}


def importances(sample: Sample) -> tuple[list[Importance], float]:
    """Importances, the greatest first, that of pure noise among them; and how well the model predicts.

    The second value is the share of the variance of unseen trials (out of the bootstrap) that the forests
    explain; at 0 or below, the importances mean nothing. The sample must be `enough`.
    """
    sample = sample.subset(FOREST_TRIALS)
    sample = replace(sample, scores=(sample.scores - sample.scores.min()) / np.ptp(sample.scores))
    rng = np.random.default_rng(0)
    count, names = len(sample.scores), [*(one.name for one in sample.axes), NOISE]
    encoder = Encoder(sample.axes)
    shares, unseen_sum, unseen_count = [], np.zeros(count), np.zeros(count)
    for bootstrap in range(BOOTSTRAPS):
        noise = rng.random(count)
        drawn = rng.integers(count, size=count)
        forest = ExtraTreesRegressor(12, min_samples_leaf=2, random_state=bootstrap)
        features = np.column_stack([encoder.encode(sample.units), noise])
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
    found = [
        Importance(name, float(share), float(a), float(b))
        for name, share, a, b in zip(names, np.mean(shares, axis=0), low, high, strict=True)
    ]
    return sorted(found, key=lambda item: -item.share), explained


def _total_effects(
    forest: ExtraTreesRegressor, encoder: "Encoder", known: Sequence[Axis], rng: np.random.Generator
) -> Array:
    """Half the mean squared change when one hyperparameter is drawn anew, over the variance (Jansen)."""
    points, noise = uniform_units(known, 400, rng), rng.random(400)
    fresh, fresh_noise = uniform_units(known, 400, rng), rng.random(400)
    tables = [np.column_stack([encoder.encode(points), noise])]
    for column in range(len(known)):
        changed = points.copy()
        # Where it is inactive it stays so: an inactive hyperparameter cannot matter.
        both = ~np.isnan(points[:, column]) & ~np.isnan(fresh[:, column])
        changed[both, column] = fresh[both, column]
        tables.append(np.column_stack([encoder.encode(changed), noise]))
    tables.append(np.column_stack([encoder.encode(points), fresh_noise]))
    predicted = forest.predict(np.concatenate(tables)).reshape(len(tables), -1)
    variance = predicted[0].var()
    if variance == 0:
        return np.zeros(len(known) + 1)
    changes = ((predicted[1:] - predicted[0]) ** 2).mean(axis=1)
    return np.asarray(np.minimum(1.0, changes / 2 / variance))


def uniform_units(known: Sequence[Axis], count: int, rng: np.random.Generator) -> Array:
    """Draws from the whole space, [count, D]; nan where a condition does not hold."""
    drawn = rng.random((count, len(known)))
    for column, one in enumerate(known):
        if not one.numeric:
            last = max(1, len(one.choices) - 1)
            drawn[:, column] = rng.integers(len(one.choices), size=count) / last
    for _ in known:  # a condition may hang on another: as many passes as there are hyperparameters settle it
        for column, one in enumerate(known):
            drawn[~_active(one, known, drawn), column] = np.nan
    return drawn


def _active(one: Axis, known: Sequence[Axis], drawn: Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    active = np.ones(len(drawn), dtype=bool)
    for column, parent in enumerate(known):
        if parent.name in one.when:
            allowed = [parent.unit(value) for value in one.when[parent.name]]
            active &= np.isclose(drawn[:, [column]], allowed).any(axis=1)
    return active


class Encoder:
    """Units [N, D] to features [N, C]: choices one-hot, inactive hyperparameters in the middle, flagged."""

    def __init__(self, known: Sequence[Axis]) -> None:
        self.axes = known

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


class Landscape:
    """A Gaussian process over all searched hyperparameters: Matern 5/2, a length scale each, noise fitted."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample.subset(PROCESS_TRIALS)
        self.encoder = Encoder(sample.axes)

    @cached_property
    def _process(self) -> GaussianProcessRegressor:
        features = self.encoder.encode(self.sample.units)
        kernel = ConstantKernel(1.0, (0.05, 20)) * Matern(
            np.full(features.shape[1], 0.7), (0.08, 20), nu=2.5
        ) + WhiteKernel(0.05, (1e-4, 1.0))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with warnings.catch_warnings():
            # A length scale at its bound says that a hyperparameter does nothing: no fault.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(features, self.sample.scores)
        return process

    def along(self, column: int, grid: Array) -> tuple[Array, Array]:
        """Mean score and one standard deviation of the model, [len(grid)], over the trials' other values."""
        base = self._background([column])
        points = np.repeat(base[None], len(grid), axis=0)
        points[:, :, column] = grid[:, None]
        mean, deviation = self._process.predict(self.encoder.encode(_flat(points)), return_std=True)
        return _row_means(mean, len(grid)), _row_means(deviation, len(grid))

    def over(self, first: int, second: int, x: Array, y: Array) -> Array:
        """Mean score [len(y), len(x)] over the trials' other values; nan where the two exclude each other."""
        base = self._background([first, second])
        points = np.tile(base, (len(y), len(x), 1, 1))
        points[..., first] = x[None, :, None]
        points[..., second] = y[:, None, None]
        mean = (
            self._process.predict(self.encoder.encode(_flat(points))).reshape(len(y), len(x), -1).mean(axis=2)
        )
        cells = points[:, :, 0, :].reshape(-1, points.shape[-1])
        axes = self.sample.axes
        apart = np.zeros(len(cells), dtype=bool)
        for child, parent in ((first, second), (second, first)):
            if axes[parent].name in axes[child].when:
                apart |= ~_active(axes[child], [axes[parent]], cells[:, [parent]])
        return np.asarray(np.where(apart.reshape(mean.shape), np.nan, mean))

    def _background(self, columns: Sequence[int]) -> Array:
        """Trials in which these hyperparameters are active; all where none is."""
        active = ~np.isnan(self.sample.units[:, list(columns)]).any(axis=1)
        base = self.sample.units[active] if active.any() else self.sample.units
        return np.asarray(base[np.linspace(0, len(base) - 1, min(SAMPLES, len(base))).astype(int)])


def _row_means(values: Array, rows: int) -> Array:
    return np.asarray(values.reshape(rows, -1).mean(axis=1))


def _flat(points: Array) -> Array:
    return points.reshape(-1, points.shape[-1])


def describe(found: Sequence[Importance], explained: float) -> str:
    """What the importances say, and how far to trust them, in a sentence or two."""
    percent = f"{max(0.0, explained):.0%}"
    if explained <= 0.1:
        return (
            f"The model explains {percent} of the variance of unseen trials: too little to say what matters. "
            "More random trials would help."
        )
    floor = next(item.high for item in found if item.name == NOISE)
    above = [item for item in found if item.name != NOISE and item.low > floor]
    trust = f"The model explains {percent} of the variance of unseen trials"
    if not above:
        return f"{trust}; no hyperparameter stands out from random numbers."
    names = ", ".join(f"{item.name} ({item.share:.0%})" for item in above[:3])
    return f"{trust}. Above what random numbers reach: {names}."


def choices_grid(one: Axis, steps: int) -> Array:
    """Unit positions to evaluate: evenly on numbers, each choice once."""
    if one.numeric:
        return np.linspace(0.0, 1.0, steps)
    return np.array([one.unit(choice) for choice in one.choices])


def label_of(one: Axis, unit: float) -> str:
    """What stands at a unit position, in words."""
    place = float(one.at(np.array([unit]))[0])
    return (
        text(one.choices[round(place)]) if not one.numeric else text(round(place) if one.integer else place)
    )
