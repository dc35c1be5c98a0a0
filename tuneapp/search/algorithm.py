"""What differs between searches: how a new config is chosen."""

from collections.abc import Hashable, Set
from typing import Protocol

from tuneapp.search.evidence import Evidence
from tuneapp.settings import Config


class Algorithm(Protocol):
    """How a search chooses a new config. It remembers nothing but what saves time: what it needs is in the
    evidence."""

    def learns(self, number: int) -> bool:
        """Whether trial `number` depends on results of those before it."""
        ...

    def choose(self, evidence: Evidence) -> tuple[Config, str] | None:
        """A config that was not tried, and its origin; None where there is none left."""
        ...

    def used_up(self, tried: Set[Hashable]) -> bool:
        """Whether there is none left. Asked before every ask; configs only ever join `tried`."""
        ...
