"""Laws of every search: ask and tell, resumed and uninterrupted, in any order of completion."""

import math
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneapp.errors import UsageError
from tuneapp.search import SEARCHES, Proposal, Search, make_search
from tuneapp.search.base import Problem
from tuneapp.search.repeats import bounded
from tuneapp.settings import Config, Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import Categorical, Derived, Float, Int, Ordinal, SearchSpace
from tuneapp.studies import Iteration, Trial, TrialState

METRIC = Metric("loss", "min")
ALONE = SchedulerSettings(type="none", max_iterations=1)
MIXED = SearchSpace(
    {
        "lr": Float(1e-4, 1.0, log=True),
        "layers": Int(1, 6),
        "optimizer": Categorical(["sgd", "adam", "rmsprop"]),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        "batch": Ordinal([32, 64, 128], sampling="random"),
        "steps": Derived("1280 // batch"),
        "model": "mlp",
    },
    points=[{"lr": 0.1, "optimizer": "adam"}],
)
CHOOSING = [name for name in SEARCHES if name != "cells"]  # which runs the plan of a study of effects
SMALL = SearchSpace({"a": Int(0, 2), "b": Categorical(["x", "y"])})


def loss(config: Config) -> float:
    """Has a best config, and a corner where it diverges."""
    if config["lr"] > 0.5:
        return math.nan
    rate = (math.log10(config["lr"]) + 2) ** 2
    return (
        rate + abs(config["layers"] - 3) + (config["optimizer"] != "sgd") - 0.1 * config.get("momentum", 0.0)
    )


def end(trial: Trial, value: float) -> None:
    trial.state = TrialState.DIVERGED if math.isnan(value) else TrialState.FINISHED
    if not math.isnan(value):
        trial.history.append(Iteration(1, 0.0, {"loss": value}))


def ask(search: Search, trials: list[Trial]) -> Trial | None:
    proposal = search.ask()
    if proposal is None:
        return None
    trials.append(Trial(len(trials), proposal.config, proposal.origin, proposal.seed))
    search.tell(trials[-1])
    return trials[-1]


def run(
    space: SearchSpace,
    wanted: SearchSettings,
    objective: Callable[[Config], float] = loss,
    in_flight: int = 1,
) -> list[Trial]:
    search, trials = make_search(space, METRIC, wanted, ALONE, in_flight), list[Trial]()
    while (trial := ask(search, trials)) is not None:
        end(trial, objective(trial.config))
        search.tell(trial)
    assert search.exhausted
    return trials


def summary(trials: list[Trial]) -> list[tuple[Config, str, int]]:
    return [(trial.config, trial.origin, trial.seed) for trial in trials]


@pytest.mark.parametrize("algorithm", CHOOSING)
def test_every_search_proposes_checked_configs_points_first_and_none_twice(algorithm: str):
    trials = run(MIXED, SearchSettings(algorithm=algorithm, samples=16, seed=3))
    assert trials[0].origin == "point"
    assert (trials[0].config["lr"], trials[0].config["optimizer"]) == (0.1, "adam")
    for trial in trials:
        MIXED.check(trial.config)
    assert len({MIXED.key(trial.config) for trial in trials}) == len(trials)
    assert len(trials) == (1 if algorithm == "points" else 16)


@pytest.mark.parametrize("algorithm", CHOOSING)
def test_asking_again_without_telling_proposes_the_same(algorithm: str):
    search = make_search(MIXED, METRIC, SearchSettings(algorithm=algorithm, samples=9, warmup=2), ALONE)
    assert search.ask() == search.ask()


@pytest.mark.parametrize("algorithm", ["bayes", "random", "grid"])
@pytest.mark.parametrize("repeats", [1, 2])
def test_a_finite_space_is_used_up_to_the_last_config_and_then_exhausted(algorithm: str, repeats: int):
    wanted = SearchSettings(algorithm=algorithm, samples=50, warmup=2, seed=1, repeats=repeats)
    trials = run(SMALL, wanted, lambda config: config["a"] + (config["b"] == "x"))
    first = [trial for trial in trials if trial.origin != "repeat"]
    assert len(first) == len({SMALL.key(trial.config) for trial in first}) == 6


