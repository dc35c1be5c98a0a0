"""What an objective may give, and what happens when it gives something else."""

import math
from typing import Any

import numpy as np
import pytest

from tuneapp.errors import TuneappError
from tuneapp.objective import Diverged, iterate
from tuneapp.settings import Metric

LOSS = Metric("loss", "min")


@pytest.mark.parametrize(
    ("given", "metrics"),
    [
        (0.5, [{"loss": 0.5}]),
        (1, [{"loss": 1.0}]),
        (np.float32(0.5), [{"loss": 0.5}]),
        ({"loss": 2, "other": np.int64(3), "note": "left out"}, [{"loss": 2.0, "other": 3.0}]),
        (iter([{"loss": 1.0}, {"loss": 0.5}]), [{"loss": 1.0}, {"loss": 0.5}]),
        (iter([]), []),
    ],
)
def test_numbers_dicts_and_iterators_become_metrics(given: Any, metrics: list[dict[str, float]]) -> None:
    assert list(iterate(given, LOSS)) == metrics


@pytest.mark.parametrize("given", [None, "0.5", [0.5], object(), iter(["x"])])
def test_anything_else_is_refused_with_what_came(given: Any) -> None:
    with pytest.raises(TuneappError, match="must return a number"):
        list(iterate(given, LOSS))


def test_a_missing_metric_names_those_that_came() -> None:
    with pytest.raises(TuneappError, match="must report 'loss', but gave accuracy"):
        list(iterate({"accuracy": 1.0}, LOSS))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_ends_the_trial_as_diverged(value: float) -> None:
    with pytest.raises(Diverged, match="loss is"):
        list(iterate(iter([{"loss": 1.0}, {"loss": value}]), LOSS))


def test_iterations_are_drawn_one_at_a_time() -> None:
    drawn = []

    def objective() -> Any:
        for step in range(3):
            drawn.append(step)
            yield {"loss": 1.0}

    next(iterate(objective(), LOSS))
    assert drawn == [0]
