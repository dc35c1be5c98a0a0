"""What every search has in common: proposals out, trials in."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuneapp.settings import Config, Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Trial

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
