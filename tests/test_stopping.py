"""Stopping rules: what each entry of RULES promises, and the decisions of Ray's schedulers, one by one."""

import math
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.errors import UnknownName
from tuneapp.settings import Metric, SchedulerSettings
from tuneapp.stopping import RULES, Rule, Stop, make_rule
from tuneapp.stopping.asha import Asha, Hyperband, quantile
from tuneapp.stopping.median import Median

Decide = Callable[[int, int, float], bool]  # trial, iteration, score: whether the trial is stopped
Report = tuple[int, int, float]  # trial, iteration, score


@st.composite
def settings_of(draw: st.DrawFn, kind: str) -> SchedulerSettings:
    most, grace = draw(st.none() | st.integers(1, 40)), draw(st.none() | st.integers(1, 6))
    return SchedulerSettings(kind, most, grace, draw(st.integers(2, 7)))


def arrivals(seed: int, decide: Decide, most: int, trials: int = 14, every: int = 1) -> Iterator[Report]:
    """Results as workers hand them in, trials of differing lengths, ties in every other seed.

    The metric is in about one iteration of `every`. A trial that is stopped reports no more.
    """
    rng = np.random.default_rng(seed)
    at = dict.fromkeys(rng.permutation(trials).tolist(), 0)
    ends = {trial: most if trial % 3 else int(rng.integers(1, most + 1)) for trial in at}
    while at:
        trial = int(rng.choice(list(at)[:5]))  # five workers
        at[trial] += 1
        if every == 1 or rng.random() < 1 / every:
            score = float(rng.integers(5)) if seed % 2 else float(rng.standard_normal())
            yield trial, at[trial], score
            if decide(trial, at[trial], score):
                del at[trial]
                continue
        if at[trial] == ends[trial]:
            del at[trial]


def decisions(rule: Rule, reports: list[Report]) -> list[Stop | None]:
    return [rule.report(*report) for report in reports]


def reports_of(rule: Rule, seed: int, most: int, every: int = 1) -> list[Report]:
    """All that a study tells the rule, which stops trials on the way."""
    return list(arrivals(seed, lambda *report: rule.report(*report) is not None, most, every=every))


# What every rule promises.


@pytest.mark.parametrize("name", RULES)
@given(data=st.data(), seed=st.integers(0, 10_000), every=st.integers(1, 5))
def test_a_fresh_rule_that_is_told_the_same_goes_on_identically(
    name: str, data: st.DataObject, seed: int, every: int
) -> None:
    settings = data.draw(settings_of(name))
    continued = make_rule(settings)
    reports = reports_of(make_rule(settings), seed, settings.max_iterations or 40, every)
    half = data.draw(st.integers(0, len(reports)))
    decisions(continued, reports[:half])
    restored = make_rule(settings)
    decisions(restored, reports[:half])
    assert decisions(restored, reports[half:]) == decisions(continued, reports[half:])


@pytest.mark.parametrize("name", RULES)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_no_rule_stops_before_the_grace_at_the_limit_or_outside_its_rungs(
    name: str, data: st.DataObject, seed: int
) -> None:
    settings = data.draw(settings_of(name))
    rule, limit = make_rule(settings), settings.max_iterations or math.inf
    reports = reports_of(make_rule(settings), seed, settings.max_iterations or 40)
    stopped = {report[1] for report in reports if rule.report(*report) is not None}
    assert all(settings.grace_iterations <= iteration < limit for iteration in stopped)
    rungs = rule.rungs(below=100)
    assert rungs == sorted(set(rungs))
    assert not rungs or stopped <= set(rungs)


@pytest.mark.parametrize("name", RULES)
@given(data=st.data(), scores=st.lists(st.floats(-1e9, 1e9), max_size=40))
def test_no_rule_stops_a_lone_trial(name: str, data: st.DataObject, scores: list[float]) -> None:
    rule = make_rule(data.draw(settings_of(name)))
    assert decisions(rule, [(0, at, score) for at, score in enumerate(scores, 1)]) == [None] * len(scores)