@pytest.mark.parametrize("algorithm", ["bayes", "random"])
@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, 13), seed=st.integers(0, 50))
def test_a_resumed_search_goes_on_as_the_uninterrupted_one(algorithm: str, cut: int, seed: int):
    wanted = SearchSettings(algorithm=algorithm, samples=14, warmup=5, seed=seed)
    whole = run(MIXED, wanted)
    again, trials = make_search(MIXED, METRIC, wanted, ALONE), list(whole[:cut])
    for trial in trials:
        again.tell(trial)
    while (trial := ask(again, trials)) is not None:
        end(trial, loss(trial.config))
        again.tell(trial)
    assert summary(trials) == summary(whole)


@settings(max_examples=10, deadline=None)
@given(data=st.data(), in_flight=st.integers(1, 4), repeats=st.sampled_from([1, 3]))
def test_proposals_depend_neither_on_timing_nor_on_how_many_run_at_once(
    data: st.DataObject, in_flight: int, repeats: int
):
    wanted = SearchSettings(samples=16, warmup=5, seed=7, lag=3, repeats=repeats)
    whole = run(MIXED, wanted)
    search, trials, running = make_search(MIXED, METRIC, wanted, ALONE), list[Trial](), list[Trial]()
    while not search.exhausted or running:
        while len(running) < in_flight and (trial := ask(search, trials)) is not None:
            running.append(trial)
        done = running.pop(data.draw(st.integers(0, len(running) - 1)))
        end(done, loss(done.config))
        search.tell(done)
    assert summary(trials) == summary(whole)


def test_a_deterministic_search_waits_for_results_beyond_its_lag_and_an_asynchronous_one_does_not():
    for deterministic in (True, False):
        wanted = SearchSettings(samples=12, warmup=4, lag=1, deterministic=deterministic)
        search, trials = make_search(MIXED, METRIC, wanted, ALONE), list[Trial]()
        for _ in range(6):
            ask(search, trials)
        for trial in trials[1:]:
            end(trial, 1.0)
            search.tell(trial)
        waits = search.ask() is None
        assert waits == deterministic
        assert not search.exhausted
        end(trials[0], 1.0)
        search.tell(trials[0])
        assert search.ask() is not None


def test_workers_never_wait_where_trials_last_equally_long():
    for in_flight in (1, 2, 4):
        search = make_search(MIXED, METRIC, SearchSettings(samples=20, warmup=5), ALONE, in_flight)
        trials: list[Trial] = []
        for _ in range(in_flight):
            ask(search, trials)
        while not search.exhausted:
            oldest = next(trial for trial in trials if not trial.over)
            end(oldest, loss(oldest.config))
            search.tell(oldest)
            assert ask(search, trials) is not None or search.exhausted


def test_under_early_stopping_a_trial_counts_once_it_came_to_its_first_rung():
    scheduler = SchedulerSettings(type="asha", max_iterations=30, grace=3)
    search = make_search(MIXED, METRIC, SearchSettings(samples=12, warmup=2), scheduler)
    trials: list[Trial] = []
    for number in range(3):
        ask(search, trials)
        trials[number].history = [Iteration(i, 0.0, {"loss": 1.0}) for i in (1, 2)]
        search.tell(trials[number])
    assert search.ask() is None
    for trial in trials:
        trial.history.append(Iteration(3, 0.0, {"loss": 1.0}))
        search.tell(trial)
    assert search.ask() is not None


def test_pending_trials_are_not_proposed_again_nor_crowded():
    space = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    wanted = SearchSettings(samples=30, warmup=8, lag=6, seed=2)
    search, trials = make_search(space, METRIC, wanted, ALONE), list[Trial]()
    for number in range(18):
        trial = ask(search, trials)
        assert trial is not None
        if number < 12:
            end(trial, (trial.config["x"] - 0.3) ** 2 + (trial.config["y"] - 0.7) ** 2)
            search.tell(trial)
    pending = np.array([[t.config["x"], t.config["y"]] for t in trials[12:]])
    gaps = np.linalg.norm(pending[:, None] - pending[None], axis=2)[np.triu_indices(6, 1)]
    assert gaps.min() > 1e-3


