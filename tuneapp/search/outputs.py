"""What the model is told of scores: numbers of mean 0 and variance 1 whose bad tail does not drown the good end."""

import warnings

import numpy as np
from sklearn.preprocessing import PowerTransformer

from tuneapp.search.base import Array

TAIL = 5.0  # distances from the median to the best, below the median


def warped(scores: Array) -> Array:
    """[N] scores, higher is better, nan for what failed or diverged -> [N] of mean 0 and variance 1.

    Yeo-Johnson, as HEBO does (Cowen-Rivers et al., 2022), after the bad tail is cut off: one loss of 1e30 says no
    more than "bad", and would else leave all others alike. What has no score is as bad as the worst that has one.
    """
    known = scores[np.isfinite(scores)]
    if len(known) == 0 or np.ptp(known) == 0:
        bad = np.isnan(scores)
        return np.where(bad, -1.0, 0.0) if 0 < bad.sum() < len(scores) else np.zeros(len(scores))
    median, best = np.median(known), known.max()
    floor = median - TAIL * (best - median) if best > median else known.min()
    filled = np.maximum(np.where(np.isfinite(scores), scores, known.min()), floor)
    standard = (filled - filled.mean()) / (filled.std() or 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of overflow on the way to the best exponent
        power = PowerTransformer(method="yeo-johnson").fit_transform(standard[:, None])[:, 0]
    return power if np.isfinite(power).all() and np.ptp(power) > 0 else standard