@pytest.mark.parametrize("name", RULES)
@given(data=st.data(), seed=st.integers(0, 10_000), nothing=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_scores_that_are_not_finite_change_nothing(
    name: str, data: st.DataObject, seed: int, nothing: float
) -> None:
    settings = data.draw(settings_of(name))
    plain, disturbed = make_rule(settings), make_rule(settings)
    for trial, iteration, score in reports_of(make_rule(settings), seed, 40):
        assert disturbed.report(100 + iteration, iteration, nothing) is None
        assert disturbed.report(trial, iteration, score) == plain.report(trial, iteration, score)


@pytest.mark.parametrize("name", RULES)
def test_a_report_costs_the_same_however_many_trials_there_are(name: str) -> None:
    rule = make_rule(SchedulerSettings(name, max_iterations=20))
    scores = np.random.default_rng(0).random((10, 3_000)).tolist()
    began = time.perf_counter()
    for iteration, row in enumerate(scores, 1):
        for trial, score in enumerate(row):
            rule.report(trial, iteration, score)
    assert time.perf_counter() - began < 10  # 30,000 reports; Ray's median takes 24 ms for one of the last


@given(data=st.data(), seed=st.integers(0, 10_000))
def test_none_never_stops(data: st.DataObject, seed: int) -> None:
    rule = make_rule(data.draw(settings_of("none")))
    assert not any(rule.report(*report) for report in reports_of(rule, seed, 40))


def test_an_unknown_rule_is_named_with_its_nearest() -> None:
    settings = SchedulerSettings()
    object.__setattr__(settings, "type", "ahsa")  # SchedulerSettings checks too
    with pytest.raises(UnknownName, match="Did you mean 'asha'"):
        make_rule(settings)


# Each rule by hand.


def test_the_first_to_come_to_a_rung_goes_on_and_the_worse_that_follow_stop() -> None:
    rule = Asha(grace=1, reduction=2, max_iterations=4)
    assert rule.rungs(below=100) == [1, 2]
    assert rule.report(0, 1, 0.5) is None
    assert rule.report(1, 1, 0.4) == Stop("rung 1: 0.4 against a cut of 0.5 from 1 trials")
    assert rule.report(2, 1, 0.6) is None
    assert rule.report(2, 1, 0.0) is None  # it has passed this rung
    assert rule.report(2, 2, 0.0) is None  # the first to come


def test_a_reason_names_the_metrics_own_values() -> None:
    settings = SchedulerSettings("asha", max_iterations=9, grace=3)
    rule = make_rule(settings, Metric("loss", "min"))
    assert rule.report(0, 3, -0.25) is None
    assert rule.report(1, 3, -0.5) == Stop("rung 3: 0.5 against a cut of 0.25 from 1 trials")


def test_a_rung_without_a_score_is_judged_at_the_next_one_once() -> None:
    rule = Asha(grace=2, reduction=2)
    for trial, score in enumerate([0.5, 0.6, 0.1]):  # the metric is in every fifth iteration: rungs 2 and 4
        stop = rule.report(trial, 5, score)
    assert stop == Stop("rung 4: 0.1 against a cut of 0.55 from 2 trials")
    assert rule.report(3, 4, 0.2) is not None  # comes to rung 4 as the others did
    assert rule.report(4, 2, 0.2) is None  # the first of all at rung 2


def test_without_a_limit_rungs_go_on_without_end() -> None:
    rule = Asha(grace=1, reduction=10)
    assert rule.rungs(below=10**7 + 1) == [10**k for k in range(8)]
    assert rule.report(0, 10**9, 2.0) is None
    assert rule.report(1, 10**9, 1.0) is not None


def test_brackets_start_one_rung_later_each_and_trials_are_spread_over_them() -> None:
    rule = Hyperband(grace=1, reduction=3, max_iterations=27)
    assert [bracket.grace for bracket in rule.brackets] == [1, 3, 9]
    for trial in range(300):
        rule.report(trial, 1, 0.0)
    sizes = [sum(bracket is one for one in rule._bracket_of.values()) for bracket in rule.brackets]
    assert all(more > 2 * less for more, less in pairwise(sizes))  # e times
    assert len(Hyperband(1, 3, max_iterations=3).brackets) == 2  # the third would start behind the end


def test_the_median_of_three_others_stops_what_was_never_better() -> None:
    rule = Median(grace=2)
    for trial, (first, second) in enumerate([(9.0, 1.0), (0.0, 2.0), (0.0, 3.0)]):
        assert rule.report(trial, 1, first) is None
        assert rule.report(trial, 2, second) is None  # fewer than three others
    assert rule.report(3, 1, 2.0) is None
    assert rule.report(3, 2, 0.0) is None  # its best is the median, 2: iteration 1 counts for its best only
    assert rule.report(4, 2, 1.4) == Stop("iteration 2: below the median of the trials before it")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(2, 20))
