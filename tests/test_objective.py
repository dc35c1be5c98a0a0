"""What an objective may give, and what happens when it gives something else."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

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
    ],
)
def test_numbers_dicts_and_iterators_become_metrics(given: Any, metrics: list[dict[str, float]]) -> None:
    assert list(iterate(given, LOSS)) == metrics


@pytest.mark.parametrize(
    "value",
    [
        np.array(0.5),
        np.array([0.5]),
        np.array([[[0.5]]], dtype=np.float16),
        torch.tensor(0.5, requires_grad=True),
        torch.tensor([[0.5]], dtype=torch.bfloat16),
        Decimal("0.5"),
        Fraction(1, 2),
    ],
)
def test_a_number_of_any_library_and_an_array_of_one_element_are_numbers(value: Any) -> None:
    assert list(iterate(value, LOSS)) == [{"loss": 0.5}]
    assert list(iterate({"loss": value}, LOSS)) == [{"loss": 0.5}]


def test_true_is_one_and_false_is_zero() -> None:
    result = {"loss": True, "converged": np.bool_(False)}
    assert list(iterate(result, LOSS)) == [{"loss": 1.0, "converged": 0.0}]


def test_what_is_no_number_is_left_out() -> None:
    result = {
        "loss": 1.0,
        "per_class": np.array([0.1, 0.2]),
        "confusion": [[1, 0], [0, 1]],
        "note": "0.7",
        "nested": {"loss": 0.3},
        "name": np.str_("0.7"),
        "day": np.datetime64("2020-01-01"),
        "phase": 1j,
        "none": None,
    }
    assert list(iterate(result, LOSS)) == [{"loss": 1.0}]


@pytest.mark.parametrize(
    "name",
    [
        "val.loss", "a=b, c", "ü", "metrics/mAP50-95(B)", "time", "iteration", "done", "metrics",
        "checkpoint", "reason", "ended", "state", "loss=1", "", "self", "trial",
    ],
)  # fmt: skip
def test_a_metric_may_have_any_name(name: str) -> None:
    assert list(iterate(iter([{name: 1}, {name: 2}]), Metric(name))) == [{name: 1.0}, {name: 2.0}]


def test_an_iteration_may_leave_out_the_metric() -> None:
    items = [{"n": 1}, {"n": 2, "loss": 0.5}, {"n": 3, "loss": None}, {}]
    assert list(iterate(iter(items), LOSS)) == [{"n": 1.0}, {"n": 2.0, "loss": 0.5}, {"n": 3.0}, {}]


@pytest.mark.parametrize("items", [[], [{"n": 1.0}], [{"loss": None}]])
def test_a_later_life_of_a_trial_need_not_report_again(items: list[Any]) -> None:
    assert len(list(iterate(iter(items), LOSS, reported=True))) == len(items)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"accuracy": 1.0}, "must report 'loss'; it gave accuracy. Name one of its metrics with --metric."),
        ({"val_loss": 1.0}, "--metric. Did you mean 'val_loss'?"),
        ({"n": 3, "loss": "0.7"}, "it gave loss as text '0.7', n. Give it as one number"),
        ({"loss": np.zeros(3)}, "it gave loss as an array of shape (3,)"),
        ({"loss": torch.zeros(2, 1)}, "it gave loss as an array of shape (2, 1)"),
        ({"loss": [0.5]}, "it gave loss as a list of 1"),
        ({"loss": None}, "it gave loss as None"),
        ({"loss": 1j}, "it gave loss as a complex: 1j"),
        ({"val": {"loss": 0.3}}, "'val' is a dict with loss. Give 'loss' itself, beside 'val'."),
        ({}, "it gave an empty dict"),
        (iter([]), "it ended without a single yield. Yield {'loss': …} once per iteration."),
        (iter([{"n": 1}, {"loss": None}]), "it gave loss as None, n"),
        ({f"m{k}": k for k in range(10)}, "m0, m1, m2, m3, m4, m5, m6, m7 and 2 more"),
    ],
)
def test_a_trial_that_never_reports_its_metric_has_failed_and_says_what_came(given: Any, says: str) -> None:
    with pytest.raises(TuneappError) as raised:
        list(iterate(given, LOSS))
    assert says in str(raised.value)


def test_a_returned_result_without_the_metric_is_refused_before_it_counts() -> None:
    with pytest.raises(TuneappError, match="it gave accuracy"):
        next(iterate({"accuracy": 1.0}, LOSS))


def test_what_a_generator_returns_is_told_to_be_lost() -> None:
    def objective() -> Iterator[Any]:
        yield {"n": 1}
        return {"loss": 0.5}

    with pytest.raises(TuneappError, match="returned a dict with loss, which is lost"):
        list(iterate(objective(), LOSS))


async def later() -> float:
    await asyncio.sleep(0)
    return 1.0


async def one_by_one() -> AsyncIterator[float]:
    yield 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: None, "it returned None; return its result."),
        (lambda: iter([None]), "it yielded None; yield its result."),
        (lambda: "0.5", "it returned text '0.5'; make it a number"),
        (lambda: (0.7, {"info": 3}), "it returned a tuple of 2; name its parts"),
        (lambda: iter([(1, 2)]), "it yielded a tuple of 2"),
        (lambda: [0.5], "it returned a list of 1; give one number for all"),
        (lambda: np.zeros(2), "it returned an array of shape (2,)"),
        (lambda: later, "it returned a function: <function later"),
        (lambda: later(), "it is async"),
        (lambda: one_by_one(), "it is async"),
        (lambda: {0.5}, "it returned a set: {0.5}."),
        (lambda: object(), "it returned an object: <object"),
    ],
)
def test_anything_else_is_refused_in_one_sentence_with_what_came(make: Any, says: str) -> None:
    with pytest.raises(TuneappError) as raised:
        list(iterate(make(), LOSS))
    assert str(raised.value).startswith("An objective must return a number or a dict of numbers, or yield")
    assert says in str(raised.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.array([math.nan]), 10**400])
def test_a_metric_that_is_not_finite_ends_the_trial_as_diverged(value: Any) -> None:
    with pytest.raises(Diverged, match="loss is"):
        list(iterate(iter([{"loss": 1.0}, {"loss": value}]), LOSS))


def test_other_metrics_need_not_be_finite() -> None:
    (metrics,) = iterate({"loss": 1.0, "ratio": math.inf}, LOSS)
    assert metrics == {"loss": 1.0, "ratio": math.inf}


def test_iterations_are_drawn_one_at_a_time() -> None:
    drawn = []

    def objective() -> Any:
        for step in range(3):
            drawn.append(step)
            yield {"loss": 1.0}

    next(iterate(objective(), LOSS))
    assert drawn == [0]
