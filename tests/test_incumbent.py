"""Who is the incumbent: scores are compared at equal iterations, and what may still win is kept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.settings import Metric
from tuneapp.studies import Iteration, Race, Trial, TrialState, ranked, undefeated

MAX, MIN, PEAK = Metric("score"), Metric("score", "min"), Metric("score", "max", "best")


def trial(number: int, *scores: float | None, state: TrialState = TrialState.FINISHED) -> Trial:
    """A trial that reported these scores; None: an iteration without the metric."""
    history = [
        Iteration(i, float(i), {"other": 1.0} if score is None else {"score": score})
        for i, score in enumerate(scores, 1)
    ]
    return Trial(number, {"x": number}, "random", 0, state, history)


def stopped(number: int, *scores: float | None) -> Trial:
    return trial(number, *scores, state=TrialState.STOPPED)


def best(metric: Metric, *trials: Trial) -> int | None:
    incumbent = Race(metric, trials).best
    return None if incumbent is None else incumbent.number


def test_a_trial_stopped_early_never_beats_one_that_beat_it_there_and_went_on() -> None:
    overfits = trial(0, 0.5, 0.7, 0.95, 0.9, 0.6)
    assert best(MAX, overfits, stopped(1, 0.4, 0.6, 0.9)) == 0
    assert best(MAX, stopped(0, 0.4, 0.6, 0.9), trial(1, 0.5, 0.7, 0.95, 0.9, 0.6)) == 1


def test_a_trial_stopped_early_wins_where_nobody_was_better_there() -> None:
    assert best(MAX, trial(0, 0.1, 0.2, 0.3, 0.4), stopped(1, 0.5, 0.6)) == 1


def test_at_a_tie_the_complete_trial_wins_then_the_earlier_one() -> None:
    assert best(MAX, stopped(0, 0.7), trial(1, 0.6, 0.7)) == 1
    assert best(MAX, trial(0, 0.7), trial(1, 0.7)) == 0
    assert best(MAX, stopped(0, 0.7), trial(1, 0.1, 0.7, state=TrialState.LIMITED)) == 1


def test_a_loss_is_compared_the_other_way_round() -> None:
    assert best(MIN, trial(0, 0.5, 0.2, 0.9), stopped(1, 0.6, 0.3)) == 0


def test_where_the_best_iteration_counts_the_peak_is_kept() -> None:
    assert best(PEAK, trial(0, 0.5, 0.9, 0.1), trial(1, 0.6, 0.7, 0.8)) == 0
    assert trial(0, 0.5, 0.9, 0.1).value(PEAK) == 0.9
    assert trial(0, 0.5, 0.9, 0.1).value(MAX) == 0.1
    assert trial(0, 0.5, 0.9, 0.9).counting(PEAK) == Iteration(2, 2.0, {"score": 0.9})


def test_a_metric_of_some_iterations_is_compared_at_the_last_report_before() -> None:
    every_second = trial(0, None, 0.8, None, 0.9, None, 0.5)
    assert every_second.worth(MAX, 5) == 0.9
    assert every_second.worth(MAX, 1) is None
    assert every_second.worth(MAX, 7) is None
    assert best(MAX, every_second, stopped(1, None, 0.7, None, 0.85, None)) == 0


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.DIVERGED, TrialState.RUNNING])
def test_what_did_not_succeed_neither_wins_nor_beats(state: TrialState) -> None:
    assert best(MAX, trial(0, 0.9, 0.9, 0.9, state=state), stopped(1, 0.5)) == 1
    assert best(MAX, trial(0, 0.9, state=state)) is None


scores = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, None, math.nan]), min_size=1, max_size=6)
states = st.sampled_from([TrialState.FINISHED, TrialState.STOPPED, TrialState.STOPPED, TrialState.FAILED])
fields = st.lists(st.tuples(scores, states), max_size=8)
metrics = st.sampled_from([MAX, MIN, PEAK, Metric("score", "min", "best")])


@given(fields, metrics)
def test_the_law_holds_whatever_was_reported(
    field: list[tuple[list[float], TrialState]], metric: Metric
) -> None:
    trials = [trial(number, *values, state=state) for number, (values, state) in enumerate(field)]
    incumbent = Race(metric, trials).best
    candidates = [each for each in trials if each.succeeded and each.value(metric) is not None]
    if not candidates:
        assert incumbent is None
        return
    assert incumbent in candidates
    assert incumbent is ranked(trials, metric)[0]
    if incumbent.state is TrialState.STOPPED:
        own = incumbent.worth(metric, incumbent.iterations)
        for other in candidates:
            score = other.worth(metric, incumbent.iterations)
            assert own is not None
            assert score is None or score <= own
    for other in undefeated(trials, metric):
        assert metric.score(other.value(metric) or 0.0) <= metric.score(incumbent.value(metric) or 0.0)


@given(fields, metrics)
def test_a_trial_that_lost_its_checkpoint_never_becomes_the_incumbent(
    field: list[tuple[list[float], TrialState]], metric: Metric
) -> None:
    race, deleted = Race(metric), set()
    for number, (values, state) in enumerate(field):
        race.add(trial(number, *values, state=state))
        deleted |= {loser.number for loser in race.losers}
        assert race.best is None or race.best.number not in deleted
        assert len(race.contenders) <= 8


@given(fields, metrics, st.randoms())
def test_the_incumbent_does_not_depend_on_the_order_of_ends(
    field: list[tuple[list[float], TrialState]], metric: Metric, random: object
) -> None:
    trials = [trial(number, *values, state=state) for number, (values, state) in enumerate(field)]
    other = list(trials)
    random.shuffle(other)  # type: ignore[attr-defined]
    assert best(metric, *trials) == best(metric, *other)
