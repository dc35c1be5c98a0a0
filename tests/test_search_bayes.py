"""The parts of the Bayesian search: its cube, its outputs, its surrogate, what it makes of trials."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import check_grad
from threadpoolctl import threadpool_limits

from tuneapp.search import gp
from tuneapp.search.base import Array, Problem
from tuneapp.search.bayes import MOST, maximise, propose
from tuneapp.search.cube import Cube
from tuneapp.search.observations import ObservationReader, Observations
from tuneapp.search.outputs import warped
from tuneapp.search.repeats import SeedRace, by_config
from tuneapp.settings import Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import Categorical, Float, Int, Ordinal, SearchSpace
from tuneapp.studies import Iteration, Trial, TrialState

SPACE = SearchSpace(
    {
        "lr": Float(1e-4, 1.0, log=True),
        "layers": Int(1, 6),
        "width": Int(16, 4096, log=True),
        "optimizer": Categorical(["sgd", "adam", "rmsprop"]),
        "nesterov": Categorical([True, False], when={"optimizer": ["sgd"]}),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"], "layers": [1, 2]}),
        "batch": Ordinal([32, 64, 128], sampling="random"),
        "kind": "fixed",
    }
)
cube = Cube(SPACE)
cubes = arrays(np.float64, (7, cube.D), elements=st.floats(0, 1))
finite = st.floats(-1e12, 1e12)


@given(cubes)
def test_a_snapped_point_is_the_centre_of_its_config(points: Array):
    """But for the width, so fine that it counts as continuous."""
    snapped = cube.snap(points)
    keep = [position for position, name in enumerate(cube.names) if name != "width"]
    for row in snapped:
        centre = SPACE.encode(SPACE.decode(row))
        known = ~np.isnan(centre)
        known[cube.names.index("width")] = False
        assert np.allclose(centre[known], row[known], atol=1e-9)
    assert np.allclose(cube.snap(snapped)[:, keep], snapped[:, keep])


@given(cubes)
def test_what_is_active_is_what_the_config_has(points: Array):
    for row, active in zip(points, cube.active(points), strict=True):
        config = SPACE.decode(row)
        assert [name in config for name in cube.names] == active.tolist()


@given(cubes)
def test_columns_show_a_config_and_nothing_else(points: Array):
    """Equal configs have equal columns, whatever their inactive coordinates and left-to-chance values are."""
    other = points.copy()
    other[~cube.active(points)] = 0.123
    other[:, cube.names.index("batch")] = 0.9
    assert np.array_equal(cube.columns(cube.snap(points), points), cube.columns(cube.snap(other), points))


def test_choices_are_equally_far_from_each_other():
    space = SearchSpace({"c": Categorical(["a", "b", "c"]), "d": Categorical(["a", "b"])})
    alone = Cube(space)
    points = np.array([[(k + 0.5) / 3, 0.25] for k in range(3)] + [[0.5 / 3, 0.75]])
    columns = alone.columns(points, points)
    gaps = np.linalg.norm(columns[:, None] - columns[None], axis=2)
    assert np.allclose(gaps[:3, :3], 1 - np.eye(3))
    assert gaps[0, 3] == 1.0


@pytest.mark.parametrize("count", [500, 10_000])
def test_a_long_list_of_choices_has_columns_for_those_that_were_tried(count: int):
    space = SearchSpace({"c": Categorical([f"c{k}" for k in range(count)]), "x": Float(0, 1)})
    rng = np.random.default_rng(0)
    configs = [space.decode(point) for point in rng.random((20, 2))]
    configs += [{**config, "c": "c7"} for config in configs[:5]]
    scores = np.array([float(config["c"] == "c7") + config["x"] for config in configs])
    long = Cube(space)
    points = long.encode(configs)
    assert long.columns(points, points).shape == (25, 1 + len({config["c"] for config in configs}))
    observations = Observations(configs, scores, np.ones(25), np.zeros(25))
    start = time.thread_time()
    best = propose(long, observations, [configs[0]], rng)
    assert time.thread_time() - start < 2
    assert space.decode(best[0])["c"] == "c7"


@given(st.lists(finite | st.just(math.nan), min_size=1, max_size=30))
def test_warped_scores_are_finite_standard_and_keep_the_order(scores: list[float]):
    values = np.array(scores)
    y, slopes = warped(values)
    known = np.isfinite(values)
    assert np.isfinite(y).all()
    assert np.isfinite(slopes).all()
    assert (slopes >= 0).all()
    assert abs(y.mean()) < 1e-6
    order = np.argsort(values[known])
    assert (np.diff(y[known][order]) >= -1e-9).all()
    if known.any():
        assert (y[~known] <= y[known].min() + 1e-9).all()


def test_one_absurd_loss_does_not_drown_the_others():
    rng = np.random.default_rng(0)
    good = -rng.random(20)
    y, _ = warped(np.append(good, -1e30))
    alone, _ = warped(good)
    assert np.ptp(y[:20]) > 0.5 * np.ptp(alone)
    assert y[20] == y.min()


def test_slopes_are_derivatives():
    scores = -np.exp(np.random.default_rng(1).standard_normal(25))
    y, slopes = warped(scores)
    order = np.argsort(scores)
    middle = slice(8, 16)
    measured = np.gradient(y[order], scores[order])[middle]
    assert np.allclose(measured, slopes[order][middle], rtol=0.2)


def test_the_gradient_of_the_posterior_is_right():
    rng = np.random.default_rng(2)
    X = rng.random((15, 3))
    model = gp.fit(X, np.sin(5 * X[:, 0]) + X[:, 1], np.full(15, 1e-6))
    theta = model.kernel_.theta + rng.standard_normal(5) * 0.3
    error = check_grad(
        lambda t: model.log_marginal_likelihood(t), lambda t: model.log_marginal_likelihood(t, True)[1], theta
    )
    assert error < 1e-3


def test_the_surrogate_is_scikit_learns_with_the_same_hyperparameters():
    from sklearn.gaussian_process import GaussianProcessRegressor

    rng = np.random.default_rng(3)
    X, more = rng.random((20, 2)), rng.random((5, 2))
    y = np.cos(4 * X[:, 0]) * X[:, 1]
    model = gp.fit(X, y, np.full(20, 1e-6))
    plain = GaussianProcessRegressor(model.kernel_, alpha=1e-6, optimizer=None).fit(X, y)
    assert np.allclose(model.predict(more), plain.predict(more))
    prior = 0.5 * np.sum(((model.kernel_.theta - model.prior[0]) / model.prior[1]) ** 2)
    likelihood = model.log_marginal_likelihood(model.kernel_.theta) + prior
    constant = 0.5 * 20 * math.log(2 * math.pi)
    assert likelihood == pytest.approx(plain.log_marginal_likelihood() + constant, abs=1e-3)


def test_a_dimension_without_effect_gets_a_long_length_scale():
    rng = np.random.default_rng(4)
    X = rng.random((40, 2))
    model = gp.fit(X, np.sin(6 * X[:, 0]), np.full(40, 1e-8))
    length_scales = np.exp(model.kernel_.theta[1:-1])
    assert length_scales[1] > 5 * length_scales[0]


def test_a_known_noise_of_a_mean_is_believed():
    X = np.array([[0.2], [0.5], [0.8]])
    y = np.array([-1.0, 1.0, 0.0])
    sharp = gp.fit(X, y, np.full(3, 1e-8)).predict(X)
    blurred = gp.fit(X, y, np.full(3, 0.5)).predict(X)
    assert np.allclose(sharp, y, atol=0.1)
    assert np.abs(blurred).max() < np.abs(sharp).max()


def test_what_is_pending_is_less_worth_trying_than_it_was():
    rng = np.random.default_rng(5)
    X = rng.random((10, 2))
    y, _ = warped(-((X - 0.4) ** 2).sum(axis=1))
    model = gp.fit(X, y, np.full(10, 1e-8))
    pending = np.array([[0.42, 0.41]])
    believed = gp.believe(model, pending, 8, rng)
    assert believed.predict(pending).shape == (1, 8)
    assert gp.latent(believed, pending)[1].max() < gp.latent(model, pending)[1].max()


def test_the_maximum_is_found_between_the_steps_of_a_mixed_space():
    target = cube.snap(np.random.default_rng(6).random((1, cube.D)))
    near = lambda points: -((points - target) ** 2).sum(axis=1)  # noqa: E731
    best = maximise(near, cube, cube.snap(np.full((1, cube.D), 0.5)), np.random.default_rng(7))[0]
    assert np.abs(best - target).max() < 0.02


def trial(number: int, losses: list[float], state: TrialState, lr: float = 0.1, seed: int = 0) -> Trial:
    history = [Iteration(k, 0.0, {"loss": loss}) for k, loss in enumerate(losses, 1)]
    return Trial(number, {"lr": lr}, "bayes", seed, state, history)


def problem(scheduler: SchedulerSettings, repeats: int = 1) -> Problem:
    space = SearchSpace({"lr": Float(1e-4, 1.0, log=True)})
    return Problem(space, Metric("loss", "min"), SearchSettings(repeats=repeats), scheduler)


def observe(trials: list[Trial], problem: Problem) -> Observations:
    contenders = by_config(trials, problem.space, problem.metric)
    return ObservationReader(problem).observe(contenders, SeedRace(3, contenders).noise)


def test_a_trial_is_seen_at_each_rung_it_came_to_and_at_its_end():
    asha = problem(SchedulerSettings(max_iterations=27, grace=3, reduction=3))
    whole, cut, runs = np.linspace(2, 1, 27).tolist(), [2.0, 1.9, 1.8], [2.0, 1.9, 1.8, 1.7]
    seen = observe(
        [
            trial(0, whole, TrialState.FINISHED, 0.1),
            trial(1, cut, TrialState.STOPPED, 0.2),
            trial(2, runs, TrialState.RUNNING, 0.3),
            trial(3, [1.0], TrialState.DIVERGED, 0.4),
        ],
        asha,
    )
    rows = [
        (config["lr"], round(-score, 3), round(27**budget))
        for config, score, budget in zip(seen.configs, seen.scores, seen.budgets, strict=True)
    ]
    assert rows[:3] == [(0.1, 1.0, 27), (0.1, round(whole[2], 3), 3), (0.1, round(whole[8], 3), 9)]
    assert rows[3:5] == [(0.2, 1.8, 3), (0.3, 1.8, 3)]
    assert seen.configs[5] == {"lr": 0.4}
    assert math.isnan(seen.scores[5])
    assert seen.budgets[5] == 1.0


def test_without_a_scheduler_a_trial_is_its_last_score():
    seen = observe([trial(0, [3.0, 2.0], TrialState.FINISHED)], problem(SchedulerSettings(type="none")))
    assert (seen.scores.tolist(), seen.budgets.tolist()) == ([-2.0], [1.0])


def test_repeats_are_one_observation_with_the_noise_of_their_mean():
    trials = [trial(k, [loss], TrialState.FINISHED, seed=k) for k, loss in enumerate([1.0, 2.0, 3.0])]
    trials.append(trial(3, [5.0], TrialState.FINISHED, lr=0.2))
    seen = observe(trials, problem(SchedulerSettings(type="none"), repeats=3))
    assert seen.scores.tolist() == [-2.0, -5.0]
    assert seen.variances.tolist() == pytest.approx([1 / 3, 1.0])


def test_trials_stopped_early_still_lead_to_the_better_half():
    """Every config is seen after a few iterations only, and yet the model goes where those did well."""
    space = SearchSpace({"x": Float(0.0, 1.0)})
    rng = np.random.default_rng(8)
    configs = [{"x": float(x)} for x in rng.random(20)]
    scores = np.array([-((config["x"] - 0.8) ** 2) for config in configs])
    seen = Observations(configs, scores, np.full(20, 0.4), np.zeros(20))
    assert abs(propose(Cube(space), seen, [], rng)[0, 0] - 0.8) < 0.15


@pytest.mark.parametrize("count", [MOST, 1000])
def test_an_ask_stays_under_a_second_of_one_core(count: int):
    rng = np.random.default_rng(9)
    configs = [SPACE.decode(point) for point in rng.random((count, cube.D))]
    scores = np.array([-abs(math.log10(config["lr"]) + 2) for config in configs])
    seen = Observations(configs, scores, np.ones(count), np.zeros(count))
    start = time.thread_time()
    with threadpool_limits(1):
        propose(cube, seen, configs[:3], rng)
    assert time.thread_time() - start < 1.0