def test_the_model_beats_random_draws_on_a_mixed_space():
    def best(algorithm: str, seed: int) -> float:
        values = [
            loss(t.config) for t in run(MIXED, SearchSettings(algorithm=algorithm, samples=26, seed=seed))
        ]
        return min(value for value in values if not math.isnan(value))

    gains = [best("random", seed) - best("bayes", seed) for seed in range(4)]
    assert np.mean(gains) > 0.1


def test_a_search_whose_trials_all_fail_still_proposes():
    trials = run(MIXED, SearchSettings(samples=12, warmup=3), lambda config: math.nan)
    assert len(trials) == 12


def test_a_space_without_anything_to_search_is_tried_once():
    assert len(run(SearchSpace({"a": 1}), SearchSettings(samples=5), lambda config: 1.0)) == 1


def test_warm_up_is_quasi_random_or_random_as_asked_and_as_long_as_asked():
    designs = {}
    for design in ("sobol", "random"):
        trials = run(MIXED, SearchSettings(samples=12, warmup=8, warmup_design=design))
        assert [trial.origin for trial in trials] == ["point"] + ["warmup"] * 8 + ["bayes"] * 3
        designs[design] = [MIXED.searched and trial.config["lr"] for trial in trials[1:9]]
    assert designs["sobol"] != designs["random"]
    cells = sorted(int(8 * (math.log10(lr) + 4) / 4) for lr in designs["sobol"])
    assert cells == list(range(8))  # one in each eighth: what Sobol's points are for


def test_a_grid_is_the_finest_that_the_samples_allow():
    space = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    trials = run(space, SearchSettings(algorithm="grid", samples=11), lambda config: 1.0)
    assert {trial.config["x"] for trial in trials} == {0.0, 0.5, 1.0}
    assert len(trials) == 9
    wide = SearchSpace({f"x{k}": Float(0.0, 1.0) for k in range(6)})
    corners = run(wide, SearchSettings(algorithm="grid", samples=11), lambda config: 1.0)
    assert len(corners) == 11
    assert all(value in (0.0, 1.0) for trial in corners for value in trial.config.values())


def test_a_finer_grid_is_found_without_listing_the_coarser_ones():
    space = SearchSpace({"x": Float(0.0, 1.0), "kind": Categorical(["a", "b"])})
    start = time.process_time()
    search = make_search(space, METRIC, SearchSettings(algorithm="grid", samples=8000), ALONE)
    for number in range(8000):
        proposal = search.ask()
        assert proposal is not None
        search.tell(Trial(number, proposal.config, "grid", 0, TrialState.FINISHED))
    assert search.exhausted
    assert time.process_time() - start < 20


