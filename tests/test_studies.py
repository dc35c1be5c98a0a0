"""The record of a run: what is written is what is read, whatever moment the writer died at."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import append

from tuneapp.errors import TuneappError, UsageError
from tuneapp.settings import Metric, Request, SearchSettings
from tuneapp.studies import RunDirectory, Study, TrialState, find_run, list_runs

REQUEST = Request("digits", {"hyperparameters": {}}, Metric("val_accuracy"))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "one", REQUEST, {"argv": ["tune", "digits"]})


def trial(run: RunDirectory, number: int, *values: float, end: str | None = "finished") -> None:
    append(run, "asked", trial=number, config={"lr": 0.1}, origin="warmup", seed=0)
    append(run, "started", trial=number)
    for iteration, value in enumerate(values, start=1):
        append(
            run,
            "iteration",
            trial=number,
            iteration=iteration,
            metrics={"val_accuracy": value},
            worker="host:1",
        )
    if end:
        append(run, end, trial=number)


def test_what_is_written_is_read_back(run: RunDirectory) -> None:
    trial(run, 0, 0.5, 0.75)
    study = run.read()
    assert study.request == REQUEST
    assert study.facts["argv"] == ["tune", "digits"]
    only = study.trials[0]
    assert (only.state, only.iterations, only.worker) == (TrialState.FINISHED, 2, "host:1")
    assert only.curve("val_accuracy") == [(1, 0.5), (2, 0.75)]
    assert only.seconds >= 0


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=5))
def test_every_float_survives_the_record(values: list[float]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder), None, REQUEST, {})
        trial(run, 0, *values)
        for line in run.events_file.read_text().splitlines():
            json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        read = [value for _, value in run.read().trials[0].curve("val_accuracy")]
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(read, values, strict=True))


def test_a_torn_last_line_is_left_out_and_cut_off(run: RunDirectory) -> None:
    trial(run, 0, 0.5, end=None)
    whole = run.events_file.read_bytes()
    for cut in range(len(whole)):
        run.events_file.write_bytes(whole[:cut])
        told = len(run.read().trials)
        run.mend()
        append(run, "closed")
        assert len(run.read().trials) == told
        assert json.loads(run.events_file.read_text().splitlines()[-1])["event"] == "closed"


def test_a_broken_line_in_the_middle_is_named(run: RunDirectory) -> None:
    trial(run, 0, 0.5)
    lines = run.events_file.read_text().splitlines(keepends=True)
    run.events_file.write_text(lines[0] + "garbage\n" + "".join(lines[1:]))
    with pytest.raises(TuneappError, match=r"trials\.jsonl, line 2"):
        run.read()


def test_the_incumbent_is_the_best_that_ended_well_and_the_earlier_at_a_tie(run: RunDirectory) -> None:
    trial(run, 0, 0.9, end="failed")
    trial(run, 1, 0.7)
    trial(run, 2, 0.7, end="stopped")
    trial(run, 3, 0.8, end="diverged")
    trial(run, 4, 0.99, end=None)
    study = run.read()
    assert study.best is study.trials[1]
    assert study.counts() == {
        "total": 5,
        "running": 1,
        "finished": 1,
        "limited": 0,
        "stopped": 1,
        "diverged": 1,
        "failed": 1,
        "warmup": 5,
    }


def test_less_is_better_where_the_mode_is_min(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, None, Request("x", {}, Metric("val_accuracy", "min")), {})
    trial(run, 0, 0.3)
    trial(run, 1, 0.2)
    study = run.read()
    assert study.best is study.trials[1]
    assert study.score(study.trials[1]) == -0.2


def test_a_run_of_the_same_name_is_never_overwritten(tmp_path: Path, run: RunDirectory) -> None:
    with pytest.raises(UsageError, match="tuneapp resume one"):
        RunDirectory.create(tmp_path, "one", REQUEST, {})
    assert run.read().trials == []


def test_runs_without_a_name_never_share_a_folder(tmp_path: Path) -> None:
    folders = {RunDirectory.create(tmp_path, None, REQUEST, {}).path for _ in range(5)}
    assert len(folders) == 5


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a b", "/etc"])
def test_a_name_stays_inside_the_runs_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name must be"):
        RunDirectory.create(tmp_path / "runs", name, REQUEST, {})
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--runs-dir"):
        RunDirectory.create(tmp_path / "file" / "runs", None, REQUEST, {})


def test_only_one_process_drives_a_run(run: RunDirectory) -> None:
    code = (
        "import sys; from pathlib import Path; from tuneapp.studies import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert run.locked()
        with pytest.raises(UsageError, match="another process"), run.lock():
            pass
        other.kill()
    assert not run.locked()


def test_runs_are_found_by_path_by_name_and_as_the_latest(tmp_path: Path, run: RunDirectory) -> None:
    assert find_run(str(run.path), tmp_path).path == run.path
    assert find_run("one", tmp_path).path == run.path
    assert find_run("latest", tmp_path).path == list_runs(tmp_path)[-1].path == run.path
    with pytest.raises(UsageError, match="Did you mean 'one'"):
        find_run("onw", tmp_path)


def test_more_samples_change_the_request_but_not_the_planned_warmup(run: RunDirectory) -> None:
    append(run, "extended", samples=90, warmup=10)
    settings = run.read().request.search
    assert (settings.samples, settings.warmup_trials) == (90, 10)


@given(st.integers(1, 200), st.one_of(st.none(), st.integers(0, 300)))
def test_the_warmup_is_never_longer_than_the_search(samples: int, warmup: int | None) -> None:
    chosen = SearchSettings(samples=samples, warmup=warmup).warmup_trials
    assert 0 <= chosen <= samples
    if warmup is None:
        assert 1 <= chosen <= 10


def test_a_study_of_no_trials_has_no_incumbent() -> None:
    study = Study(REQUEST)
    assert study.best is None
    assert study.seconds == 0


def test_with_several_seeds_the_best_mean_of_the_most_seeds_is_the_incumbent(tmp_path: Path) -> None:
    request = Request("x", {}, Metric("val_accuracy"), search=SearchSettings(repeats=3))
    run = RunDirectory.create(tmp_path, None, request, {})
    outcomes = [(0.1, 0.7), (0.2, 0.9), (0.2, 0.5), (0.1, 0.8), (0.3, 0.99)]  # (lr, score)
    for number, (lr, value) in enumerate(outcomes):
        append(run, "asked", trial=number, config={"lr": lr}, origin="warmup", seed=number)
        append(run, "iteration", trial=number, iteration=1, metrics={"val_accuracy": value})
        append(run, "finished", trial=number)
    study = run.read()
    assert study.best is study.trials[3]  # mean .75 on two seeds; .70 on two; .99 on one alone
