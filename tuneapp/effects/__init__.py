"""What a hyperparameter does: a plan of cells, each run on the same seeds, so that differences are paired."""

from tuneapp.effects.plan import (
    Asked,
    Cell,
    Claim,
    Plan,
    Section,
    Table,
    combinations,
    groups,
    make_plan,
    plan_of,
    runs_of,
    winner,
)
from tuneapp.settings import config_key as key

__all__ = [
    "Asked",
    "Cell",
    "Claim",
    "Plan",
    "Section",
    "Table",
    "combinations",
    "groups",
    "key",
    "make_plan",
    "plan_of",
    "runs_of",
    "winner",
]
