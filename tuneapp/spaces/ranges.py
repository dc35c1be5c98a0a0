"""Domains of numbers: from a low to a high end, or around a mean."""

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, ClassVar

from tuneapp.spaces.base import Searched, SpaceError, finite, whole

# With more cells than this on a unit interval of float64, a cell's centre may fall into its neighbour.
MAX_CELLS = 2**40
LARGEST = 1e300  # so that no difference of two bounds overflows


@dataclass(frozen=True)
class Number(Searched):
    """What Float and Int share: from low to high, both included, on a log scale or in steps if asked."""

    low: Any
    high: Any
    log: bool = False
    step: Any = None

    smallest_step: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step is None:
            self._set("step", self.smallest_step)
        for name in ("low", "high") if self.step is None else ("low", "high", "step"):
            self._set(name, self._bound(getattr(self, name), name))
        if not isinstance(self.log, bool):
            raise SpaceError(f"must be true or false, but got {self.log!r}.", "log")
        if self.low >= self.high:
            raise SpaceError(
                f"must be below high, but got low={self.low}, high={self.high}; one value is given bare.",
                "low",
            )
        if self.log and self.low <= 0:
            raise SpaceError(
                f"must be above 0 with log: true, but got {self.low}; drop log or raise low.", "low"
            )
        if self.step is not None:
            self._check_step()

    @property
    def cardinality(self) -> int | None:
        return None if self.step is None else self._count

    def value(self, u: float) -> Any:
        u = clamped(u)
        if self.step is None:
            return self._between(u)
        # With log, cell k reaches from its value to the next one: an int from 1 to 9 has Benford's shares.
        cells = (self._exp(u, self._beyond) - self.low) / self.step if self.log else u * self._count
        return self._at(min(max(int(cells), 0), self._count - 1))

    def unit(self, value: Any) -> float:
        value = self.read(value)
        if self.step is None and value == self.high:
            return 1.0  # also where the ends are neighbouring numbers, whose logarithms are the same
        if self.step is None and not self.log:
            return clamped((value - self.low) / (self.high - self.low))
        if self.step is None:
            return self._share(math.log(value), self.high)
        if self.log:
            return self._share((math.log(value) + math.log(value + self.step)) / 2, self._beyond)
        return (self._index(value) + 0.5) / self._count

    def values(self, resolution: int) -> list[Any]:
        if self.step is not None and self._count <= resolution:
            return [self._at(k) for k in range(self._count)]
        return super().values(resolution)

    def read(self, value: Any) -> Any:
        number = self.pin(value)
        if not self.low <= number <= self.high:
            raise SpaceError(f"must lie from {self.low} to {self.high}, but got {number}.")
        if self.step is None:
            return number
        nearest = self._at(min(max(self._index(number), 0), self._count - 1))
        if abs(nearest - number) > 1e-9 * self.step:
            raise SpaceError(
                f"must be {self.low} plus a multiple of {self.step}, but got {number}; {nearest} is nearest."
            )
        return nearest

    @cached_property
    def _count(self) -> int:
        raise NotImplementedError

    @property
    def _beyond(self) -> Any:
        """The first value that would come after the last."""
        return self.low + self._count * self.step

    def _index(self, value: Any) -> int:
        index: int = round((value - self.low) / self.step)
        return index

    def _at(self, k: int) -> Any:
        raise NotImplementedError

    def _between(self, u: float) -> Any:
        raise NotImplementedError

    def _bound(self, value: Any, name: str) -> Any:
        raise NotImplementedError

    def _check_step(self) -> None:
        if self.step <= 0:
            raise SpaceError(f"must be above 0, but got {self.step}.", "step")
        if self.step > self.high - self.low:
            raise SpaceError(
                f"must be at most high - low = {self.high - self.low}, but got {self.step}.", "step"
            )
        if self._finest >= MAX_CELLS * self.step:
            raise SpaceError(
                f"must be larger: from {self.low} to {self.high} by {self.step} is finer than 2**40 values, "
                "which is all that is told apart.",
                "step",
            )

    @property
    def _finest(self) -> Any:
        """What the step must not be too small for."""
        return self.high if self.log else self.high - self.low

    def _exp(self, u: float, top: Any) -> float:
        return math.exp((1 - u) * math.log(self.low) + u * math.log(top))

    def _share(self, log_value: float, top: Any) -> float:
        width = math.log(top) - math.log(self.low)
        return clamped((log_value - math.log(self.low)) / width) if width else 0.0


