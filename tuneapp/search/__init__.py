"""What to try next: `ask()` for a proposal, `tell()` of trials."""

from tuneapp.search.base import ADDED, Proposal, Search
from tuneapp.search.trials import SEARCHES, make_search

__all__ = ["ADDED", "SEARCHES", "Proposal", "Search", "make_search"]
