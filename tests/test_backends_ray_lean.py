"""Ray Tune's loop without what nobody reads, and with it where Ray is built otherwise."""

import gc
from collections.abc import Callable

import pytest
from driving import ray

from tuneapp.backends import BACKENDS, How, drive
from tuneapp.studies import Observer, RunDirectory, Study, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]
MakeRun = Callable[..., RunDirectory]


@pytest.fixture(autouse=True)
def _ray(ray_here: None) -> None:
    pass


class Told(Observer):
    """Keeps what a study says, and how many of Ray's trials there were after each step."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.kept: list[int] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)

    def on_tick(self, study: Study) -> None:
        from tuneapp.backends.ray.lean import LeanTrial

        self.kept.append(sum(isinstance(each, LeanTrial) for each in gc.get_objects()))


def test_a_run_directory_holds_nothing_of_ray(make_run: MakeRun) -> None:
    run = make_run("quadratic", samples=6, algorithm="random", max_iterations=1)
    assert ray(run).closed
    assert {path.name for path in run.path.iterdir()} <= {
        "run.json",
        "trials.jsonl",
        ".lock",
        "output",
        "ray",
    }
    assert [path for path in (run.path / "ray").rglob("*") if path.name != "checkpoints"] == []


def test_ray_forgets_trials_that_are_over(make_run: MakeRun) -> None:
    observer = Told()
    study = ray(make_run("quadratic", samples=20, algorithm="random", max_iterations=1), observer)
    assert study.counts()["finished"] == 20
    assert max(observer.kept) <= 4


def test_each_of_two_workers_runs_trials_however_short_they_are(make_run: MakeRun) -> None:
    study = ray(make_run("quadratic", samples=200, algorithm="random", max_iterations=1))
    shares = [
        sum(trial.worker == worker for trial in study.trials) for worker in {t.worker for t in study.trials}
    ]
    assert len(shares) == 2


def test_a_ray_that_is_built_otherwise_runs_a_study_and_is_told(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneapp.backends.ray import lean

    monkeypatch.setitem(lean.METHODS[lean.TuneController], "checkpoint", ("self", "something", "new"))
    observer = Told()
    study = ray(make_run("curve", samples=4, scheduler="none", max_iterations=3), observer)
    assert [trial.state for trial in study.trials] == [TrialState.FINISHED] * 4
    assert any("is built differently" in line for line in observer.lines)


def test_tensorboard_finds_the_metrics_in_the_run_directory(make_run: MakeRun) -> None:
    run = make_run("curve", samples=2, scheduler="none", max_iterations=3)
    drive(BACKENDS["ray"](), run, Observer(), How(loggers=("tensorboard",)))
    folders = sorted((run.path / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == ["00000", "00001"]
    for folder in folders:
        written = b"".join(file.read_bytes() for file in folder.rglob("events*"))
        assert written.count(b"ray/tune/score") >= 3
