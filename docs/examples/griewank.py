"""The second-order Griewank function: many local minima, the least of all at the origin."""

from math import cos, sqrt


def griewank(x: float, y: float) -> float:
    return (x * x + y * y) / 4000 - cos(x) * cos(y / sqrt(2)) + 1
