"""How the result depends on single hyperparameters and on pairs: one Gaussian process with its band."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tuneapp.analysis.axes import Axis
from tuneapp.analysis.importance import Encoder, Sample, active_where
from tuneapp.analysis.numbers import Array

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

PROCESS_TRIALS = 250  # a Gaussian process costs their cube
SAMPLES = 48  # trials over which dependence is averaged
STEPS = 50  # of a dependence
CELLS = 24  # of a map, along each axis


@dataclass(frozen=True)
class Dependence:
    """The model's mean result along a hyperparameter, over the trials' other values.

    Results are in units of the metric's scale.
    """

    axis: Axis
    grid: Array  # [n] positions on the axis
    mean: Array  # [n]
    deviation: Array  # [n] one standard deviation of the model


@dataclass(frozen=True)
class Map:
    """The model's mean result over two hyperparameters, over the trials' other values."""

    across: Axis
    up: Axis
    x: Array  # [n] positions
    y: Array  # [m]
    mean: Array  # [m, n]; nan where the two exclude each other


class Landscape:
    """A Gaussian process over all searched hyperparameters: Matern 5/2, a length scale each, noise fitted.

    `mode` turns scores, of which higher is better, back into results.
    """

    def __init__(self, sample: Sample, mode: str) -> None:
        self.sign = 1 if mode == "max" else -1
        self.sample = sample.subset(PROCESS_TRIALS)
        self.encoder = Encoder(sample.axes)

    @cached_property
    def _process(self) -> "GaussianProcessRegressor":
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

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

    def dependence(self, column: int) -> Dependence:
        axis = self.sample.axes[column]
        grid = axis.grid(STEPS)
        mean, deviation = self.along(column, grid)
        return Dependence(axis, grid, self.sign * mean, deviation)

    def map(self, across: int, up: int) -> Map:
        axes = self.sample.axes
        x, y = axes[across].grid(CELLS), axes[up].grid(CELLS)
        return Map(axes[across], axes[up], x, y, self.sign * self.over(across, up, x, y))

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
                apart |= ~active_where(axes[child], [axes[parent]], cells[:, [parent]])
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
