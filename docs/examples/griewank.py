"""The second-order Griewank function: many local minima, the least of all at the origin."""

from math import cos, sqrt
from typing import Annotated

from tuneapp import Float, Ordinal


def griewank(x: Annotated[float, Float(-5, 5)], y: Annotated[float, Ordinal([1.2, 3.4, 5.4, 6.3])]) -> float:
    return (x * x + y * y) / 4000 - cos(x) * cos(y / sqrt(2)) + 1
