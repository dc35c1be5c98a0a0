"""What text, page and plots share: which trials are drawn where not all can be, and how that is said."""

from collections.abc import Sequence

import numpy as np

from tuneapp.settings import Metric
from tuneapp.studies import Trial

NO_RESULT = "No trial has a result yet."
MAX_CURVES = 200  # more lines make a plot slow and grey


def thinned(trials: Sequence[Trial], top: Sequence[Trial], limit: int) -> list[Trial]:
    """At most so many trials, evenly over the run, the top ones among them."""
    if len(trials) <= limit:
        return list(trials)
    kept = {trials[i].number for i in np.linspace(0, len(trials) - 1, limit - len(top)).astype(int)}
    kept |= {trial.number for trial in top}
    return [trial for trial in trials if trial.number in kept]


def some_of(shown: Sequence[Trial], trials: Sequence[Trial]) -> str:
    """`each trial`, or how many of them are drawn."""
    return "each trial" if len(shown) == len(trials) else f"{len(shown):,} of {len(trials):,} trials"


def better(metric: Metric) -> str:
    return "higher" if metric.mode == "max" else "lower"
