"""The local backend: the same study as with Ray, in processes of this machine."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driving import local, ray
from faults import FAULTS
from records import append

from tuneapp.errors import UsageError
from tuneapp.settings import Metric, Request, Resources, SearchSettings
from tuneapp.studies import Ended, Event, Observer, RunDirectory, Study, Trial, TrialState

MakeRun = Callable[..., RunDirectory]
FAULTY = Path(__file__).parent / "faults.py"
POINTS = [{"x": 0.25}, {"x": 0.75}, {"x": 0.375}]


class Watching(Observer):
    def __init__(self, broken: bool = False) -> None:
        self.ended: list[int] = []
        self.sizes: list[int] = []
        self.lines: list[str] = []
        self.broken = broken

    def on_event(self, study: Study, event: Event) -> None:
        if isinstance(event, Ended):
            self.ended.append(event.trial)
            if self.broken:
                raise RuntimeError("a plot that failed")

    def on_tick(self, study: Study) -> None:
        self.sizes.append(len(study.trials))

    def tell(self, line: str) -> None:
        self.lines.append(line)


def faulty_run(function: Callable[[float], Any], folder: Path) -> RunDirectory:
    """Trials 0 and 2 are well, trial 1 is not."""
    request = Request(
        f"{FAULTY}:{function.__name__}",
        {"hyperparameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}}, "points": POINTS},
        Metric("score"),
        search=SearchSettings("points", samples=3),
        resources=Resources(
            concurrent=2, trial_timeout=2.0 if function.__name__.startswith("sleeps") else None
        ),
    )
    return RunDirectory.create(folder, None, request, {})


def expect_one_failure(study: Study, reason: str) -> Trial:
    assert study.closed
    assert [trial.succeeded for trial in study.trials] == [True, False, True]
    failed = study.trials[1]
    assert reason in failed.reason
    assert failed.state is (TrialState.DIVERGED if "nan" in reason else TrialState.FAILED)
    assert study.best is not None
    assert study.best.config == {"x": 0.375}
    return failed


@pytest.mark.parametrize(("function", "reason"), FAULTS.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_a_faulty_function_fails_its_trial_alone(
    function: Callable[[float], Any], reason: str, tmp_path: Path
) -> None:
    run = faulty_run(function, tmp_path)
    failed = expect_one_failure(local(run), reason)
    events = [json.loads(line) for line in run.events_file.read_text().splitlines()]
    events = [event for event in events if event.get("trial") == failed.number]
    details = events[-1].get("details", "")
    if "ValueError" in reason or "sys.exit" in reason or "--trial-timeout" in reason:
        assert "faults.py" in details
        assert function.__name__ in details


def test_much_output_is_kept_from_its_beginning_and_its_end(tmp_path: Path) -> None:
    run = faulty_run(next(f for f in FAULTS if f.__name__ == "prints_100_mb"), tmp_path)
    local(run)
    kept = (run.path / "output" / "00001.txt").read_text(encoding="utf-8")
    assert len(kept) < 2**21
    assert kept.startswith("the first line\nyyy")
    assert "bytes left out" in kept
    assert kept.endswith("yyy\nthe last line\n")
    assert sorted(path.name for path in (run.path / "output").iterdir()) == ["00001.txt"]


def test_the_place_of_a_segfault_is_in_the_trials_output(tmp_path: Path) -> None:
    run = faulty_run(next(f for f in FAULTS if f.__name__ == "segfaults"), tmp_path)
    local(run)
    kept = (run.path / "output" / "00001.txt").read_text()
    assert kept.startswith("said before\n")
    assert "Segmentation fault" in kept
    assert "in segfaults" in kept


def test_a_study_is_the_same_as_its_search_says_whatever_drives_it(make_run: MakeRun) -> None:
    study = local(make_run("quadratic", samples=14, warmup=4, scheduler="none", max_iterations=1))
    assert study.counts()["finished"] == 14
    assert study.counts()["warmup"] == 4
    assert study.best is not None
    assert abs(study.best.config["x"] - 0.3) < 0.05
    assert all(trial.worker and trial.ended and trial.started for trial in study.trials)


def test_asha_stops_the_weak(make_run: MakeRun) -> None:
    study = local(make_run("curve", samples=12, algorithm="random", max_iterations=9))
    stopped = [trial for trial in study.trials if trial.state is TrialState.STOPPED]
    assert len(stopped) >= 4
    assert all(trial.iterations in (1, 3) and trial.reason.startswith("rung ") for trial in stopped)
    assert study.best is not None
    assert study.best.iterations == 9


def test_a_killed_worker_goes_on_from_its_checkpoint(make_run: MakeRun) -> None:
    study = local(make_run("dies_once", samples=2, scheduler="none", max_iterations=5))
    for trial in study.trials:
        assert trial.state is TrialState.FINISHED
        assert [each.number for each in trial.history] == [1, 2, 3, 4, 5]
        assert [each.metrics["begins"] for each in trial.history] == [1, 1, 2, 2, 2]


def test_a_worker_that_always_dies_fails_its_trial_with_the_signal(make_run: MakeRun) -> None:
    study = local(make_run("dies_always", samples=2, max_iterations=1))
    assert [trial.state for trial in study.trials] == [TrialState.FAILED] * 2
    assert all(trial.reason == "its worker died: SIGKILL(-9)" for trial in study.trials)


def test_an_observer_hears_of_each_end_and_sees_the_study(make_run: MakeRun) -> None:
    watching = Watching()
    local(make_run("quadratic", samples=5, max_iterations=1), watching)
    assert sorted(watching.ended) == [0, 1, 2, 3, 4]
    assert max(watching.sizes) == 5


def test_an_observer_that_raises_is_told_of_once_and_ends_nothing(make_run: MakeRun) -> None:
    watching = Watching(broken=True)
    assert local(make_run("quadratic", samples=3, max_iterations=1), watching).closed
    assert [line for line in watching.lines if "showing the study failed" in line] == watching.lines[-1:]


def test_what_is_missing_alone_is_computed_when_a_run_goes_on(make_run: MakeRun) -> None:
    run = make_run("quadratic", samples=4, warmup=2, max_iterations=1)
    first = local(run)
    append(run, "extended", samples=6, warmup=2)
    second = local(run)
    assert [trial.config for trial in second.trials[:4]] == [trial.config for trial in first.trials]
    assert [t.ended for t in second.trials[:4]] == [t.ended for t in first.trials]
    assert second.counts()["finished"] == 6


def test_ctrl_c_leaves_a_run_that_goes_on(make_run: MakeRun) -> None:
    run = make_run("slow_curve", samples=20, scheduler="none", max_iterations=9)
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path\n"
    code += "from driving import local; from tuneapp.studies import RunDirectory\n"
    code += "local(RunDirectory(Path(sys.argv[1])))"
    with subprocess.Popen([sys.executable, "-c", code, str(run.path)]) as driver:
        while sum(trial.iterations for trial in run.read().trials) < 6:
            assert driver.poll() is None
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=60) == 0
    before = run.read()
    assert not before.closed
    after = local(run)
    assert after.closed
    assert after.trials[0].history[: len(before.trials[0].history)] == before.trials[0].history


def test_few_warmup_trials_for_many_workers_are_warned_of(make_run: MakeRun) -> None:
    watching = Watching()
    local(make_run("quadratic", samples=3, warmup=1, max_iterations=1, concurrent=2), watching)
    assert len(watching.lines) == 1
    assert "only 1 come before the model" in watching.lines[0]
    assert "--warmup 2" in watching.lines[0]


def test_a_cluster_is_refused(make_run: MakeRun) -> None:
    run = make_run("quadratic")
    request = replace(run.read().request, resources=Resources(address="auto"))
    with pytest.raises(UsageError, match="--backend ray"):
        local(RunDirectory.create(run.path.parent, "other", request, {}))


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_each_fault_fails_its_trial_alone_with_ray(tmp_path: Path, ray_here: None) -> None:
    names = [function.__name__ for function in FAULTS]
    points = [{"name": name, "x": x} for x in (0.75, 0.25) for name in names]
    hyperparameters = {
        "name": {"type": "categorical", "choices": names},
        "x": {"type": "float", "low": 0.0, "high": 1.0},
    }
    request = Request(
        f"{FAULTY}:any_fault",
        {"hyperparameters": hyperparameters, "points": points},
        Metric("score"),
        search=SearchSettings("points", samples=len(points)),
        resources=Resources(concurrent=2, trial_timeout=10.0),  # a busy machine prints slowly
    )
    study = ray(RunDirectory.create(tmp_path, None, request, {}))
    assert study.closed
    faulty, well = study.trials[: len(names)], study.trials[len(names) :]
    assert [trial.state for trial in well] == [TrialState.FINISHED] * len(names)
    for trial, reason in zip(faulty, FAULTS.values(), strict=True):
        assert not trial.succeeded
        assert reason.replace("2 s", "10 s") in trial.reason


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_run_may_go_on_with_the_other_backend(make_run: MakeRun, ray_here: None) -> None:
    run = make_run("quadratic", samples=3, warmup=3, max_iterations=1)
    local(run)
    append(run, "extended", samples=6, warmup=3)
    ray(run)
    append(run, "extended", samples=8, warmup=3)
    study = local(run)
    assert study.counts()["finished"] == 8
    workers = [trial.worker for trial in study.trials]
    assert set(workers[:3]).isdisjoint(workers[3:6])
