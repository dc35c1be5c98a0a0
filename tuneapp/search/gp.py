"""The surrogate: the scikit-learn Gaussian process that bayesian-optimization uses, with a length scale a
dimension, fitted by maximum a posteriori."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize
from scipy.spatial.distance import squareform
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from tuneapp.search.base import Array

# Log-normal priors as (median, spread of the logarithm), for inputs in the unit cube and outputs of
# variance 1.
AMPLITUDE = (1.0, 1.0)
LENGTH_SCALE = (0.6, 1.3)
NOISE = (1e-4, 2.0)


class MapGaussianProcess(GaussianProcessRegressor):  # type: ignore[misc]
    """amplitude * Matern 5/2 + noise, at the mode of the posterior of its D + 2 logarithmic hyperparameters.

    scikit-learn maximises what `log_marginal_likelihood` returns. Here that includes the priors, without
    which 10 observations in 7 dimensions are explained by noise alone or by absurd length scales
    (Hvarfner et al., arXiv 2402.02229), and it is computed from pairwise differences that are taken once
    a fit.
    """

    def fit(self, X: Array, y: Array) -> "MapGaussianProcess":
        """X is [N, D] in the unit cube; y is [N], of mean about 0 and variance about 1."""
        rows, columns = np.triu_indices(len(X), 1)
        self._squares = (X[rows] - X[columns]).T ** 2  # [D, N (N - 1) / 2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a length scale at its bound is a dimension without effect
            super().fit(X, y)
        return self

    def log_marginal_likelihood(
        self, theta: Array | None = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """Log likelihood + log prior at theta = log(amplitude, length scales [D], noise), and its
        gradient."""
        theta = self.kernel_.theta if theta is None else theta
        y, N = self.y_train_, len(self.y_train_)
        if self.optimizer is None:
            return 0.0  # nothing is fitted, and scikit-learn only stores it
        amplitude, weights, noise = np.exp(theta[0]), np.exp(-2 * theta[1:-1]), np.exp(theta[-1])
        distance = np.sqrt(5 * (weights @ self._squares))
        decay = amplitude * np.exp(-distance)
        covariance = squareform(decay * (1 + distance + distance**2 / 3))
        covariance.flat[:: N + 1] = amplitude + noise + self.alpha
        factor, failed = lapack.dpotrf(covariance, lower=1)
        if failed:
            return (-1e25, np.zeros_like(theta)) if eval_gradient else -1e25
        solved = lapack.dpotrs(factor, y, lower=1)[0]
        value = -0.5 * y @ solved - np.log(np.diag(factor)).sum()
        centred = (theta - self.prior[0]) / self.prior[1]
        value -= 0.5 * centred @ centred
        if not eval_gradient:
            return value
        inverse = lapack.dpotri(factor, lower=1)[0]  # its lower triangle; the other one is zero
        inner = np.outer(solved, solved) - inverse - np.tril(inverse, -1).T  # alpha alpha' - K^-1
        pairs = squareform(inner, checks=False)
        trace = np.trace(inner)
        gradient = np.empty_like(theta)
        gradient[0] = pairs @ (decay * (1 + distance + distance**2 / 3)) + 0.5 * amplitude * trace
        gradient[1:-1] = weights * (self._squares @ (pairs * decay * (1 + distance))) * (5 / 3)
        gradient[-1] = 0.5 * noise * trace
        return value, gradient - centred / self.prior[1]

    @property
    def noise(self) -> float:
        """The variance of an observation beside what `alpha` says of it."""
        return float(np.exp(self.kernel_.theta[-1]))


def fit(X: Array, y: Array, variances: Array) -> MapGaussianProcess:
    """The process given y [N] at X [N, D], whose noise has at least `variances` [N]."""
    D = X.shape[1]
    medians, spreads = np.array([AMPLITUDE, *[LENGTH_SCALE] * D, NOISE]).T
    kernel = ConstantKernel(medians[0], (1e-3, 1e3)) * Matern(medians[1:-1], (1e-3, 1e3), nu=2.5)
    gp = MapGaussianProcess(kernel + WhiteKernel(medians[-1], (1e-7, 1e1)), alpha=variances, optimizer=_climb)
    gp.prior = np.log(medians), spreads
    return gp.fit(X, y)


def believe(
    gp: MapGaussianProcess, pending: Array, fantasies: int, rng: np.random.Generator
) -> MapGaussianProcess:
    """The process that has also seen the pending points [P, D], in several guesses of what they will give.

    Its predictions are [M, fantasies]; the guesses are drawn together from the posterior (Snoek et al.,
    2012).
    """
    mean, covariance = gp.predict(pending, return_cov=True)
    draws = rng.multivariate_normal(mean, covariance, size=fantasies, method="cholesky").T  # [P, fantasies]
    kernel = gp.kernel_
    more = MapGaussianProcess(kernel, alpha=np.append(gp.alpha, np.full(len(pending), 1e-10)), optimizer=None)
    return more.fit(
        np.vstack([gp.X_train_, pending]), np.vstack([np.tile(gp.y_train_[:, None], fantasies), draws])
    )


def latent(gp: MapGaussianProcess, X: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of the function itself, without the noise of observing it."""
    mean, std = gp.predict(X, return_std=True)
    return mean, np.sqrt(np.maximum(std**2 - gp.noise, 1e-12))


def _climb(negative: Callable[..., tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
    """From the prior's medians, which is where little data leave the mode."""
    optimum = minimize(negative, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 60})
    return optimum.x, optimum.fun