def test_the_quantile_is_numpys(scores: list[float], reduction: int) -> None:
    share = 1 - 1 / reduction
    assert quantile(sorted(scores), share) == np.quantile(scores, share)


# The same decisions as Ray's schedulers, set up as tuneapp 0.1 did.


class RaysTrial(SimpleNamespace):
    """As far as Ray's schedulers look at one."""

    def __hash__(self) -> int:
        return hash(self.trial_id)


def rays(kind: str, settings: SchedulerSettings, mode: str) -> Decide:
    from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

    common: dict[str, Any] = {"time_attr": "iteration", "metric": "value", "mode": mode}
    common["grace_period"] = settings.grace_iterations
    most = settings.max_iterations or 10**6
    if kind == "median":
        scheduler: Any = MedianStoppingRule(**common, min_time_slice=math.inf)
    else:
        rungs = int(np.log(most / settings.grace_iterations) / np.log(settings.reduction)) + 1
        scheduler = AsyncHyperBandScheduler(
            **common,
            max_t=most,
            reduction_factor=settings.reduction,
            brackets=min(3, rungs) if kind == "hyperband" else 1,
        )
    trials: dict[int, RaysTrial] = {}

    def decide(number: int, iteration: int, score: float) -> bool:
        if number not in trials:
            trials[number] = RaysTrial(trial_id=str(number))
            np.random.seed(number)  # noqa: NPY002
            scheduler.on_trial_add(None, trials[number])
        if iteration >= most:
            return False  # Ray's loop ends the trial as finished, whatever the scheduler says
        value = score if mode == "max" else -score
        result = {"iteration": iteration, "value": value}
        return bool(scheduler.on_trial_result(None, trials[number], result) == scheduler.STOP)

    return decide


def rays_bracket(settings: SchedulerSettings) -> Decide:
    """Ray's ASHA, made to judge a trial once for all the rungs that it passed without a score.

    By default it would go back to those, and hold a late score against early ones.
    """
    from ray.tune.schedulers.async_hyperband import _Bracket

    most = settings.max_iterations or 10**6
    bracket = _Bracket(settings.grace_iterations, most, settings.reduction, 0, stop_last_trials=False)

    def decide(number: int, iteration: int, score: float) -> bool:
        if iteration >= most:
            return False
        return bool(bracket.on_result(RaysTrial(trial_id=str(number)), iteration, score) == "STOP")

    return decide


def both(rule: Rule, theirs: Decide, seed: int, most: int, every: int = 1) -> list[tuple[bool, bool]]:
    """What ours and theirs decide at each report; ours stops the trials."""
    decided: list[tuple[bool, bool]] = []

    def decide(*report: Any) -> bool:
        decided.append((rule.report(*report) is not None, theirs(*report)))
        return decided[-1][0]

    for _ in arrivals(seed, decide, most, every=every):
        pass
    return decided


@pytest.mark.ray
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@given(data=st.data(), seed=st.integers(0, 100_000))
def test_each_decision_is_rays(kind: str, mode: str, data: st.DataObject, seed: int) -> None:
    settings = data.draw(settings_of(kind))
    decided = both(make_rule(settings), rays(kind, settings, mode), seed, settings.max_iterations or 40)
    assert [ours for ours, _ in decided] == [theirs for _, theirs in decided]


@pytest.mark.ray
@pytest.mark.parametrize("kind", ["asha", "median"])
@given(data=st.data(), seed=st.integers(0, 100_000), every=st.integers(2, 6))
def test_each_decision_is_rays_where_the_metric_is_sparse(
    kind: str, data: st.DataObject, seed: int, every: int
) -> None:
    settings = data.draw(settings_of(kind))
    theirs = rays_bracket(settings) if kind == "asha" else rays(kind, settings, "max")
    decided = both(make_rule(settings), theirs, seed, settings.max_iterations or 40, every)
    assert [ours for ours, _ in decided] == [theirs for _, theirs in decided]


@pytest.mark.ray
@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
def test_equal_decisions_are_not_all_to_go_on(kind: str) -> None:
    settings = SchedulerSettings(kind, max_iterations=27, grace=1)
    decided = []
    for seed in range(20):
        decided += both(make_rule(settings), rays(kind, settings, "max"), seed, 27)
    assert sum(theirs for _, theirs in decided) > 50
