"""A plan of cells on the real engine: ordinary trials, and resumed where it was interrupted."""

from collections.abc import Callable

import pytest
from driving import ray
from records import append

from tuneapp.analysis.effects.judge import Effects
from tuneapp.search import plan as plans
from tuneapp.search.plan import make_plan
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.section import TableRequest
from tuneapp.studies import RunDirectory, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]
MakeRun = Callable[..., RunDirectory]


@pytest.fixture(autouse=True)
def _ray(ray_here: None) -> None:
    pass


def cells(make_run: MakeRun) -> RunDirectory:
    plan, space = make_plan(
        SearchSpace({"x": {"type": "float", "low": 0.0, "high": 1.0}}),
        [TableRequest(("x",), {"x": [0.2, 0.5, 0.9]})],
        seeds=[7, 8],
    )
    return make_run(
        "curve",
        hyperparameters=space.to_dict()["hyperparameters"],
        scheduler="none",
        max_iterations=3,
        algorithm="cells",
        samples=plan.most_trials,
        plan=plan.to_json(),
    )


def test_every_cell_runs_to_its_end_with_every_seed(make_run: MakeRun) -> None:
    study = ray(cells(make_run))
    assert study.closed
    ran = sorted((trial.config["x"], trial.seed) for trial in study.trials)
    assert ran == [(x, seed) for x in (0.2, 0.5, 0.9) for seed in (7, 8)]
    assert all(trial.state is TrialState.FINISHED and trial.iterations == 3 for trial in study.trials)
    (table,) = Effects(study).tables
    assert table.verdict[0].startswith("0.9 is best with a mean score of")


def test_an_interrupted_plan_goes_on_with_the_cells_that_are_left(make_run: MakeRun) -> None:
    run = cells(make_run)
    plan = plans.plan_of(run.read().request)
    assert plan is not None
    for number, config in enumerate(plan.configs):  # as a driver left it that was killed in its third trial
        append(run, "asked", trial=number, config=config, origin="cell", seed=7)
        append(run, "started", trial=number)
        if number < 2:
            for iteration in (1, 2, 3):
                append(
                    run, "iteration", trial=number, iteration=iteration, metrics={"score": 0.1, "begins": 1}
                )
            append(run, "finished", trial=number)
    study = ray(run)
    assert study.closed
    assert len(study.trials) == 6
    assert [trial.seed for trial in study.trials] == [7, 7, 7, 8, 8, 8]
    assert [study.value(trial) for trial in study.trials[:2]] == [0.1, 0.1]  # not run again