@dataclass(frozen=True)
class Float(Number):
    """Uniform, or with log uniform in the exponent; with step the values low, low + step, … up to high.

    What is drawn is rounded at about the tenth digit: it reads well, and comes back from its coordinate bit
    for bit.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    type: ClassVar[str] = "float"

    def pin(self, value: Any) -> float:
        return finite(value)

    def _bound(self, value: Any, name: str) -> float:
        number = finite(value, name)
        if abs(number) > LARGEST:
            raise SpaceError(f"must be at most {LARGEST:g} in size, but got {number}.", name)
        return number

    @cached_property
    def _count(self) -> int:
        assert self.step is not None
        return int((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def _finest(self) -> float:
        return max(abs(self.low), abs(self.high))

    def _at(self, k: int) -> float:
        assert self.step is not None
        # 0.1 + 2 * 0.1 shall be 0.3, and the first one low to its last digit.
        return self._rounded(self.low + k * self.step, self.step, 13) if k else self.low

    def _between(self, u: float) -> float:
        if u in (0.0, 1.0):
            return self.high if u else self.low
        if self.log:
            value = self._exp(u, self.high)
            size = max(min(value, self.high - self.low), value * 1e-3)
        else:
            value = self.low + u * (self.high - self.low)
            size = max(self.high - self.low, abs(self.low) * 1e-4, abs(self.high) * 1e-4)
        return self._rounded(value, size, 10)

    def _rounded(self, value: float, size: float, figures: int) -> float:
        """To so many figures of a number like `size`, within the domain."""
        digits = figures - 1 - math.floor(math.log10(size))
        return min(max(round(value, digits), self.low), self.high)


@dataclass(frozen=True)
class Int(Number):
    """Whole numbers, high included, each equally likely; with log in proportion to log(1 + step / value)."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    type: ClassVar[str] = "int"
    smallest_step: ClassVar[int | None] = 1

    def pin(self, value: Any) -> int:
        # 3.0 is what a 3 may have become on its way through JSON or an array.
        return whole(int(value) if isinstance(value, float) and value.is_integer() else value)

    def _bound(self, value: Any, name: str) -> int:
        try:
            return whole(value, name)
        except SpaceError as error:
            raise SpaceError(f"{error.message[:-1]}; take type: float, or a whole number.", name) from None

    @cached_property
    def _count(self) -> int:
        return (self.high - self.low) // self.step + 1

    def _at(self, k: int) -> int:
        return self.low + k * self.step


@dataclass(frozen=True)
class Normal(Searched):
    """A float around mean, cut off four standard deviations away, where 1 draw in 16,000 would lie beyond."""

    mean: float
    sd: float

    type: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mean", "sd"):
            self._set(name, finite(getattr(self, name), name))
        if not abs(self.mean) * 1e-9 < self.sd < 1e290:
            raise SpaceError(
                f"must be above 0 and of a size with the mean, but got mean={self.mean}, sd={self.sd}.", "sd"
            )

    @property
    def cardinality(self) -> None:
        return None

    def value(self, u: float) -> float:
        z = NormalDist().inv_cdf(_TAIL + clamped(u) * (1 - 2 * _TAIL))
        digits = 9 - math.floor(math.log10(max(self.sd, abs(self.mean) / 1e4)))
        return min(max(round(self.mean + self.sd * z, digits), self.low), self.high)

    def unit(self, value: Any) -> float:
        z = (self.read(value) - self.mean) / self.sd
        return clamped((NormalDist().cdf(z) - _TAIL) / (1 - 2 * _TAIL))

    def read(self, value: Any) -> float:
        number = finite(value)
        if not self.low <= number <= self.high:
            raise SpaceError(f"must lie from {self.low:g} to {self.high:g}, but got {number}.")
        return number

    def pin(self, value: Any) -> float:
        return finite(value)

    @property
    def low(self) -> float:
        return self.mean - _CUT * self.sd

    @property
    def high(self) -> float:
        return self.mean + _CUT * self.sd


_CUT = 4.0
_TAIL = NormalDist().cdf(-_CUT)


def clamped(u: float) -> float:
    if math.isnan(u):
        raise ValueError("a coordinate must be a number, but is nan: the hyperparameter has no value here")
    return float(min(max(u, 0.0), 1.0))
