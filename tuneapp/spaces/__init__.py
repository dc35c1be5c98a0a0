"""Hyperparameters, their domains, and the space they span: config <-> point in the unit cube."""

from tuneapp.spaces.base import Domain, Searched, SpaceError
from tuneapp.spaces.domains import DOMAINS, Categorical, Derived, Fixed, Ordinal
from tuneapp.spaces.ranges import Float, Int, Normal
from tuneapp.spaces.space import Array, SearchSpace, describe_condition

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
    "describe_condition",
]
