"""Warm-up, then a Gaussian process that says where to try next."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import qmc

from tuneapp.request import Config
from tuneapp.search import gp
from tuneapp.search.base import Array, Known, Problem
from tuneapp.search.cube import Cube
from tuneapp.search.observations import Observations, observe
from tuneapp.search.outputs import warped
from tuneapp.search.sampling import unseen
from tuneapp.studies import State, Trial

CANDIDATES = 1500  # drawn over the whole cube
PARENTS, CHILDREN = 10, 30  # the best of them are improved by small steps
RADII = (0.2, 0.1, 0.05, 0.02, 0.01, 0.004)
FANTASIES = 8  # guesses of what pending trials will give
NEIGHBOURS = 256  # observations that the process is fitted to; more are thinned out


class Bayes:
    """Quasi-random warm-up, then the maximum of expected improvement under a Gaussian process."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.space = problem, problem.space
        self.cardinality = problem.space.cardinality
        self.first_model = len(problem.space.points) + problem.settings.warmup_trials
        self.cube = Cube(problem.space)

    def learns(self, number: int) -> bool:
        return number >= self.first_model

    def used_up(self, tried: frozenset[Hashable]) -> bool:
        return self.cardinality is not None and len(tried) >= self.cardinality

    def choose(self, known: Known) -> tuple[Config, str] | None:
        settings = self.problem.settings
        rng = known.rng(settings.seed)
        if not self.learns(known.number):
            warmup = known.number - len(self.space.points)
            if settings.warmup_design == "sobol":
                config = self.space.decode(sobol(self.cube.D, settings.warmup_trials, settings.seed)[warmup])
                if self.space.key(config) not in known.tried:
                    return config, "warmup"
            drawn = unseen(self.space, known.tried, rng)
            return None if drawn is None else (drawn, "warmup")
        observations = observe(known.done, self.problem)
        if self.cube.D == 0 or not observations.configs:
            drawn = unseen(self.space, known.tried, rng)
            return None if drawn is None else (drawn, "bayes")
        pending = [trial.config for trial in known.pending]
        for point in propose(self.cube, observations, pending, rng):
            config = self.space.decode(point)
            if self.space.key(config) not in known.tried:
                return config, "bayes"
        drawn = unseen(self.space, known.tried, rng)
        return None if drawn is None else (drawn, "bayes")


def propose(cube: Cube, seen: Observations, pending: list[Config], rng: np.random.Generator) -> Array:
    """Points [M, D] to try next, the best first."""
    points = np.nan_to_num(cube.encode(seen.configs), nan=0.5)
    y, slopes = warped(seen.scores)
    stopped = bool((seen.budgets < 1).any())

    def columns(points: Array, budgets: Array | float = 1.0) -> Array:
        seen_as = cube.columns(points)
        return np.column_stack([seen_as, np.broadcast_to(budgets, len(points))]) if stopped else seen_as

    model = gp.fit(columns(points, seen.budgets), y, np.maximum(seen.variances * slopes**2, 1e-8))
    y_max: float | Array = float(model.predict(columns(points)).max()) if stopped else y.max()
    if pending:
        waiting = np.nan_to_num(cube.encode(pending), nan=0.5)
        model = gp.believe(model, columns(waiting), FANTASIES, rng)
        y_max = np.maximum(y_max, model.y_train_[len(y) :].max(axis=0))
    improvement = gp.LogExpectedImprovement(y_max)

    def acquisition(points: Array) -> Array:
        values = improvement.base_acq(*gp.latent(model, columns(points)))
        return values if values.ndim == 1 else logsumexp(values, axis=1)

    best = points[np.argsort(-y)[:PARENTS]]
    return maximise(acquisition, cube, best, rng)


def maximise(
    acquisition: Callable[[Array], Array], cube: Cube, incumbents: Array, rng: np.random.Generator
) -> Array:
    """Snapped points [M, D], the best first: over the whole cube and around the incumbents, then ever closer
    around the best. Snapping comes before the acquisition, so that a point is judged as the config it becomes."""
    points = cube.snap(np.vstack([rng.random((CANDIDATES, cube.D)), _near(incumbents, 0.1, cube, rng)]))
    values = acquisition(points)
    for radius in RADII:
        order = np.argsort(-values)[:PARENTS]
        children = cube.snap(_near(points[order], radius, cube, rng))
        points, values = np.vstack([points, children]), np.append(values, acquisition(children))
    return points[np.argsort(-values, kind="stable")]


def _near(parents: Array, radius: float, cube: Cube, rng: np.random.Generator) -> Array:
    """Children of each parent, [len(parents) * CHILDREN, D]: some coordinates moved by about radius, or one value."""
    children = np.repeat(parents, CHILDREN, axis=0)
    steps = rng.standard_normal(children.shape) * np.maximum(radius, 0.7 * cube.steps)
    switched = np.where(rng.random(children.shape) < 0.3, rng.random(children.shape), children)
    changed = np.where(cube.unordered, switched, children + steps)
    return np.where(rng.random(children.shape) < 0.5, changed, children)


def sobol(D: int, count: int, seed: int) -> Array:
    """The first `count` points [count, D] of a scrambled Sobol sequence, balanced at powers of two."""
    if D == 0 or count == 0:
        return np.zeros((count, D))
    return qmc.Sobol(D, rng=np.random.default_rng(seed)).random_base2(max(count - 1, 0).bit_length())[:count]
