"""What a session decides on any backend: what counts, when a trial ends, and how long it took."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import driving
import pytest
from objectives import OWN_NAMES

from tuneapp import report, session
from tuneapp.session import Show
from tuneapp.settings import Metric
from tuneapp.studies import Observer, RunDirectory, Study, TrialState

MakeRun = Callable[..., RunDirectory]
OLD = Path(__file__).parent / "runs_0_1_0"
BACKENDS = [
    pytest.param(driving.local, id="local"),
    pytest.param(driving.ray, id="ray", marks=[pytest.mark.ray, pytest.mark.xdist_group("ray")]),
]


class Lines(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("drive", BACKENDS)
@pytest.mark.parametrize("name", ["time", "iteration", "done", "seconds"])
def test_a_metric_may_be_called_as_anything_of_ours(
    make_run: MakeRun, name: str, drive: Callable[[RunDirectory], Study]
) -> None:
    run = make_run("reports_names_of_ours", metric=Metric(name, "min"), samples=4, scheduler="none")
    study = drive(run)
    assert study.counts()["finished"] == 4
    for trial in study.trials:
        assert set(trial.last) == set(OWN_NAMES)
        assert trial.value(study.metric) == abs(trial.config["x"] - 0.3) + 0.5
    assert study.best is min(study.trials, key=lambda trial: abs(trial.config["x"] - 0.3))
    assert run.read().trials == study.trials
    assert str(study.best.number) in report.summary(study)


@pytest.mark.parametrize("drive", BACKENDS)
def test_an_iteration_without_the_metric_counts_and_rules_wait_for_the_next(
    make_run: MakeRun, drive: Callable[[RunDirectory], Study]
) -> None:
    study = drive(make_run("validates_every_third", samples=8, algorithm="random", max_iterations=9))
    assert {trial.state for trial in study.trials} <= {TrialState.FINISHED, TrialState.STOPPED}
    stopped = [trial for trial in study.trials if trial.state is TrialState.STOPPED]
    assert stopped
    assert all(trial.iterations % 3 == 0 for trial in stopped)
    assert all([each.number for each in t.history] == list(range(1, t.iterations + 1)) for t in study.trials)


def test_a_trial_that_never_reports_its_metric_has_failed_and_says_what_came(make_run: MakeRun) -> None:
    study = driving.local(make_run("never_validates", samples=2))
    assert [trial.state for trial in study.trials] == [TrialState.FAILED] * 2
    assert all("must report 'score'" in t.reason and "loss" in t.reason for t in study.trials)


def test_where_the_best_iteration_counts_its_checkpoint_is_kept(make_run: MakeRun) -> None:
    metric = Metric("score", "max", "best")
    run = make_run("overfits", metric=metric, samples=3, scheduler="none", max_iterations=6)
    best = driving.local(run).best
    assert best is not None
    assert best.value(metric) == best.config["x"]
    kept = best.kept(metric)
    assert kept is not None
    assert (run.path / kept / "state").read_text() == "3"
    folders = [path for path in (run.path / "ray" / "checkpoints").iterdir() if any(path.iterdir())]
    assert [int(folder.name) for folder in folders] == [best.number]


@pytest.mark.parametrize("drive", BACKENDS)
def test_a_limit_that_cuts_a_trial_with_more_to_give_is_told(
    make_run: MakeRun, drive: Callable[..., Study]
) -> None:
    run = make_run("has_no_end", samples=2, scheduler="none", max_iterations=4)
    study = drive(run, knows_limit=False)
    assert [trial.state for trial in study.trials] == [TrialState.LIMITED] * 2
    assert [trial.iterations for trial in study.trials] == [4, 4]
    assert study.closed
    assert study.best is not None
    assert "2 trials were cut at the limit of 4 iterations" in report.summary(study)


@pytest.mark.parametrize("drive", BACKENDS)
def test_a_worker_is_replaced_after_a_trial_that_was_dropped_and_left_a_thread(
    make_run: MakeRun, drive: Callable[..., Study]
) -> None:
    run = make_run("leaves_a_thread_and_goes_on", samples=3, scheduler="none", max_iterations=2, concurrent=1)
    study = drive(run)
    assert [trial.state for trial in study.trials] == [TrialState.FINISHED] * 3
    assert [trial.iterations for trial in study.trials] == [2, 2, 2]
    assert len({trial.worker for trial in study.trials}) == 3


def test_a_trial_that_ends_at_its_limit_by_itself_is_finished(make_run: MakeRun) -> None:
    run = make_run("works_for_a_while", samples=1, scheduler="none", max_iterations=3)
    assert driving.local(run, knows_limit=False).trials[0].state is TrialState.FINISHED


def test_seconds_are_those_that_the_objective_ran(make_run: MakeRun) -> None:
    study = driving.local(make_run("works_for_a_while", samples=2, scheduler="none", max_iterations=3))
    for trial in study.trials:
        assert trial.seconds >= 0.3
        assert trial.ended is not None
        assert trial.started is not None
        assert trial.seconds <= trial.ended - trial.started  # which the worker's start is part of


def test_the_pause_of_a_study_is_no_part_of_its_seconds(make_run: MakeRun) -> None:
    run = make_run("works_for_a_while", samples=2, scheduler="none", max_iterations=3)
    driving.local(run)
    lines = run.events_file.read_text().splitlines(keepends=True)
    ends = [k for k, line in enumerate(lines) if json.loads(line)["event"] == "finished"]
    run.events_file.write_text("".join(lines[: ends[0] + 1]))  # as if it had been interrupted there
    aged = [{**json.loads(line), "time": json.loads(line)["time"] - 1e6} for line in lines[: ends[0] + 1]]
    run.events_file.write_text("".join(json.dumps(event) + "\n" for event in aged))
    study = driving.local(run)
    assert study.closed
    assert study.counts()["finished"] == 2
    assert study.seconds < 1000
    assert run.read().seconds == study.seconds


def test_a_clock_that_jumps_changes_nothing(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**6))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 1000.0 * next(jumps))
    study = driving.local(make_run("works_for_a_while", samples=3, scheduler="none", max_iterations=3))
    assert study.counts()["finished"] == 3
    assert 0.3 <= study.seconds < 1000
    assert all(trial.started <= trial.ended for trial in study.trials if trial.started and trial.ended)
    times = [iteration.time for _, iteration in study.arrivals]
    assert times == sorted(times)


def test_a_run_of_0_1_0_reports_as_it_did(tmp_path: Path) -> None:
    shutil.copytree(OLD / "digits", tmp_path / "digits")
    run = RunDirectory(tmp_path / "digits")
    study = run.read()
    assert study.closed
    assert (study.counts()["finished"], study.counts()["stopped"]) == (5, 1)
    assert study.best is not None
    assert (study.best.number, study.value(study.best)) == (2, 1.0)
    assert study.test is not None
    assert round(study.test["test_accuracy"], 4) == 0.9749
    assert round(study.best.seconds, 2) == 0.25
    assert study.best.traded(Metric("seconds", "min")) == study.best.seconds
    assert study.best.last["iteration_seconds"] < study.best.seconds
    page = report.write(run)
    assert "val_accuracy" in page.read_text()
    assert len((run.path / "trials.csv").read_text().splitlines()) == 7


def test_a_run_of_0_1_0_is_resumed_where_it_was_interrupted(tmp_path: Path) -> None:
    shutil.copytree(OLD / "interrupted", tmp_path / "interrupted")
    run = RunDirectory(tmp_path / "interrupted")
    settings = run.path / "run.json"
    settings.write_text(settings.read_text().replace("/elsewhere", str(run.path / "source")))
    before = run.read()
    assert not before.closed
    assert sum(not trial.over for trial in before.trials) == 1
    study = session.resume(run, None, Show())
    assert study.closed
    assert study.counts()["total"] == 12
    assert study.counts()["running"] == 0
    ended = [trial.number for trial in before.trials if trial.over]
    assert [study.trials[number] for number in ended] == [before.trials[number] for number in ended]
    assert (run.path / "report.html").is_file()


def test_what_is_guessed_is_told_in_one_line_each(tmp_path: Path) -> None:
    lines = Lines()
    found = session.find_task(f"{Path(__file__).parent}/objectives.py:has_no_end", None, {})
    from tuneapp.settings import Settings
    from tuneapp.spaces import Float, SearchSpace

    settings = Settings.of({"search": {"samples": 2}, "scheduler": {"max_iterations": 2}})
    request, notes = session.make_request(found, SearchSpace({"x": Float(0, 1)}), settings)
    session.start(request, tmp_path, None, [], Show(lines, pictures=False), "local", found)
    told = "\n".join([*notes, *lines.lines])
    assert "metric: 'score', the number that has_no_end() gives, to be maximised" in told
    assert "limit: 2 iterations" in told
