"""When to stop a trial early: rules that are told scores and decide, wherever the trials run.

A new rule is one file with a class as in base.py, and one line in RULES.
"""

from collections.abc import Callable

from tuneapp.errors import lookup
from tuneapp.settings import Metric, SchedulerSettings
from tuneapp.stopping.asha import asha, hyperband
from tuneapp.stopping.base import SCORE, Rule, Stop
from tuneapp.stopping.median import median
from tuneapp.stopping.none import none

__all__ = ["RULES", "Rule", "Stop", "make_rule"]

RULES: dict[str, Callable[[SchedulerSettings, Metric], Rule]] = {
    "asha": asha,
    "hyperband": hyperband,
    "median": median,
    "none": none,
}


def make_rule(settings: SchedulerSettings, metric: Metric = SCORE) -> Rule:
    """A fresh rule, which has seen no result yet.

    Rules take scores, of which higher ones are better. With the `metric` their reasons show its values, not
    the scores: a loss has no minus sign. Raises UnknownName where RULES has no such type.
    """
    return lookup(settings.type, RULES, "scheduler")(settings, metric)
