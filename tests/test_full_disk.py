"""A full disk fails no trial: the study ends with one line, and a resume completes it."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import local
from typer.testing import CliRunner

from tuneapp.backends.outcomes import End
from tuneapp.backends.runner import Runner
from tuneapp.cli import app
from tuneapp.errors import NoRoom
from tuneapp.studies import RunDirectory, TrialState

MakeRun = Callable[..., RunDirectory]


@pytest.mark.parametrize("fits", [0, 1, 7, 12])
def test_a_record_that_can_not_grow_ends_the_driver_and_a_resume_completes_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    run = make_run("curve", samples=4, scheduler="none", max_iterations=3)
    real, lines = os.write, 0

    def write(file: int, data: bytes) -> int:
        nonlocal lines
        if Path(f"/proc/self/fd/{file}").readlink() != run.events_file:
            return real(file, data)
        lines += 1
        if lines > fits + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[:9] if lines > fits else data)  # torn, and then nothing

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        result = CliRunner().invoke(app, ["resume", str(run.path), "--no-pictures", "--backend", "local"])
    assert result.exit_code == 1
    assert "no room left on the disk" in result.output
    assert f"tuneapp resume {run.path.name}" in result.output
    before = run.events_file.read_text()
    assert before.count("\n") == fits
    assert not before or before.endswith("\n")
    study = local(run)
    assert study.closed
    assert [trial.state for trial in study.trials] == [TrialState.FINISHED] * 4
    assert run.events_file.read_text().startswith(before)


def _runner(run: RunDirectory) -> Runner:
    runner = Runner(run.read().request, run.path, shared=False)
    runner.begin(0, {"x": 0.5}, 0)
    return runner


@pytest.mark.parametrize(("free", "no_room"), [(0, True), (2**30, False)])
def test_a_trial_without_room_has_not_failed_unless_there_is_room(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, free: int, no_room: bool
) -> None:
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - free, free)
    )
    end = _runner(make_run("has_no_room")).step()[-1]
    assert isinstance(end, End)
    assert end.no_room is no_room
    assert "No space left on device" in end.reason


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of one MiB, and what makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_fails_no_trial(make_run: MakeRun, small_disk: Path) -> None:
    made = make_run("keeps_much", samples=4, scheduler="none", max_iterations=4)
    run = RunDirectory.create(small_disk, "full", made.read().request, {})
    with pytest.raises(NoRoom):
        local(run)
    assert not [trial for trial in run.read().trials if trial.state is TrialState.FAILED]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    study = local(run)
    assert study.closed
    assert study.counts()["finished"] == 4
    assert all([each.number for each in trial.history] == [1, 2, 3, 4] for trial in study.trials)
