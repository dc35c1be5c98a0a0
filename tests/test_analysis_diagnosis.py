"""Diagnosis in words: each rule on curves made to show it, and on none that do not."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.analysis.diagnosis import RULES, Run, diagnose, differences, paired, ranked, verdict
from tuneapp.settings import Metric

ACCURACY = Metric("val_accuracy")
EPOCHS = range(1, 31)


def run(value: str = "a", seed: int = 0, diverged: bool = False, **curves: Sequence[float]) -> Run:
    return Run(value, seed, {name: list(enumerate(series, 1)) for name, series in curves.items()}, diverged)


def falling(start: float = 2.3, end: float = 0.3, rate: float = 0.3) -> list[float]:
    return [end + (start - end) * math.exp(-rate * (epoch - 1)) for epoch in EPOCHS]


def rising(end: float = 0.8, rate: float = 0.3) -> list[float]:
    return [end * (1 - math.exp(-rate * epoch)) for epoch in EPOCHS]


def healthy(value: str = "good", seed: int = 0, end: float = 0.8) -> Run:
    return run(value, seed, train_loss=falling(), val_loss=falling(end=0.4), val_accuracy=rising(end))


def kinds(runs: Sequence[Run], others: Sequence[Run] = ()) -> list[str]:
    return [finding.kind for finding in diagnose(runs, ACCURACY, others)]


def test_a_healthy_curve_has_no_findings() -> None:
    assert kinds([healthy()]) == []
    assert kinds([healthy("other")], [healthy()]) == []


def test_a_loss_that_is_not_finite_has_diverged_at_that_iteration() -> None:
    lost = run(train_loss=[2.3, 2.1, math.nan], val_accuracy=[0.1, 0.2, 0.1])
    (finding,) = diagnose([lost], ACCURACY)
    assert finding.sentence == "diverged at iteration 3: train_loss is not finite"


def test_a_loss_that_explodes_has_diverged() -> None:
    assert kinds([run(train_loss=[2.3, 9.0, 80.0, 300.0])]) == ["diverged"]


def test_a_loss_that_goes_up_and_down_bounces() -> None:
    jumps = [2.3 - 0.03 * epoch + (0.4 if epoch % 2 else -0.4) for epoch in EPOCHS]
    (finding,) = diagnose([run(train_loss=jumps)], ACCURACY)
    assert finding.kind == "bouncing"
    assert "50 % of the steps upwards" in finding.sentence


def test_a_validation_loss_that_jumps_bounces_though_the_training_loss_does_not() -> None:
    jumps = [1.5 + (0.4 if epoch % 2 else -0.4) for epoch in EPOCHS]
    (finding,) = diagnose([run(train_loss=falling(end=1.2), val_loss=jumps)], ACCURACY)
    assert finding.kind == "jumping"
    assert "in the second half val_loss moves by" in finding.sentence


def test_a_validation_loss_that_rises_while_training_stands_still_is_no_overfitting() -> None:
    still = [2.0 - 0.001 * epoch for epoch in EPOCHS]
    rises = [1.7 + 0.02 * epoch for epoch in EPOCHS]
    assert "overfit" not in kinds([run(train_loss=still, val_loss=rises)], [healthy()])


def test_a_slow_value_is_where_the_fastest_was_long_before() -> None:
    slow = run("1e-5", train_loss=[2.3 - 0.02 * epoch for epoch in EPOCHS])
    findings = diagnose([slow], ACCURACY, [healthy("1e-3")])
    assert [finding.kind for finding in findings] == ["too slow"]
    assert "is where 1e-3 was after 3" in findings[0].sentence


def test_a_value_that_stays_high_with_a_small_gap_underfits() -> None:
    high = run("big", train_loss=falling(end=1.2, rate=1.0), val_loss=falling(end=1.25, rate=1.0))
    assert kinds([high], [healthy()]) == ["underfit"]


def test_a_loss_that_hardly_moves_learned_nothing() -> None:
    flat = run("10", train_loss=[1.79 - 0.0001 * epoch for epoch in EPOCHS], val_loss=[1.79] * 30)
    assert kinds([flat], [healthy()]) == ["nothing learned"]


def test_overfitting_is_dated_by_the_lowest_validation_loss() -> None:
    over = run(train_loss=falling(end=0.01), val_loss=[1 + abs(epoch - 8) * 0.05 for epoch in EPOCHS])
    (finding,) = diagnose([over], ACCURACY)
    assert finding.kind == "overfit"
    assert finding.sentence.startswith("overfits since iteration 8: val_loss rose from 1 to 2.1")


def test_a_metric_that_gains_to_the_end_is_still_improving() -> None:
    assert kinds([run(val_accuracy=[0.02 * epoch for epoch in EPOCHS])]) == ["still improving"]
    loss = run(val_loss=[3 - 0.05 * epoch for epoch in EPOCHS])
    assert [f.kind for f in diagnose([loss], Metric("val_loss", "min"))] == ["still improving"]


def test_a_finding_needs_more_than_half_of_the_seeds() -> None:
    over = {"train_loss": falling(end=0.01), "val_loss": [1 + abs(epoch - 8) * 0.05 for epoch in EPOCHS]}
    fine = {"train_loss": falling(), "val_loss": falling(end=0.4)}
    assert kinds([run("a", 0, **over), run("a", 1, **fine)]) == []
    assert kinds([run("a", 0, **over), run("a", 1, **over), run("a", 2, **fine)]) == ["overfit"]


def test_a_value_whose_seeds_disagree_is_unstable() -> None:
    wild = [healthy("wild", seed, end) for seed, end in enumerate([0.4, 0.6, 0.8])]
    calm = [healthy("calm", seed, end) for seed, end in enumerate([0.79, 0.8, 0.81])]
    assert kinds(wild, calm) == ["unstable"]
    assert kinds(calm, wild) == []


def test_some_diverged_seeds_make_a_value_unstable() -> None:
    runs = [healthy("a", 0), healthy("a", 1), run("a", 2, diverged=True, train_loss=[2.0, 1.0])]
    assert kinds(runs) == ["unstable"]


def test_the_interval_of_three_seeds_is_students() -> None:
    gap = paired({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0}, ("a", "b"))
    assert gap is not None
    # mean 2, sd 1, t(0.975, 2) = 4.303: 2 ± 4.303 / sqrt(3)
    assert (gap.low, gap.high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert not gap.significant


def test_differences_are_taken_between_equal_seeds_only() -> None:
    gap = paired({0: 1.0, 1: 5.0}, {1: 4.0, 2: 9.0}, ("a", "b"))
    assert gap is not None
    assert (gap.mean, gap.n) == (1.0, 1)
    assert not gap.significant
    assert paired({0: 1.0}, {1: 1.0}, ("a", "b")) is None


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-5, 5))
def test_an_interval_holds_its_mean_and_moves_with_it(gaps: list[float], shift: float) -> None:
    zero = dict.fromkeys(range(len(gaps)), 0.0)
    here = paired(dict(enumerate(gaps)), zero, ("a", "b"))
    there = paired({seed: gap + shift for seed, gap in enumerate(gaps)}, zero, ("a", "b"))
    assert here is not None
    assert there is not None
    assert here.low - 1e-9 <= here.mean <= here.high + 1e-9
    assert there.mean == pytest.approx(here.mean + shift, abs=1e-6)
    assert there.high - there.low == pytest.approx(here.high - here.low, abs=1e-6)


def finals_of(**values: Sequence[float]) -> list[Run]:
    return [
        run(value, seed, val_accuracy=[0.1, end])
        for value, ends in values.items()
        for seed, end in enumerate(ends)
    ]


def test_one_seed_ranks_nothing() -> None:
    (words,) = verdict(finals_of(a=[0.58], b=[0.55]), ACCURACY)
    assert words.startswith("One seed each cannot rank the values")


def test_a_clear_winner_is_named_with_its_interval() -> None:
    told = verdict(finals_of(a=[0.80, 0.81, 0.82], b=[0.60, 0.61, 0.62], c=[0.79, 0.83, 0.80]), ACCURACY)
    assert told[0].startswith("a is best with a mean val_accuracy of 0.81; it is ahead of b by 0.2 [")
    assert told[1].startswith("It does not differ significantly from c by ")


def test_overlapping_seeds_are_no_significant_effect() -> None:
    (words,) = verdict(finals_of(a=[0.80, 0.70, 0.75], b=[0.72, 0.78, 0.74]), ACCURACY)
    assert words.startswith("No significant effect")


def test_a_value_that_lost_a_seed_is_never_best() -> None:
    runs = [*finals_of(a=[0.5, 0.5]), run("b", 0, val_accuracy=[0.9]), run("b", 1, diverged=True)]
    assert ranked(runs, ACCURACY) == ["a"]
    assert verdict(runs, ACCURACY)[0] == "Not ranked, as a seed diverged or failed: b."


def test_the_best_of_a_loss_is_the_lowest() -> None:
    runs = [run(value, seed, val_loss=[end]) for value, end in (("a", 2.0), ("b", 1.0)) for seed in (0, 1)]
    assert ranked(runs, Metric("val_loss", "min")) == ["b", "a"]
    assert differences(runs, Metric("val_loss", "min"))[0].mean == 1.0


@pytest.mark.parametrize("kind", RULES)
def test_every_rule_is_stated_and_bears_short_curves(kind: str) -> None:
    _, _, stated = RULES[kind]
    assert len(stated) > 20
    for length in range(3):
        assert diagnose([run(train_loss=[1.0] * length, val_accuracy=[0.5] * length)], ACCURACY) == []