def test_a_large_finite_space_is_used_up_without_a_duplicate():
    space = SearchSpace({"a": Int(1, 250), "b": Int(1, 100)})
    search = make_search(space, METRIC, SearchSettings(algorithm="random", samples=30_000), ALONE)
    seen = set()
    for number in range(25_000):
        # All but the last 30 at once, in order: the end is what is hard to find.
        if number < 24_970:
            config = {"a": 1 + number // 100, "b": 1 + number % 100}
        else:
            proposal = search.ask()
            assert proposal is not None
            config = proposal.config
        seen.add(space.key(config))
        search.tell(Trial(number, config, "random", 0, TrialState.FINISHED))
    assert len(seen) == 25_000
    assert search.exhausted


@pytest.mark.parametrize("algorithm", ["random", "grid"])
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("deterministic", [True, False])
def test_an_ask_after_thousands_of_trials_costs_what_it_does_after_a_hundred(
    algorithm: str, repeats: int, deterministic: bool
):
    wanted = SearchSettings(
        algorithm=algorithm, samples=6000, repeats=repeats, deterministic=deterministic, lag=0
    )
    search, trials = make_search(MIXED, METRIC, wanted, ALONE), list[Trial]()

    def seconds(until: int) -> float:
        start = time.process_time()
        count = until - len(trials)
        while len(trials) < until and (trial := ask(search, trials)) is not None:
            end(trial, abs(trial.config["layers"] - 3) + trial.config["lr"])
            search.tell(trial)
        return (time.process_time() - start) / count

    seconds(100)
    early = seconds(600)
    seconds(4000)
    assert seconds(4500) < 4 * early + 1e-3


def test_a_line_in_the_dictionary_makes_a_search(monkeypatch: pytest.MonkeyPatch):
    class Same:
        """The middle of the space, for ever."""

        learns = exhausted = False

        def __init__(self, problem: Problem, lag: int) -> None:
            self.config = problem.space.decode(np.full(len(problem.space.searched), 0.5))

        def ask(self) -> Proposal:
            return Proposal(self.config, "same", 0)

        def tell(self, trial: Trial) -> None: ...

    wanted = SearchSettings(samples=3)
    object.__setattr__(wanted, "algorithm", "same")
    with pytest.raises(UsageError, match="No search algorithm named 'same'"):
        make_search(SMALL, METRIC, wanted, ALONE)
    monkeypatch.setitem(SEARCHES, "same", Same)
    proposal = make_search(SMALL, METRIC, wanted, ALONE).ask()
    assert proposal is not None
    assert proposal.config == {"a": 1, "b": "y"}


HUGE = sys.float_info.max
SCORES: dict[str, Callable[[Config, int], float]] = {
    "the largest and the smallest": lambda config, k: HUGE if config["x"] > 0.5 else -HUGE,
    "the largest for what is not feasible": lambda config, k: HUGE if config["x"] > 0.3 else config["x"],
    "all the largest": lambda config, k: HUGE,
    "differences beyond the largest": lambda config, k: 1e308 * (2 * config["x"] - 1),
    "denormal": lambda config, k: 5e-324 * k,
    "denormal beside the largest": lambda config, k: 5e-324 if k % 2 else HUGE,
    "whole numbers beyond 2**53": lambda config, k: 2**60 + k,
    "constant, then another": lambda config, k: 1.0 if k < 9 else 2.0,
    "zeros of both signs": lambda config, k: 0.0 if k % 2 else -0.0,
    "nan among extremes": lambda config, k: math.nan if k % 3 == 0 else HUGE * (-1) ** k,
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("repeats", "metrics"), [(1, 1), (3, 1), (1, 2)])
def test_no_score_ends_a_study(name: str, repeats: int, metrics: int):
    space = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    also = [Metric("more")] if metrics == 2 else []
    wanted = SearchSettings(samples=16, warmup=5, repeats=repeats)
    search, trials = make_search(space, METRIC, wanted, ALONE, also=also), list[Trial]()
    while (trial := ask(search, trials)) is not None:
        value = SCORES[name](trial.config, trial.number)
        end(trial, value)
        if trial.history:
            trial.history[-1].metrics["more"] = -value
        search.tell(trial)
    assert len(trials) == 16


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2))
def test_scores_are_bounded_in_their_order_and_sums_of_their_squares_are_finite(scores: list[float]):
    limited = [bounded(score) for score in sorted(scores)]
    assert limited == sorted(limited)
    assert math.isfinite(sum((one - other) ** 2 for one in limited for other in limited))
    assert all(bounded(score) == score for score in scores if abs(score) <= 1e100)


def test_points_without_points_are_an_error():
    with pytest.raises(UsageError, match="needs points"):
        make_search(SMALL, METRIC, SearchSettings(algorithm="points"), ALONE)


def test_a_hyperparameter_left_to_chance_does_not_move_the_model():
    chance = [run(MIXED, SearchSettings(samples=30, warmup=4, seed=seed)) for seed in (1, 2)]
    batches = [trial.config["batch"] for trials in chance for trial in trials if trial.origin == "bayes"]
    assert {32, 64, 128} == set(batches)
