"""A loop of one's own: results from elsewhere, copies that go on identically, results that are none."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuneapp
from tuneapp import AskTell, UsageError
from tuneapp.studies import TrialState

SPACE: dict[str, Any] = {
    "x": tuneapp.Float(0, 1),
    "kind": tuneapp.Categorical(["a", "b"]),
    "rate": tuneapp.Float(1e-4, 1, log=True, when={"kind": ["b"]}),
    "double": tuneapp.Derived("2 * x"),
    "epochs": 5,
}


def loss(config: dict[str, Any]) -> float:
    return (config["x"] - 0.3) ** 2 + (config["kind"] == "b")


def loop(**options: Any) -> AskTell[Any]:
    return tuneapp.ask_tell(SPACE, mode="min", **{"warmup": 4, **options})


def go_on(loop: AskTell[Any], trials: int) -> list[dict[str, Any]]:
    """The configs of the next trials, told as they come."""
    configs = []
    while len(configs) < trials and (trial := loop.ask()) is not None:
        loop.tell(trial, loss(trial.config))
        configs.append(trial.config)
    return configs


def elsewhere(count: int) -> list[tuple[dict[str, Any], float]]:
    configs: list[dict[str, Any]] = [{"x": k / count, "kind": "a"} for k in range(count)]
    return [(config, loss(config)) for config in configs]


# --- results from elsewhere


def test_an_added_result_is_a_finished_trial_with_a_complete_config():
    asked = loop()
    trial = asked.add({"x": 0.25, "kind": "a"}, 0.5)
    assert (trial.origin, trial.state, trial.number) == ("added", TrialState.FINISHED, 0)
    assert trial.config == {"x": 0.25, "kind": "a", "double": 0.5, "epochs": 5}
    assert asked.best is trial
    assert asked.study.to_dataframe()["origin"].tolist() == ["added"]


def test_a_search_learns_from_added_results_and_needs_no_warm_up_beside_them():
    asked = loop(known=elsewhere(8))
    configs = go_on(asked, 6)
    assert [trial.origin for trial in asked.study.trials] == ["added"] * 8 + ["bayes"] * 6
    assert sum(config["kind"] == "a" for config in configs) >= 3
    assert min(abs(config["x"] - 0.3) for config in configs) < 0.05


def test_added_results_are_none_of_the_samples_and_take_no_points_place():
    asked = loop(known=elsewhere(3), samples=6, points=[{"x": 0.9, "kind": "b", "rate": 0.1}])
    configs = go_on(asked, 100)
    assert len(configs) == 6
    assert configs[0]["x"] == 0.9
    assert [trial.origin for trial in asked.study.trials[3:5]] == ["point", "warmup"]


def test_a_result_is_added_while_others_are_pending_and_is_not_proposed_again():
    asked = tuneapp.ask_tell({"k": tuneapp.Int(1, 4)}, search="random", seed=3)
    pending = asked.ask()
    assert pending is not None
    other = next(k for k in range(1, 5) if k != pending.config["k"])
    asked.add({"k": other}, 1.0)
    rest = []
    while (trial := asked.ask()) is not None:
        rest.append(trial.config["k"])
    assert sorted([pending.config["k"], other, *rest]) == [1, 2, 3, 4]
    asked.tell(pending, 2.0)
    assert asked.best is asked.study.trials[0]


@given(search=st.sampled_from(["random", "grid", "bayes"]), at=st.lists(st.integers(0, 11), max_size=4))
@settings(max_examples=15, deadline=None)
def test_a_finite_space_is_used_up_by_asked_and_added_configs_together(search: str, at: list[int]):
    asked = tuneapp.ask_tell({"k": tuneapp.Int(0, 11)}, search=search, warmup=3)
    for k in dict.fromkeys(at):
        asked.add({"k": k}, float(k))
    while (trial := asked.ask()) is not None:
        asked.tell(trial, float(trial.config["k"]))
    assert sorted(trial.config["k"] for trial in asked.study.trials) == list(range(12))


def test_failed_and_diverged_results_are_added_as_such():
    asked = loop(known=[({"x": 0.1, "kind": "a"}, math.nan), ({"x": 0.2, "kind": "a"}, ValueError("no"))])
    assert [trial.state for trial in asked.study.trials] == [TrialState.DIVERGED, TrialState.FAILED]
    assert asked.ask() is not None


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"x": 2.0, "kind": "a"}, "`x` must lie from"),
        ({"x": 0.5}, "`kind` must have a value"),
        ({"x": 0.5, "kind": "a", "rate": 0.1}, "active only when kind is b"),
        ({"x": 0.5, "kind": "c"}, "must be one of a, b"),
        ({"X": 0.5, "kind": "a"}, "is no hyperparameter"),
        ("x=0.5", "a config, a dict, but got str"),
    ],
)
def test_a_config_that_does_not_fit_the_space_is_not_added(config: Any, says: str):
    asked = loop()
    with pytest.raises(UsageError, match=says):
        asked.add(config, 0.5)
    assert asked.study.trials == []


def test_what_is_known_must_be_pairs():
    with pytest.raises(UsageError, match=r"pairs \(config, result\)"):
        loop(known=[{"x": 0.5, "kind": "a", "loss": 1.0}])


# --- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda asked: pickle.loads(pickle.dumps(asked))])
@pytest.mark.parametrize("search", ["bayes", "random", "grid"])
@pytest.mark.parametrize("cut", [0, 3, 9])
def test_a_copy_goes_on_as_the_loop_itself(copied: Callable[[Any], Any], search: str, cut: int):
    asked = loop(search=search, samples=20, known=elsewhere(2))
    go_on(asked, cut)
    pending = asked.ask()
    again = copied(asked)
    assert again.study == asked.study
    for each in (asked, again):
        each.tell(pending.number, 0.7)
    assert go_on(again, 5) == go_on(asked, 5)
    assert (again.best and again.best.number) == (asked.best and asked.best.number)


def test_a_copy_and_its_original_share_nothing():
    asked = loop()
    again = copy.deepcopy(asked)
    go_on(again, 3)
    assert (len(asked.study.trials), len(again.study.trials)) == (0, 3)


# --- results


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (np.array([0.3]), 0.3),
        (np.array([[0.3]]), 0.3),
        (np.array(0.3), 0.3),
        (np.float32(0.5), 0.5),
        ({"score": np.array([0.25]), "other": "text"}, 0.25),
        (True, 1.0),
        (2**60, float(2**60)),
        (1.7e308, 1.7e308),
        (5e-324, 5e-324),
    ],
)
def test_a_number_is_taken_in_any_shape(result: Any, value: float):
    asked = loop()
    trial = asked.ask()
    asked.tell(trial, result)
    assert trial.state is TrialState.FINISHED
    assert trial.last["score"] == value
    assert type(trial.last["score"]) is float


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (None, "NoneType: None"),
        ("0.3", "str: '0.3'"),
        (b"0.3", "bytes"),
        ([0.3], r"list: \[0.3\]"),
        (np.array([0.3, 0.4]), "ndarray"),
        (np.array([]), "ndarray"),
        (np.array(["0.3"]), "ndarray"),
        (10**400, "int: 1000"),
        pytest.param(10**5000, "too large to be written", id="too-large"),
        (complex(1, 2), "complex"),
        (np.array([1j]), "ndarray"),
        ({}, "an empty dict"),
        ({"loss": 0.3}, "must be given 'score', but got loss"),
        ({"score": None}, "number as 'score', but got NoneType"),
        (iter([0.3]), "one result, but got an iterator"),
    ],
)
def test_what_is_no_number_is_refused_and_its_trial_stays_pending(result: Any, says: str):
    asked = loop()
    trial = asked.ask()
    with pytest.raises(UsageError, match=says):
        asked.tell(trial, result)
    assert trial.state is TrialState.RUNNING
    with pytest.raises(UsageError, match=says):
        asked.add({"x": 0.5, "kind": "a"}, result)
    assert len(asked.study.trials) == 1
    asked.tell(trial, 0.5)
    assert trial.state is TrialState.FINISHED


def test_telling_a_config_names_add():
    with pytest.raises(UsageError, match=r"add\(config, result\)"):
        loop().tell({"x": 0.3, "kind": "a"}, 0.01)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [True, 0.0, "0", None])
def test_telling_needs_a_trial_or_its_number(number: Any):
    asked = loop()
    asked.ask()
    with pytest.raises(UsageError, match="a trial or its number"):
        asked.tell(number, 0.5)
    asked.tell(np.int64(0), 0.5)
    assert asked.study.trials[0].over
