"""What the model is told of scores: numbers of mean 0 and variance 1 whose bad tail does not drown the
good end."""

import warnings

import numpy as np
from scipy.stats import yeojohnson

from tuneapp.search.base import Array

TAIL = 5.0  # times the way from the median to the best, or else to the lower quartile: below that, bad is bad
ALIKE = 1e-12  # of the largest score: differences below it are rounding


def warped(scores: Array) -> tuple[Array, Array]:
    """[N] scores, higher is better, nan for what failed or diverged -> [N] of mean 0 and variance 1, and
    their [N] slopes, by which the standard deviation of a score's noise is multiplied.

    Yeo-Johnson with the likeliest exponent, as HEBO does (Cowen-Rivers et al., 2022), after the bad tail
    is cut off: one loss of 1e30 says no more than "bad", and would leave all others alike. What has no
    score is as bad as the worst that has one.
    """
    finite = scores[np.isfinite(scores)]
    if len(finite) == 0:
        return np.zeros(len(scores)), np.zeros(len(scores))
    low, median, best = np.quantile(finite, [0.25, 0.5, 1.0])
    with np.errstate(over="ignore"):  # an infinite reach cuts nothing off
        floor = median - TAIL * (best - median or median - low)
    filled = np.maximum(np.where(np.isfinite(scores), scores, finite.min()), floor)
    unit = max(np.abs(filled).max(), 1e-280)
    filled = filled / unit  # so that the squares of 1e300 and the slopes of 1e-300 stay finite
    centre, spread = filled.mean(), filled.std()
    if spread < ALIKE:  # what failed is worse all the same
        bad = np.isnan(scores)
        return np.where(bad, -1.0, 0.0) + bad.mean(), np.zeros(len(scores))
    standard = (filled - centre) / spread
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # an exponent tried on the way may overflow
        y, exponent = yeojohnson(standard)
    if not np.isfinite(y).all() or np.std(y) < 1e-9:
        return standard, np.full(len(scores), 1 / spread / unit)
    slopes = (1 + np.abs(standard)) ** (np.sign(standard) * (exponent - 1))
    return (y - y.mean()) / y.std(), slopes / y.std() / spread / unit
