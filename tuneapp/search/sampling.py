"""Searches that learn nothing: points of the space file, random draws, a grid."""

from collections.abc import Hashable
from itertools import islice

import numpy as np

from tuneapp.errors import UsageError
from tuneapp.search.base import Known, Problem
from tuneapp.settings import Config
from tuneapp.spaces import SearchSpace

DRAWS = 100  # before a finite space is enumerated to find what was not tried
ENUMERABLE = 20_000  # configs


class Points:
    """Only the points of the space file, which every search evaluates first."""

    def __init__(self, problem: Problem) -> None:
        if not problem.space.points:
            raise UsageError(
                "The search `points` needs points in its space file, but there are none; add some."
            )
        self.count = len(problem.space.points)

    def learns(self, number: int) -> bool:
        return False

    def choose(self, known: Known) -> tuple[Config, str] | None:
        return None

    def used_up(self, tried: frozenset[Hashable]) -> bool:
        return True


class Random:
    """Independent draws, each domain by its own distribution."""

    def __init__(self, problem: Problem) -> None:
        self.space, self.seed = problem.space, problem.settings.seed
        self.cardinality = problem.space.cardinality

    def learns(self, number: int) -> bool:
        return False

    def choose(self, known: Known) -> tuple[Config, str] | None:
        config = unseen(self.space, known.tried, known.rng(self.seed))
        return None if config is None else (config, "random")

    def used_up(self, tried: frozenset[Hashable]) -> bool:
        return self.cardinality is not None and len(tried) >= self.cardinality


class Grid:
    """The finest grid of at most `samples` configs; where even two values a number give more, some of
    those."""

    def __init__(self, problem: Problem) -> None:
        self.space = problem.space
        self.configs = _finest_grid(problem.space, problem.settings.samples, problem.settings.seed)

    def learns(self, number: int) -> bool:
        return False

    def choose(self, known: Known) -> tuple[Config, str] | None:
        return next(((c, "grid") for c in self.configs if self.space.key(c) not in known.tried), None)

    def used_up(self, tried: frozenset[Hashable]) -> bool:
        return all(self.space.key(config) in tried for config in self.configs)


def unseen(space: SearchSpace, tried: frozenset[Hashable], rng: np.random.Generator) -> Config | None:
    """A random config that was not tried; None where there is none left."""
    config = space.decode(rng.random(len(space.searched)))
    for _ in range(DRAWS):
        if space.key(config) not in tried:
            return config
        config = space.decode(rng.random(len(space.searched)))
    size = space.cardinality
    if size is None or size > ENUMERABLE:
        return config  # as good as impossible: 100 draws in a row, all of them tried
    left = [config for config in space.grid(size) if space.key(config) not in tried]
    return left[rng.integers(len(left))] if left else None


def _finest_grid(space: SearchSpace, samples: int, seed: int) -> list[Config]:
    finest: list[Config] = []
    for resolution in range(2, samples + 1):
        configs = list(islice(space.grid(resolution), samples + 1))
        if len(configs) > samples or len(configs) == len(finest):
            break
        finest = configs
    if finest:
        return finest
    coarse = list(islice(space.grid(2), ENUMERABLE))
    order = np.random.default_rng(seed).permutation(len(coarse))
    return [coarse[position] for position in order[:samples]]
