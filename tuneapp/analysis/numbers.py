"""Numbers of any finite size: their means and spreads, and how they are written for people.

People report the largest float there is as a penalty, and results of 1e-310. Plain sums and squares of such
numbers overflow, so everything here divides by the largest before it adds.
"""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LARGEST = sys.float_info.max
WIDEST = 40  # characters of a whole number; a longer one is rounded


def mean(values: Sequence[float]) -> float:
    """Finite for finite values, however large; there must be one value or more."""
    unit = unit_of(values)
    return math.fsum(value / unit for value in values) / len(values) * unit


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample; infinite only where it is beyond the largest float.

    There must be two values or more.
    """
    unit = unit_of(values)
    scaled = [value / unit for value in values]
    middle = math.fsum(scaled) / len(scaled)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in scaled) / (len(scaled) - 1)) * unit


def unit_of(values: Iterable[float]) -> float:
    """The power of two that brings finite values, divided by it without rounding, between -2 and 2."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def median(values: Sequence[float]) -> float:
    """There must be one value or more."""
    ordered = sorted(values)
    return mean(ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1])


def finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def as_float(value: float) -> float:
    """A whole number beyond the largest float becomes the largest float of its sign."""
    try:
        return float(value)
    except OverflowError:
        return LARGEST if value > 0 else -LARGEST


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Any) -> str:
    """A value as a reader writes it: numbers short, texts without quotes, lists as JSON."""
    if is_number(value):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def number(value: float) -> str:
    """Four significant digits; whole numbers in full, as long as they are readable."""
    if isinstance(value, int):
        if abs(value) < 10**WIDEST:
            return str(value)
        value = as_float(value)
    if math.isfinite(value) and value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12.3 s`."""
    if seconds < 60 or not math.isfinite(seconds):
        return f"{seconds:.3g} s"
    if seconds >= 1e9:
        return f"{seconds / 3600:.3g} h"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
