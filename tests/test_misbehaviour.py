"""Whatever one trial does, its study goes on, and the trial after it is well."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import misconduct
import pytest
from driving import local, ray
from records import append

from tuneapp import report
from tuneapp.settings import Metric, Request, Resources, SchedulerSettings, SearchSettings
from tuneapp.studies import Event, Observer, Reported, RunDirectory, Study, TrialState

MakeRun = Callable[..., RunDirectory]
STATES = {
    **dict.fromkeys([*misconduct.FAILURES, *misconduct.DEATHS], TrialState.FAILED),
    **dict.fromkeys(misconduct.HARMLESS, TrialState.FINISHED),
    **dict.fromkeys(misconduct.LIMITED, TrialState.LIMITED),
}
# Ray's own processes need their files and share a group, and a fork of its worker lacks its threads.
NOT_ON_RAY = {"no files", "a fork", "SIGTERM for all"}
ON_RAY = [kind for kind in misconduct.KINDS if kind not in NOT_ON_RAY]


def make(folder: Path, kinds: list[str]) -> RunDirectory:
    """A study of one worker, in which a well trial follows each of the kinds."""
    space = {
        "hyperparameters": {
            "kind": {"type": "categorical", "choices": ["well", *misconduct.KINDS]},
            "x": {"type": "float", "low": 0.0, "high": 1.0},
        },
        "points": [{"kind": each, "x": 0.5} for kind in kinds for each in (kind, "well")],
    }
    request = Request(
        f"{Path(misconduct.__file__)}:trial",
        space,
        Metric("score"),
        search=SearchSettings(algorithm="points", samples=2 * len(kinds)),
        scheduler=SchedulerSettings(type="none", max_iterations=2),
        resources=Resources(concurrent=1),
    )
    return RunDirectory.create(folder / "runs", None, request, {"argv": []})


def check(study: Study, kind: str, says: str) -> None:
    did = next(trial for trial in study.trials if trial.config["kind"] == kind)
    after = study.trials[did.number + 1]
    assert did.state is STATES[kind], did.reason
    assert says in did.reason
    assert after.state is TrialState.FINISHED, after.reason


@pytest.fixture(scope="module")
def on_local(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return local(make(tmp_path_factory.mktemp("local"), list(misconduct.KINDS)), knows_limit=False)


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Study:
    return ray(make(tmp_path_factory.mktemp("ray"), ON_RAY), knows_limit=False)


@pytest.mark.parametrize("kind", misconduct.KINDS)
def test_a_trial_ends_itself_alone(on_local: Study, kind: str) -> None:
    check(on_local, kind, misconduct.KINDS[kind][1])


def test_a_study_of_misbehaving_trials_comes_to_its_end_and_has_a_report(on_local: Study) -> None:
    assert on_local.closed
    assert on_local.folder is not None
    assert RunDirectory(on_local.folder).read().trials == on_local.trials
    page = report.write(RunDirectory(on_local.folder), plots=False)
    assert "KeyboardInterrupt" in page.read_text(encoding="utf-8")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("kind", ON_RAY)
def test_a_trial_ends_itself_alone_with_ray(on_ray: Study, kind: str) -> None:
    check(on_ray, kind, "" if kind in misconduct.DEATHS else misconduct.KINDS[kind][1])  # Ray's words differ


def test_a_long_message_is_short_in_the_record_and_whole_in_the_trials_output(on_local: Study) -> None:
    did = next(trial for trial in on_local.trials if trial.config["kind"] == "a long message")
    assert len(did.reason) <= 1000
    assert f"characters left out; see output/{did.number:05d}.txt" in did.reason
    assert on_local.folder is not None
    whole = (on_local.folder / "output" / f"{did.number:05d}.txt").read_text()
    assert misconduct.LONG in whole
    assert len((on_local.folder / "trials.jsonl").read_bytes()) < 200_000


class Kills(Observer):
    """Kills the worker of each trial between its first two steps, once."""

    def __init__(self) -> None:
        self.killed: set[int] = set()

    def on_event(self, study: Study, event: Event) -> None:
        if isinstance(event, Reported) and event.trial not in self.killed:
            self.killed.add(event.trial)
            os.kill(int(event.worker.rpartition(":")[2]), signal.SIGKILL)


class Mute(Observer):
    """One whose terminal is gone."""

    def tell(self, line: str) -> None:
        raise BrokenPipeError


def test_a_study_whose_lines_nobody_takes_goes_on(tmp_path: Path) -> None:
    study = local(make(tmp_path, ["KeyboardInterrupt", "no print"]), Mute())
    assert study.closed
    assert study.counts()["failed"] == 2


def test_a_lone_surrogate_in_a_record_is_read_as_its_escape(make_run: MakeRun) -> None:
    run = make_run("quadratic")
    append(run, "asked", trial=0, config={"x": 0.5}, origin="warmup", seed=0)
    append(run, "started", trial=0)
    metrics = {"score": 1.0, "\ud800": 2.0}
    append(run, "iteration", trial=0, iteration=1, metrics=metrics, worker="host:1")
    append(run, "failed", trial=0, reason="\udfff")
    assert "\\ud800" in run.events_file.read_text(encoding="utf-8")
    trial = run.read().trials[0]
    assert (list(trial.last), trial.reason) == (["score", "\\ud800"], "\\udfff")
    assert "\\ud800" in report.write(run, plots=False).read_text(encoding="utf-8")


def test_a_worker_that_dies_between_two_steps_costs_its_trial_one_start(make_run: MakeRun) -> None:
    run = make_run("curve", samples=3, scheduler="none", max_iterations=4)
    study = local(run, Kills())
    assert study.closed
    assert [trial.state for trial in study.trials] == [TrialState.FINISHED] * 3
    assert [trial.iterations for trial in study.trials] == [4, 4, 4]
    assert run.events_file.read_text().count('"restarted"') == 3
