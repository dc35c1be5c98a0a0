"""The scale on which the values of one quantity are drawn: chosen once, used by the page and the plots.

Its values may have any finite size. What lies far off is cut, so that it does not flatten the rest, and very
large or very small quantities are drawn in a unit of their own, `score (× 1e308)`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuneapp.analysis.numbers import Array, finite

PLAIN = 1e30  # sizes between this and its inverse need no unit; libraries square and multiply what they draw
DECADES = 100.0  # ratio of the bulk of positive values from which a logarithmic scale shows more
PENALTY = 1e6  # spans of the better third; a worse value beyond is a penalty, and no measurement


@dataclass(frozen=True)
class Scale:
    """Values from low to high are drawn, others at the nearer end. low and high are in units of `unit`."""

    low: float
    high: float
    log: bool = False
    unit: float = 1.0  # a power of ten

    @classmethod
    def of(cls, values: Iterable[float | None], mode: Literal["max", "min"] | None = None) -> "Scale":
        """The scale of these values; those that are absent or not finite are left out.

        `mode` says which values are better, where some are: then penalties, worse than all others by
        millions of their span, do not count.
        """
        kept = sorted(finite(values))
        if not kept:
            return cls(0.0, 1.0)
        kept = _without_penalties(kept, mode) if mode else kept
        unit = _unit(kept)
        kept = [value / unit for value in kept]
        if _spans_decades(kept):
            return cls(kept[0], kept[-1], True, unit)
        return cls(*_bulk(kept), False, unit)

    def units(self, values: float | Sequence[float | None] | Array) -> Array:
        """Values in units of `unit`, not cut; what is absent is nan. None is infinite that was finite."""
        plain = np.asarray(values, dtype=float)
        with np.errstate(over="ignore"):
            inside = plain / self.unit
        return np.where(np.isfinite(plain), np.clip(inside, -1e300, 1e300), plain)

    def place(self, values: float | Sequence[float | None] | Array) -> Array:
        """Where values are drawn: in units of `unit`, cut to the ends; nan stays nan."""
        return np.asarray(np.clip(self.units(values), self.low, self.high))

    def cut(self, value: float) -> bool:
        """Whether a value lies outside, so that it is drawn at an end of the scale."""
        inside = self.units(value)
        return bool(inside < self.low or inside > self.high)

    def share(self, value: float) -> float:
        """Between 0 at the low end and 1 at the high one, evenly in the logarithm where the scale is one."""
        place = float(self.place(value))
        if self.log:
            whole = math.log(self.high) - math.log(self.low)
            return (math.log(place) - math.log(self.low)) / whole if whole else 0.5
        return (place - self.low) / (self.high - self.low)

    def named(self, name: str) -> str:
        """`score (× 1e308)`: the name of what is drawn, with its unit where it has one."""
        return name if self.unit == 1.0 else f"{name} (× {f'{self.unit:.0e}'.replace('+', '')})"


def _without_penalties(ordered: list[float], mode: str) -> list[float]:
    better_first = ordered[::-1] if mode == "max" else ordered
    third = better_first[: max(2, math.ceil(len(ordered) / 3))]
    best, last = third[0], third[-1]
    reach = PENALTY * (abs(best - last) or abs(best) or 1.0)
    return [value for value in ordered if value in (best, last) or abs(value - last) <= reach]


def _unit(ordered: list[float]) -> float:
    largest = max(abs(ordered[0]), abs(ordered[-1]))
    if largest == 0 or 1 / PLAIN < largest < PLAIN:
        return 1.0
    return float(f"1e{math.floor(math.log10(largest))}") or largest  # 1e-324 is no float


def _spans_decades(ordered: list[float]) -> bool:
    """Whether all are positive and their bulk spans two decades or more."""
    if len(ordered) < 3 or ordered[0] < 1 / PLAIN:
        return False
    return _at(ordered, 0.9) / _at(ordered, 0.1) > DECADES


def _bulk(ordered: list[float]) -> tuple[float, float]:
    """All values, unless a few far off would flatten the rest.

    Then the range ends one and a half times the span of the middle nine tenths beyond them.
    """
    low, high = ordered[0], ordered[-1]
    first, last = _at(ordered, 0.05), _at(ordered, 0.95)
    if 0 < (last - first) * 10 < high - low:
        reach = 1.5 * (last - first)
        low, high = max(low, first - reach), min(high, last + reach)
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    return low - (abs(low) or 1.0) * 0.05, high + (abs(high) or 1.0) * 0.05


def _at(ordered: list[float], share: float) -> float:
    """A quantile by linear interpolation; exact at the ends."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    rest = position - below
    if rest == 0:
        return ordered[below]
    return ordered[below] * (1 - rest) + ordered[below + 1] * rest
