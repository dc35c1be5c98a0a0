"""A table of sets: explicit, random and Bayesian rows, and random columns beside Bayesian ones, as in PHS."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

import tuneapp
from tuneapp import AskTell

SPACE: dict[str, Any] = {
    "lr": tuneapp.Float(1e-4, 1, log=True),
    "weight_decay": tuneapp.Float(1e-6, 1e-2, log=True),
    "batch_size": tuneapp.Int(16, 256, sampling="random"),
    "epochs": 4,
    "steps": tuneapp.Derived("epochs * 50000 // batch_size"),
}
POINTS = [{"lr": 0.05, "weight_decay": 1e-4, "batch_size": 128}, {"lr": 0.5}]


def loss(config: dict[str, Any]) -> float:
    """Best at lr 0.01 and weight decay 1e-4; the batch size does not matter."""
    return (math.log10(config["lr"]) + 2) ** 2 + (math.log10(config["weight_decay"]) + 4) ** 2


@pytest.fixture(scope="module")
def loop() -> AskTell:
    """2 explicit, 10 random and 28 Bayesian rows."""
    loop = tuneapp.ask_tell(SPACE, metric="loss", points=POINTS, samples=40, warmup=10, seed=4)
    while (trial := loop.ask()) is not None:
        loop.tell(trial, loss(trial.config))
    return loop


def test_rows_are_explicit_then_random_then_bayesian(loop: AskTell) -> None:
    origins = [trial.origin for trial in loop.study.trials]
    assert origins == ["point"] * 2 + ["warmup"] * 10 + ["bayes"] * 28
    first, second = (trial.config for trial in loop.study.trials[:2])
    assert {name: first[name] for name in POINTS[0]} == POINTS[0]
    assert second["lr"] == 0.5


def test_a_random_column_stays_random_while_the_others_come_to_the_best(loop: AskTell) -> None:
    late = [trial.config for trial in loop.study.trials[22:]]
    assert np.median([abs(math.log10(config["lr"]) + 2) for config in late]) < 0.3
    assert np.median([abs(math.log10(config["weight_decay"]) + 4) for config in late]) < 0.4
    sizes = np.array([trial.config["batch_size"] for trial in loop.study.trials[12:]])
    assert kstest((sizes - 16) / 240, "uniform").pvalue > 0.05


def test_derived_values_use_earlier_ones_in_every_row(loop: AskTell) -> None:
    assert all(t.config["steps"] == 4 * 50000 // t.config["batch_size"] for t in loop.study.trials)


def test_no_row_comes_twice(loop: AskTell) -> None:
    rows = {tuple(sorted(trial.config.items())) for trial in loop.study.trials}
    assert len(rows) == len(loop.study.trials)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), mode=st.sampled_from(["min", "max"]))
def test_either_mode_finds_its_own_best(seed: int, mode: str) -> None:
    loop = tuneapp.ask_tell({"x": tuneapp.Float(-3, 3)}, mode=mode, warmup=5, samples=15, seed=seed)
    while (trial := loop.ask()) is not None:
        loop.tell(trial, -((trial.config["x"] - 1) ** 2))
    assert loop.best is not None
    assert loop.best.config["x"] == pytest.approx(1 if mode == "max" else -3, abs=0.15)


@pytest.mark.parametrize(
    ("domain", "law"),
    [
        (tuneapp.Float(0, 4), lambda x: x / 4),
        (tuneapp.Float(1e-4, 1, log=True), lambda x: (np.log10(x) + 4) / 4),
        (tuneapp.Float(0, 1, step=0.25), lambda x: (x * 4 + 0.5) / 5),
        (tuneapp.Normal(2, 3), lambda x: 0.5 * (1 + np.vectorize(math.erf)((x - 2) / 3 / math.sqrt(2)))),
        (tuneapp.Ordinal([1, 2, 4, 8]), lambda x: (np.log2(x) + 0.5) / 4),
    ],
    ids=["uniform", "log-uniform", "quantised", "normal", "list"],
)
def test_random_draws_have_the_distribution_of_their_domain(domain: Any, law: Any) -> None:
    """Through their own distribution function, draws are uniform: quarters are near their share."""
    loop = tuneapp.ask_tell({"x": domain, "free": tuneapp.Float(0, 1)}, search="random", samples=400, seed=0)
    drawn = []
    while (trial := loop.ask()) is not None:
        drawn.append(trial.config["x"])
        loop.tell(trial, 0.0)
    assert abs(np.mean(law(np.array(drawn, dtype=float))) - 0.5) < 0.05
    assert abs(np.std(law(np.array(drawn, dtype=float))) - math.sqrt(1 / 12)) < 0.04
