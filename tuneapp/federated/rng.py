"""Where every random number of a federation comes from: (seed, what it is for, round, client)."""

from enum import IntEnum

import numpy as np
from numpy.random import Generator


class Purpose(IntEnum):
    """One stream per purpose, so that more draws for one leave all others as they were."""

    PARTITION = 1
    COHORT = 2
    DROPOUT = 3
    STRAGGLERS = 4
    BATCHES = 5
    LAYERS = 6  # dropout layers and the like, inside a client's model
    CLIENT_EVALUATION = 7


def generator(seed: int, purpose: Purpose, *where: int) -> Generator:
    """The same numbers in any process, whatever was drawn before: forked workers can't share a stream."""
    return np.random.default_rng([seed, purpose, *where])
