"""What every search has in common: proposals out, trials in."""

from collections.abc import Hashable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tuneapp.settings import Config, Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial

if TYPE_CHECKING:
    from tuneapp.search.evidence import Evidence

ADDED = "added"  # the origin of a trial that no search proposed: its result came from elsewhere
REPEAT = "repeat"  # of a trial whose config was tried before, with another seed

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Proposal:
    """A config to try next."""

    config: Config
    origin: str  # point, warmup, random, grid, bayes, cell, combination, or REPEAT
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
    def learns(self) -> bool:
        """Whether the next proposal may depend on results."""
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


class Algorithm(Protocol):
    """How a search chooses a new config. It remembers nothing but what saves time: what it needs is in the
    evidence."""

    def learns(self, number: int) -> bool:
        """Whether trial `number` depends on results of those before it."""
        ...

    def choose(self, evidence: "Evidence") -> tuple[Config, str] | None:
        """A config that was not tried, and its origin; None where there is none left."""
        ...

    def used_up(self, tried: Set[Hashable]) -> bool:
        """Whether there is none left. Asked before every ask; configs only ever join `tried`."""
        ...
