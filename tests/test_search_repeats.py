"""Racing: who gets another seed."""

import pytest

from tuneapp.search import make_search
from tuneapp.search.repeats import SeedRace, by_config
from tuneapp.settings import Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import Float, SearchSpace
from tuneapp.studies import Iteration, Trial, TrialState

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
METRIC = Metric("score", "max")


def trial(number: int, x: float, score: float | None, state: TrialState = TrialState.FINISHED) -> Trial:
    history = [] if score is None else [Iteration(1, 0.0, {"score": score})]
    return Trial(number, {"x": x}, "bayes", number, state, history)


def raced(*trials: Trial, repeats: int = 3) -> float | None:
    config = SeedRace(repeats, by_config(trials, SPACE, METRIC)).due()
    return None if config is None else config.config["x"]


def test_mean_sd_and_pooled_noise_can_be_checked_by_hand():
    trials = [
        trial(0, 0.1, 1.0),
        trial(1, 0.1, 3.0),
        trial(2, 0.2, 5.0),
        trial(3, 0.3, 2.0),
        trial(4, 0.3, 2.0),
    ]
    first, second, third = by_config(trials, SPACE, METRIC)
    assert (first.mean, first.sd) == (2.0, pytest.approx(2**0.5))
    assert (second.mean, second.sd) == (5.0, None)
    assert SeedRace(3, [first, second, third]).noise == pytest.approx(1.0)  # (2 + 0) / 2 degrees of freedom


def test_the_best_config_runs_again_first_to_learn_the_noise():
    assert raced(trial(0, 0.1, 1.0), trial(1, 0.2, 2.0)) == 0.2


def test_while_the_noise_is_being_learnt_nobody_else_runs_again():
    assert raced(trial(0, 0.1, 1.0), trial(1, 0.2, 2.0), trial(2, 0.2, None, TrialState.RUNNING)) is None


def test_only_configs_that_may_still_win_get_another_seed():
    settled = [trial(0, 0.2, 2.0), trial(1, 0.2, 2.2), trial(2, 0.2, 2.1)]  # sd 0.1
    assert raced(*settled, trial(3, 0.1, 1.0)) is None
    assert raced(*settled, trial(3, 0.1, 1.98)) == 0.1


def test_no_config_gets_more_seeds_than_asked_for():
    assert raced(trial(0, 0.2, 2.0), trial(1, 0.2, 2.2), repeats=2) is None
    assert raced(trial(0, 0.2, 2.0), trial(1, 0.2, 2.2), repeats=3) == 0.2


@pytest.mark.parametrize("state", [TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED])
def test_a_config_that_was_stopped_or_broke_on_any_seed_has_lost(state: TrialState):
    trials = [trial(0, 0.1, 1.0), trial(1, 0.1, 1.1), trial(2, 0.2, 9.0), trial(3, 0.2, 9.0, state)]
    assert raced(*trials) == 0.1


def test_a_study_with_repeats_spends_its_samples_and_repeats_its_best():
    settings = SearchSettings(samples=24, warmup=6, repeats=3, seed=5)
    search = make_search(SPACE, METRIC, settings, SchedulerSettings(type="none"))
    trials: list[Trial] = []
    while (proposal := search.ask()) is not None:
        x = proposal.config["x"]
        wobble = 0.05 * (-1) ** proposal.seed * (1 + x)
        made = Trial(len(trials), proposal.config, proposal.origin, proposal.seed)
        made.history = [Iteration(1, 0.0, {"score": -((x - 0.3) ** 2) + wobble})]
        made.state = TrialState.FINISHED
        trials.append(made)
        search.tell(made)
    assert len(trials) == 24
    configs = by_config(trials, SPACE, METRIC)
    assert all(len({t.seed for t in config.trials}) == len(config.trials) <= 3 for config in configs)
    repeats = [t for t in trials if t.origin == "repeat"]
    assert 2 <= len(repeats) <= 12
    best = max((c for c in configs if len(c.scores) > 1), key=lambda c: c.mean)
    assert abs(best.config["x"] - 0.3) < 0.25
    assert all(t.number >= 6 for t in repeats)
