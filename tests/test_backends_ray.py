"""The real Ray: trials run, are stopped, fail and go on as their record says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from driving import ray

from tuneapp.studies import RunDirectory, Study, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]
MakeRun = Callable[..., RunDirectory]


@pytest.fixture(autouse=True)
def _ray(ray_here: None) -> None:
    pass


def test_a_plain_function_is_searched_and_its_record_is_whole(make_run: MakeRun) -> None:
    run = make_run("quadratic", samples=12, warmup=4, scheduler="none", max_iterations=1)
    study = ray(run)
    assert study.closed
    assert study.counts()["total"] == study.counts()["finished"] == 12
    assert study.counts()["warmup"] == 4
    assert study.best is not None
    assert abs(study.best.config["x"] - 0.3) < 0.1
    read = run.read()
    assert read.trials == study.trials
    assert all(trial.worker and trial.ended for trial in read.trials)


def test_asha_stops_the_weak_and_says_at_which_rung(make_run: MakeRun) -> None:
    study = ray(make_run("curve", samples=12, algorithm="random", max_iterations=9))
    stopped = [trial for trial in study.trials if trial.state is TrialState.STOPPED]
    assert len(stopped) >= 4
    assert all(trial.iterations in (1, 3) and trial.reason.startswith("rung ") for trial in stopped)
    assert study.best is not None
    assert study.best.state is TrialState.FINISHED
    assert study.best.iterations == 9


@pytest.mark.parametrize("scheduler", ["hyperband", "median", "none"])
def test_every_scheduler_runs_a_study_to_its_end(make_run: MakeRun, scheduler: str) -> None:
    study = ray(make_run("curve", samples=8, scheduler=scheduler, max_iterations=9))
    counts = study.counts()
    assert counts["finished"] + counts["stopped"] == 8
    assert counts["finished"] == 8 or scheduler != "none"


def test_trials_that_raise_or_diverge_are_counted_and_explained(make_run: MakeRun) -> None:
    study = ray(make_run("raises_above_half", max_iterations=1, algorithm="random"))
    failed = [trial for trial in study.trials if trial.config["x"] > 0.5]
    assert failed
    assert all(t.state is TrialState.FAILED and t.reason.startswith("RuntimeError: no good") for t in failed)
    diverging = ray(make_run("diverges_above_half", algorithm="random", scheduler="none"))
    bad = [trial for trial in diverging.trials if trial.config["x"] > 0.5]
    assert bad
    assert all(trial.state is TrialState.DIVERGED and trial.reason == "score is nan" for trial in bad)
    assert diverging.best is not None
    assert diverging.best.config["x"] <= 0.5


def test_a_killed_worker_goes_on_from_its_checkpoint(make_run: MakeRun) -> None:
    study = ray(make_run("dies_once", samples=2, scheduler="none", max_iterations=5))
    for trial in study.trials:
        assert trial.state is TrialState.FINISHED
        assert [each.number for each in trial.history] == [1, 2, 3, 4, 5]
        assert [each.metrics["begins"] for each in trial.history] == [1, 1, 2, 2, 2]


def test_a_worker_that_always_dies_fails_its_trial_alone(make_run: MakeRun) -> None:
    study = ray(make_run("dies_always", samples=2, max_iterations=1))
    assert study.closed
    assert [trial.state for trial in study.trials] == [TrialState.FAILED] * 2
    assert all("worker died" in trial.reason for trial in study.trials)


def test_only_the_incumbent_keeps_its_checkpoint(make_run: MakeRun) -> None:
    run = make_run("curve", samples=6)
    study = ray(run)
    assert study.best is not None
    kept = sorted(path.name for path in (run.path / "ray" / "checkpoints").iterdir())
    assert kept == [f"{study.best.number:05d}"]
    assert (run.path / str(study.best.checkpoint) / "state").is_file()


def test_a_study_of_the_same_seed_proposes_the_same_warmup(make_run: MakeRun) -> None:
    studies = [ray(make_run("quadratic", samples=5, warmup=5, max_iterations=1, seed=3)) for _ in "ab"]
    assert [t.config for t in studies[0].trials] == [t.config for t in studies[1].trials]


def wait_for(run: RunDirectory, condition: Callable[[Study], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition(run.read()):
        assert process.poll() is None, "the driver ended before it was interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def drive(run: RunDirectory) -> subprocess.Popen[bytes]:
    """A driver in a process of its own, with a Ray of its own."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path\n"
    code += "from driving import ray; from tuneapp.studies import RunDirectory\n"
    code += "ray(RunDirectory(Path(sys.argv[1])))"
    return subprocess.Popen([sys.executable, "-c", code, str(run.path)])


