"""Warm-up, then a Gaussian process that says where expected improvement is highest.

Of bayesian-optimization come the surrogate (the Gaussian process it uses, here fitted with priors) and
the acquisition; its own types, suggestion and target space do not: it knows no logarithm and no
condition, its constant liar refuses categories, and one nan ends it. What the parts are worth, and what
was tried and gave nothing, stands in benchmarks/README.md. The logarithm of expected improvement (Ament et
al., arXiv 2310.20708) gave the same proposals to the bit: here points are ranked, and no slope is needed.
"""

from collections.abc import Callable, Hashable, Set

import numpy as np
from bayes_opt.acquisition import ExpectedImprovement
from scipy.stats import qmc
from threadpoolctl import ThreadpoolController

from tuneapp.search import gp
from tuneapp.search.base import Array, Problem
from tuneapp.search.cube import Cube
from tuneapp.search.evidence import Evidence
from tuneapp.search.observations import ObservationReader, Observations
from tuneapp.search.outputs import warped
from tuneapp.search.sampling import Untried
from tuneapp.settings import Config

CANDIDATES = 1500  # drawn over the whole cube
PARENTS, CHILDREN = 10, 30  # the best of them, and how many points are tried near each
RADII = (0.2, 0.1, 0.05, 0.02, 0.01, 0.004)  # ever nearer
FANTASIES = 8  # guesses of what pending trials will give
MOST = 256  # observations that the process is fitted to: 1,000 would take seconds per ask


