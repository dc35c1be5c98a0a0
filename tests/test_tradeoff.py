"""Two metrics at once: proposals spread along the front, and table and plot show it."""

import numpy as np
import pytest

from tuneapp import report
from tuneapp.errors import UsageError
from tuneapp.search import make_search
from tuneapp.settings import Metric, Request, SchedulerSettings, SearchSettings
from tuneapp.spaces import Float, SearchSpace
from tuneapp.studies import Iteration, Study, Trial, TrialState

SPACE = SearchSpace({"x": Float(0, 1), "y": Float(0, 1)})
METRICS = [Metric("gain"), Metric("cost", "min")]


def evaluate(x: float, y: float) -> dict[str, float]:
    """Both want y at 0.5, gain wants x high, cost wants it low: the front is y = 0.5, x anything."""
    miss = (y - 0.5) ** 2
    return {"gain": x - 4 * miss, "cost": x**2 + 4 * miss}


def run(seed: int, samples: int = 30) -> list[Trial]:
    settings = SearchSettings(samples=samples, warmup=8, seed=seed)
    search = make_search(SPACE, METRICS[0], settings, SchedulerSettings("none"), also=METRICS[1:])
    trials: list[Trial] = []
    while not search.exhausted:
        proposal = search.ask()
        assert proposal is not None
        trial = Trial(len(trials), proposal.config, proposal.origin, proposal.seed)
        search.tell(trial)
        trial.history.append(Iteration(1, 0.0, evaluate(**trial.config)))
        trial.state = TrialState.FINISHED
        search.tell(trial)
        trials.append(trial)
    return trials


@pytest.mark.parametrize("seed", [0, 1])
def test_proposals_come_to_the_front_and_spread_along_it(seed: int) -> None:
    chosen = [trial.config for trial in run(seed)[12:]]
    assert np.median([abs(config["y"] - 0.5) for config in chosen]) < 0.08
    assert min(config["x"] for config in chosen) < 0.3
    assert max(config["x"] for config in chosen) > 0.8


def test_the_same_results_give_the_same_proposals() -> None:
    assert [trial.config for trial in run(3, 12)] == [trial.config for trial in run(3, 12)]


def test_failed_trials_and_missing_metrics_are_no_hindrance() -> None:
    search = make_search(
        SPACE, METRICS[0], SearchSettings(samples=9, warmup=2), SchedulerSettings("none"), also=METRICS[1:]
    )
    for number in range(6):
        proposal = search.ask()
        assert proposal is not None
        trial = Trial(number, proposal.config, proposal.origin, 0)
        if number % 3 == 0:
            trial.state = TrialState.FAILED
        else:
            trial.state = TrialState.FINISHED
            trial.history.append(
                Iteration(1, 0.0, {"gain": 1.0, **({"cost": 1.0} if number % 3 == 1 else {})})
            )
        search.tell(trial)
    assert not search.exhausted


def test_more_than_two_metrics_are_refused() -> None:
    three = (Metric("cost", "min"), Metric("third"))
    with pytest.raises(UsageError, match="two metrics at most"):
        Request("task", SPACE.to_dict(), METRICS[0], also=three)
    with pytest.raises(UsageError, match="must differ"):
        Request("task", SPACE.to_dict(), METRICS[0], also=(METRICS[0],))


def test_a_request_with_two_metrics_survives_its_file() -> None:
    request = Request("task", SPACE.to_dict(), METRICS[0], also=(METRICS[1],))
    assert Request.from_json(request.to_json()) == request


def test_the_front_is_in_the_table_and_in_the_plot() -> None:
    request = Request("evaluate", SPACE.to_dict(), METRICS[0], also=(METRICS[1],))
    study = Study(request, run(0, samples=8))
    assert "Pareto front" in report.summary(study)
    assert "cost" in report.plot(study, "pareto").axes[0].get_xlabel()
