"""Hyperparameters, their domains, and the space they span: config <-> point in the unit cube."""

from tuneapp.spaces.domains import (
    DOMAINS,
    Categorical,
    Derived,
    Domain,
    Fixed,
    Float,
    Int,
    Normal,
    Ordinal,
    Searched,
    SpaceError,
)
from tuneapp.spaces.space import Array, SearchSpace

__all__ = [
    "DOMAINS",
    "Array",
    "Categorical",
    "Derived",
    "Domain",
    "Fixed",
    "Float",
    "Int",
    "Normal",
    "Ordinal",
    "SearchSpace",
    "Searched",
    "SpaceError",
]