class Bayes:
    """Quasi-random warm-up, then the maximum of expected improvement under a Gaussian process."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.space = problem, problem.space
        self.untried = Untried(problem.space)
        self.cube = Cube(problem.space)
        self.observer = ObservationReader(problem)
        self.design = np.empty((0, self.cube.D))  # of the warm-up, as far as it was needed
        # One BLAS thread: on matrices of this size more of them only wait for each other (an ask took a
        # hundred times as long on a busy machine), and sums in another order would propose other configs.
        self.blas = ThreadpoolController()
        domains = self.space.hyperparameters
        self.by_chance = np.array([domains[name].sampling == "random" for name in self.space.searched], bool)

    def learns(self, number: int) -> bool:
        return number >= len(self.space.points) + self.problem.settings.warmup_trials

    def used_up(self, tried: Set[Hashable]) -> bool:
        return self.untried.used_up(tried)

    def choose(self, evidence: Evidence) -> tuple[Config, str] | None:
        rng = evidence.rng(self.problem.settings.seed)
        origin = "bayes" if self.learns(evidence.number) else "warmup"
        chance = np.random.default_rng([self.problem.settings.seed, evidence.number, 1])
        for point in self._points(evidence, rng):
            # Else they would stay near those of the best trials, whose surroundings are looked at most.
            drawn_anew = self.by_chance & self.learns(evidence.number)
            config = self.space.decode(np.where(drawn_anew, chance.random(self.cube.D), point))
            if self.space.key(config) not in evidence.tried:
                return config, origin
        drawn = self.untried.draw(evidence.tried, rng)
        return None if drawn is None else (drawn, origin)

    def _points(self, evidence: Evidence, rng: np.random.Generator) -> Array:
        """[M, D], the first choice first; none where a random draw is as good."""
        settings, D = self.problem.settings, self.cube.D
        if not self.learns(evidence.number):
            if settings.warmup_design != "sobol":
                return np.empty((0, D))
            first = evidence.number - len(self.space.points)
            if first >= len(self.design):
                self.design = _sobol(D, first + 1, settings.seed)
            return self.design[first : first + 1]
        observations = self.observer.observe(evidence.contenders, evidence.race.noise)
        if D == 0 or not np.isfinite(observations.scores).any():
            return np.empty((0, D))
        with self.blas.limit(limits=1):
            return propose(self.cube, observations, [trial.config for trial in evidence.pending], rng)


def propose(cube: Cube, observations: Observations, pending: list[Config], rng: np.random.Generator) -> Array:
    """Points [M, D] to try next at full budget, the best first.

    Pending trials are believed to give what the process guesses, in FANTASIES guesses over which
    improvement is averaged. The incumbent is the best score; where budgets differ, the highest
    full-budget prediction at a config that was tried, since a config stopped early may be the best.
    """
    y, slopes = warped(observations.scores)
    chosen = _thinned(y, rng)
    y = y[chosen]
    points = np.nan_to_num(cube.encode([observations.configs[k] for k in chosen]), nan=0.5)
    variances = np.maximum((observations.variances * slopes**2)[chosen], 1e-8)
    early = bool((observations.budgets < 1).any())

    observed = points

    def columns(points: Array, budgets: Array | float = 1.0) -> Array:
        inputs = cube.columns(points, observed)
        return np.column_stack([inputs, np.broadcast_to(budgets, len(points))]) if early else inputs

    model = gp.fit(columns(points, observations.budgets[chosen]), y, variances)
    best: float | Array = model.predict(columns(points)).max() if early else y.max()
    if pending:
        waiting = np.nan_to_num(cube.encode(pending), nan=0.5)
        model = gp.believe(model, columns(waiting), FANTASIES, rng)
        best = np.maximum(best, model.y_train_[len(y) :].max(axis=0))
    improvement = ExpectedImprovement(xi=0.0)
    improvement.y_max = best

    def acquisition(points: Array) -> Array:
        values = improvement.base_acq(*gp.latent(model, columns(points)))
        return np.asarray(values if values.ndim == 1 else values.mean(axis=1))

    return maximise(acquisition, cube, points[np.argsort(-y)[:PARENTS]], rng)


def maximise(
    acquisition: Callable[[Array], Array], cube: Cube, incumbents: Array, rng: np.random.Generator
) -> Array:
    """Points [M, D], the best first: over the whole cube and around the incumbents, then ever nearer to
    the best.

    Points are snapped before they are judged, so that each is judged as the config that it stands for; a
    gradient could not step from one integer or category to the next.
    """
    points = cube.snap(np.vstack([rng.random((CANDIDATES, cube.D)), _near(incumbents, 0.1, cube, rng)]))
    values = acquisition(points)
    for radius in RADII:
        parents = points[np.argsort(-values)[:PARENTS]]
        children = cube.snap(_near(parents, radius, cube, rng))
        points, values = np.vstack([points, children]), np.append(values, acquisition(children))
    return points[np.argsort(-values, kind="stable")]


def _near(parents: Array, radius: float, cube: Cube, rng: np.random.Generator) -> Array:
    """CHILDREN of each parent, half of their coordinates moved: by about radius, to a neighbouring value
    at least, and now and then to any other choice where choices have no order."""
    children = np.repeat(parents, CHILDREN, axis=0)
    steps = rng.standard_normal(children.shape) * np.maximum(radius, 0.7 * cube.steps)
    switched = np.where(rng.random(children.shape) < 0.3, rng.random(children.shape), children)
    moved = np.where(cube.unordered, switched, children + steps)
    return np.where(rng.random(children.shape) < 0.5, moved, children)


def _thinned(y: Array, rng: np.random.Generator) -> list[int]:
    """Positions of the observations to fit: all up to MOST, beyond that the better half of it and a draw
    of the rest."""
    if len(y) <= MOST:
        return list(range(len(y)))
    order = np.argsort(-y, kind="stable")
    rest = rng.choice(order[MOST // 2 :], MOST - MOST // 2, replace=False)
    return sorted([*order[: MOST // 2].tolist(), *rest.tolist()])


def _sobol(D: int, count: int, seed: int) -> Array:
    """The first points [count or more, D] of a scrambled Sobol sequence, which fill the cube evenly at powers
    of two."""
    if D == 0:
        return np.empty((count, 0))
    sequence = qmc.Sobol(D, rng=np.random.default_rng(seed))
    return np.asarray(sequence.random_base2((count - 1).bit_length()))
