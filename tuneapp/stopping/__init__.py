"""When to stop a trial early: rules that are told scores and decide, wherever the trials run.

A new rule is one file with a class as in base.py, and one line in RULES.
"""

from collections.abc import Callable

from tuneapp.errors import lookup
from tuneapp.settings import Metric, SchedulerSettings
from tuneapp.stopping.asha import asha, hyperband
from tuneapp.stopping.base import Rule, Stop
from tuneapp.stopping.median import median
from tuneapp.stopping.none import none

__all__ = ["RULES", "Rule", "Stop", "make_rule"]

RULES: dict[str, Callable[[SchedulerSettings, Metric], Rule]] = {
    "asha": asha,
    "hyperband": hyperband,
    "median": median,
    "none": none,
}


def make_rule(settings: SchedulerSettings, metric: Metric | None = None) -> Rule:
    """A fresh rule, which was told nothing yet.

    Rules are told scores (higher is better); `metric` lets their reasons name its values instead, as people
    know them. Raises UnknownName where RULES has no such type.
    """
    return lookup(settings.type, RULES, "scheduler")(settings, metric or Metric("score"))
