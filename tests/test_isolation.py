"""A trial finds its process as if no other had run in it, whatever that one did."""

import random
from pathlib import Path

import misdeeds
import numpy as np
import pytest
from driving import local, ray

from tuneapp.settings import Metric, Request, Resources, SchedulerSettings, SearchSettings
from tuneapp.studies import RunDirectory, Study, Trial, TrialState

SINKS = {"sys.exit(3)": "exits", "KeyboardInterrupt": "interrupts"}  # trials that fail by their own doing


def make(folder: Path, deeds: list[str]) -> RunDirectory:
    """A study of one worker in which each deed is followed by a look at what it left."""
    points = [{"deed": each, "x": 0.5} for deed in deeds for each in (deed, "none")]
    space = {
        "hyperparameters": {
            "deed": {"type": "categorical", "choices": ["none", *misdeeds.DEEDS]},
            "x": {"type": "float", "low": 0.0, "high": 1.0},
        },
        "points": points,
    }
    request = Request(
        f"{Path(misdeeds.__file__)}:trial",
        space,
        Metric("score"),
        search=SearchSettings(algorithm="random", samples=len(points)),
        scheduler=SchedulerSettings(type="none", max_iterations=1),
        resources=Resources(concurrent=1, cpus=1),
    )
    return RunDirectory.create(folder / "runs", None, request, {"argv": []})


def after(study: Study, deed: str) -> tuple[Trial, Trial]:
    """The trial that did it, and the one that looked."""
    did = next(trial for trial in study.trials if trial.config["deed"] == deed)
    return did, study.trials[did.number + 1]


def check(study: Study, deed: str) -> None:
    did, looked = after(study, deed)
    expected = TrialState.FAILED if deed in SINKS.values() else TrialState.FINISHED
    assert did.state is expected, did.reason
    assert looked.state is TrialState.FINISHED, looked.reason
    assert looked.last["python"] == random.Random(looked.seed).random()
    assert looked.last["numpy"] == np.random.RandomState(looked.seed % 2**32).rand()
    assert study.folder is not None
    assert (study.folder / "output" / f"{looked.number:05d}.txt").read_text() == "heard\n"
    assert all(trial.started is not None for trial in study.trials)


@pytest.fixture(scope="module")
def on_local(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return local(make(tmp_path_factory.mktemp("local"), list(misdeeds.DEEDS)))


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Study:
    return ray(make(tmp_path_factory.mktemp("ray"), list(misdeeds.DEEDS)))


@pytest.mark.parametrize("deed", misdeeds.DEEDS)
def test_a_trial_does_not_see_what_the_one_before_did(on_local: Study, deed: str) -> None:
    check(on_local, deed)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("deed", misdeeds.DEEDS)
def test_nor_in_a_worker_of_ray(on_ray: Study, deed: str) -> None:
    check(on_ray, deed)


def _workers(study: Study, deed: str) -> tuple[str, str]:
    did, looked = after(study, deed)
    return did.worker, looked.worker


@pytest.mark.parametrize("deed", [each for each in misdeeds.DEEDS if each not in SINKS.values()])
def test_only_what_cannot_be_put_back_costs_a_worker(on_local: Study, deed: str) -> None:
    before, now = _workers(on_local, deed)
    assert (before != now) == (deed in misdeeds.LEAVE)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("deed", [each for each in misdeeds.DEEDS if each not in SINKS.values()])
def test_ray_replaces_a_worker_without_a_restart_of_any_trial(on_ray: Study, deed: str) -> None:
    before, now = _workers(on_ray, deed)
    assert (before != now) == (deed in misdeeds.LEAVE)
    assert on_ray.folder is not None
    assert '"restarted"' not in (on_ray.folder / "trials.jsonl").read_text()
