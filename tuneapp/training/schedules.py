"""How the learning rate goes over the steps of a trial."""

import math
from collections.abc import Callable

from tuneapp.errors import lookup

# Share of the way from the end of lr_warmup to the last step -> share of the peak.
Schedule = Callable[[float], float]


def learning_rate(name: str, step: int, num_steps: int, *, peak: float, lr_warmup: float) -> float:
    """The rate of `step`, 0 to num_steps - 1: it rises linearly over the first `lr_warmup` share of the
    steps, is `peak` once, then follows the schedule. Above 0 at every step."""
    rising = min(round(lr_warmup * num_steps), num_steps - 1)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    return peak * lookup(name, SCHEDULES, "schedule")((step - rising) / (num_steps - rising))


def constant(way: float) -> float:
    return 1.0


def cosine(way: float) -> float:
    """Half a cosine wave to zero (Loshchilov and Hutter, 2017), without restarts."""
    return 0.5 * (1 + math.cos(math.pi * way))


def one_cycle(way: float) -> float:
    """A straight line to zero: with lr_warmup the triangle of Smith's one cycle (2018), momentum held."""
    return 1 - way


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}
