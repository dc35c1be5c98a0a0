"""What to try next: `ask()` for a proposal, `tell()` of trials."""

from tuneapp.search.base import Proposal, Search
from tuneapp.search.trials import SEARCHES, make_search

__all__ = ["SEARCHES", "Proposal", "Search", "make_search"]