def test_nothing_is_lost_and_nothing_begins_anew_when_the_driver_is_killed(make_run: MakeRun) -> None:
    run = make_run("slow_curve", samples=10, max_iterations=9, seed=1)
    with drive(run) as driver:
        wait_for(run, lambda study: sum(trial.iterations for trial in study.trials) >= 12, driver)
        driver.send_signal(signal.SIGKILL)
    before = run.read()
    with drive(run) as driver:
        assert driver.wait(timeout=240) == 0
    study = run.read()
    assert study.closed
    assert len(study.trials) == 10
    for old, new in zip(before.trials, study.trials, strict=False):
        assert (old.config, old.seed, old.origin) == (new.config, new.seed, new.origin)
        assert new.history[: old.iterations] == old.history
        if not old.over and old.iterations:
            assert new.last["begins"] <= 2
    for trial in study.trials:
        assert [each.number for each in trial.history] == list(range(1, trial.iterations + 1))
        assert trial.over


def test_ctrl_c_leaves_a_run_that_goes_on(make_run: MakeRun) -> None:
    run = make_run("slow_curve", samples=10, max_iterations=9)
    with drive(run) as driver:
        wait_for(run, lambda study: sum(trial.iterations for trial in study.trials) >= 6, driver)
        began = time.monotonic()
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=60) == 0
        assert time.monotonic() - began < 30
    study = run.read()
    assert not study.closed
    assert all(json.loads(line) for line in run.events_file.read_text().splitlines())
    assert ray(run).closed


def test_the_engine_leaves_the_folder_of_the_caller_alone(make_run: MakeRun) -> None:
    here = os.getcwd()  # noqa: PTH109
    ray(make_run("quadratic", samples=2, max_iterations=1))
    assert Path.cwd() == Path(here)


@pytest.mark.slow
def test_a_trial_that_takes_all_memory_fails_alone(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = psutil.virtual_memory()
    threshold = 1 - memory.available / memory.total + 3 * 2**30 / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    run = make_run(
        "hogs_memory_above_half", samples=6, algorithm="random", scheduler="none", max_iterations=1
    )
    with drive(run) as driver:
        assert driver.wait(timeout=240) == 0
    study = run.read()
    assert study.closed
    for trial in study.trials:
        greedy = trial.config["x"] > 0.5
        assert trial.state is (TrialState.FAILED if greedy else TrialState.FINISHED)
        assert trial.reason.startswith("out of memory") == greedy


def test_a_resumed_study_keeps_the_lag_that_its_first_life_planned(make_run: MakeRun) -> None:
    study = ray(make_run("quadratic", samples=4, warmup=2, max_iterations=1, concurrent=2))
    assert study.folder is not None
    assert RunDirectory(study.folder).read().request.search.lag == 1


def test_repeats_keep_the_weights_of_the_best_config_alone(make_run: MakeRun) -> None:
    run = make_run("curve", samples=6, warmup=3, repeats=2, scheduler="none", max_iterations=3)
    study = ray(run)
    assert study.best is not None
    assert any(trial.origin == "repeat" for trial in study.trials)
    kept = [path.name for path in (run.path / "ray" / "checkpoints").iterdir()]
    assert kept == [f"{study.best.number:05d}"]
