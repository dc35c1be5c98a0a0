"""Searches that learn nothing: points of the space file, random draws, a grid."""

from bisect import bisect_right
from collections.abc import Hashable, Set
from functools import cached_property
from itertools import islice

import numpy as np

from tuneapp.errors import UsageError
from tuneapp.search.base import Problem
from tuneapp.search.evidence import Evidence
from tuneapp.settings import Config
from tuneapp.spaces import SearchSpace

DRAWS = 100  # before a finite space is enumerated to find what was not tried
ENUMERABLE = 20_000  # configs that are listed at once, where most of them were not tried


class Points:
    """Only the points of the space file, which every search evaluates first."""

    def __init__(self, problem: Problem) -> None:
        if not problem.space.points:
            raise UsageError(
                "The search `points` needs points in its space file, but there are none; add some."
            )

    def learns(self, number: int) -> bool:
        return False

    def choose(self, evidence: Evidence) -> tuple[Config, str] | None:
        return None

    def used_up(self, tried: Set[Hashable]) -> bool:
        return True


class Random:
    """Independent draws, each domain by its own distribution."""

    def __init__(self, problem: Problem) -> None:
        self.seed = problem.settings.seed
        self.untried = Untried(problem.space)

    def learns(self, number: int) -> bool:
        return False

    def choose(self, evidence: Evidence) -> tuple[Config, str] | None:
        config = self.untried.draw(evidence.tried, evidence.rng(self.seed))
        return None if config is None else (config, "random")

    def used_up(self, tried: Set[Hashable]) -> bool:
        return self.untried.used_up(tried)


class Grid:
    """The finest grid of at most `samples` configs; where even two values a number give more, some of
    those."""

    def __init__(self, problem: Problem) -> None:
        self.space, self.settings = problem.space, problem.settings
        self._position = 0  # of the first that was not tried, as far as is known

    def learns(self, number: int) -> bool:
        return False

    def choose(self, evidence: Evidence) -> tuple[Config, str] | None:
        return None if self.used_up(evidence.tried) else (self._configs[self._position], "grid")

    def used_up(self, tried: Set[Hashable]) -> bool:
        while self._position < len(self._configs):
            if self.space.key(self._configs[self._position]) not in tried:
                return False
            self._position += 1
        return True

    @cached_property
    def _configs(self) -> list[Config]:
        samples = self.settings.samples
        resolution = finest_resolution(self.space, samples)
        if resolution is not None:
            return list(islice(self.space.grid(resolution), samples))
        coarse = list(islice(self.space.grid(2), max(ENUMERABLE, samples)))
        order = np.random.default_rng(self.settings.seed).permutation(len(coarse))
        return [coarse[position] for position in order[:samples]]


def finest_resolution(space: SearchSpace, most: int) -> int | None:
    """The finest resolution of a grid of at most `most` configs; None where one of 2 has more."""

    def size(resolution: int) -> int:
        counted = space.grid_size(resolution)
        return most + 1 if counted is None else counted

    if most < 2 or size(2) > most:
        return None
    top = 2
    while top < most and size(top) <= most:
        top = min(2 * top, most)
    return 1 + bisect_right(range(2, top + 1), most, key=size)


class Untried:
    """Random configs of a space that were not tried."""

    def __init__(self, space: SearchSpace) -> None:
        self.space, self.size = space, space.cardinality
        self._left: list[Config] | None = None  # once the space was enumerated

    def used_up(self, tried: Set[Hashable]) -> bool:
        return self.size is not None and len(tried) >= self.size

    def draw(self, tried: Set[Hashable], rng: np.random.Generator) -> Config | None:
        """One of them; None where there is none left."""
        config = self.space.decode(rng.random(len(self.space.searched)))
        for _ in range(DRAWS):
            if self.space.key(config) not in tried:
                return config
            config = self.space.decode(rng.random(len(self.space.searched)))
        # Where half of a large space was tried, its enumeration costs no more than those trials did.
        if self.size is None or self.size > max(ENUMERABLE, 2 * len(tried)):
            return config  # as good as impossible: 100 draws in a row, all of them tried
        every = self.space.grid(self.size) if self._left is None else self._left
        self._left = [config for config in every if self.space.key(config) not in tried]
        return self._left[rng.integers(len(self._left))] if self._left else None
