"""Functions with every fault that a user's function may have; x below 0.5 is well, above it is not."""

import os
import signal
import sys
import time
from typing import Any


def raises(x: float) -> float:
    if x > 0.5:
        raise ValueError(f"no good: {x:.3f}")
    return x


def returns_nan(x: float) -> float:
    return float("nan") if x > 0.5 else x


def returns_none(x: float) -> float | None:
    return None if x > 0.5 else x


def returns_a_string(x: float) -> Any:
    return "much" if x > 0.5 else x


def returns_what_cannot_be_pickled(x: float) -> Any:
    return (lambda: x) if x > 0.5 else x


def raises_what_cannot_be_pickled(x: float) -> float:
    if x > 0.5:
        error = RuntimeError("with a lock in it")
        error.lock = sys.stdout  # type: ignore[attr-defined]
        raise error
    return x


def prints_100_mb(x: float) -> float:
    if x > 0.5:
        print("the first line")
        for _ in range(100):
            print("y" * 2**20)
        print("the last line")
        raise RuntimeError("after much talk")
    return x


def exits(x: float) -> float:
    if x > 0.5:
        sys.exit(3)
    return x


def segfaults(x: float) -> float:
    if x > 0.5:
        print("said before", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    return x


def sleeps_for_ever(x: float) -> float:
    while x > 0.5:
        time.sleep(1)
    return x


FAULTS = {
    raises: "ValueError: no good",
    returns_nan: "score is nan",
    returns_none: "must return a number or a dict of numbers, or yield them, but it returned None",
    returns_a_string: "but it returned text 'much'",
    returns_what_cannot_be_pickled: "but it returned a function",
    raises_what_cannot_be_pickled: "RuntimeError: with a lock in it",
    prints_100_mb: "RuntimeError: after much talk",
    exits: "it called sys.exit(3)",
    segfaults: "its worker died: Segmentation fault",
    sleeps_for_ever: "it ran longer than the 2 s of --trial-timeout",
}


def any_fault(name: str, x: float) -> Any:
    return next(function for function in FAULTS if function.__name__ == name)(x)
