"""What every search has in common: proposals out, trials in."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuneapp.settings import Config, Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Proposal:
    """A config to try next."""

    config: Config
    origin: str  # point, warmup, random, grid, bayes; repeat: a config tried before, with another seed
    seed: int  # of the trial


class Search(Protocol):
    """What to try next. Its whole state is the trials it was told: a fresh search that is told the same
    trials goes on identically."""

    def ask(self) -> Proposal | None:
        """The next trial; None where a trial that runs must report first, or where `exhausted`.

        Asking changes nothing: until the trial is told, the same proposal comes again.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Take a trial in any state, as often as it changes; the last telling of a number counts."""
        ...

    @property
    def exhausted(self) -> bool:
        """Nothing will ever be proposed again: all samples were asked, or all that there is was tried."""
        ...


@dataclass(frozen=True)
class Problem:
    """What a study asks of its search."""

    space: SearchSpace
    metric: Metric
    settings: SearchSettings
    scheduler: SchedulerSettings


@dataclass(frozen=True)
class Known:
    """What the proposal of a trial may depend on."""

    number: int  # of the trial to propose
    done: list[Trial] = field(default_factory=list)  # their results count
    pending: list[Trial] = field(default_factory=list)  # their results do not, be they there or not
    tried: frozenset[Hashable] = frozenset()  # keys of all configs so far

    def rng(self, seed: int) -> np.random.Generator:
        """Draws depend on the study's seed and the trial's number, so that a resumed search draws the
        same."""
        return np.random.default_rng([seed, self.number])


class Algorithm(Protocol):
    """How a search chooses a new config. It remembers nothing: what it needs is in Known."""

    def learns(self, number: int) -> bool:
        """Whether trial `number` depends on results of those before it."""
        ...

    def choose(self, known: Known) -> tuple[Config, str] | None:
        """A config that was not tried, and its origin; None where there is none left."""
        ...

    def used_up(self, tried: frozenset[Hashable]) -> bool:
        """Whether there is none left."""
        ...
