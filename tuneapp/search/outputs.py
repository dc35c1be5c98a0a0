"""What the model is told of scores: numbers of mean 0 and variance 1 whose bad tail does not drown the
good end."""

import warnings

import numpy as np
from scipy.stats import yeojohnson

from tuneapp.search.base import Array

TAIL = 5.0  # times the way from the median to the best: as far below the median as a score is looked at


def warped(scores: Array) -> tuple[Array, Array]:
    """[N] scores, higher is better, nan for what failed or diverged -> [N] of mean 0 and variance 1, and
    their [N] slopes, by which the standard deviation of a score's noise is multiplied.

    Yeo-Johnson with the likeliest exponent, as HEBO does (Cowen-Rivers et al., 2022), after the bad tail
    is cut off: one loss of 1e30 says no more than "bad", and would leave all others alike. What has no
    score is as bad as the worst that has one.
    """
    known = scores[np.isfinite(scores)]
    if len(known) == 0:
        return np.zeros(len(scores)), np.zeros(len(scores))
    unit = np.abs(known).max() or 1.0  # so that squares of 1e300 stay finite
    scores, known = scores / unit, known / unit
    median, best, worst = np.median(known), known.max(), known.min()
    floor = max(worst, median - TAIL * (best - median)) if best > median else worst
    filled = np.maximum(np.where(np.isfinite(scores), scores, worst), floor)
    if np.ptp(filled) == 0:  # all alike: what failed is worse all the same
        bad = np.isnan(scores)
        return np.where(bad, -1.0, 0.0) + bad.mean(), np.zeros(len(scores))
    centre, spread = filled.mean(), filled.std()
    standard = (filled - centre) / spread
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # an exponent tried on the way may overflow
        y, exponent = yeojohnson(standard)
    if not np.isfinite(y).all() or np.std(y) < 1e-9:
        return standard, np.full(len(scores), 1 / spread / unit)
    slopes = (1 + np.abs(standard)) ** (np.sign(standard) * (exponent - 1))
    return (y - y.mean()) / y.std(), slopes / y.std() / spread / unit
