"""Whatever ends a driver, nothing that it started is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneapp.studies import RunDirectory

OBJECTIVES = Path(__file__).parent / "objectives.py"
PROGRAM = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
SOON = 5.0  # seconds after which nothing is left


def lives(pid: int) -> bool:
    """Whether the process runs: one that is over and that nobody has asked does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(driver: int) -> list[int]:
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    return [each for each in map(int, children) if b"worker" in Path(f"/proc/{each}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", ["function", "command", "effects"])
def test_workers_and_their_programs_end_with_their_driver(
    tmp_path: Path, how: signal.Signals, kind: str
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    space = ["--param", "level=float:0:1"]
    what = {
        "function": ["tune", f"{OBJECTIVES}:hangs", *space],
        "command": [
            "tune",
            "--command",
            f"{sys.executable} program.py {{level}} {{out}}",
            "--param",
            "level=float:0:1",
        ],
        "effects": ["effects", f"{OBJECTIVES}:hangs", "level", *space],
    }
    command = [sys.executable, "-m", "tuneapp", *what[kind], "--backend", "local", "--concurrent", "1"]
    command += ["--name", "cut", "--no-pictures", "--metric", "score"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        deadline = time.monotonic() + 120
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            assert driver.poll() is None, driver.stderr and driver.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        started = {*workers_of(driver.pid), int((tmp_path / "pid").read_text())}
        os.kill(driver.pid, how)
        _, stderr = driver.communicate(timeout=60)
    until = time.monotonic() + SOON
    while any(map(lives, started)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in started if lives(pid)]
    assert not RunDirectory(tmp_path / "runs" / "cut").read().closed
    if how is not signal.SIGKILL:
        assert driver.returncode == 130, stderr
        assert "tuneapp resume cut" in stderr
        assert "Traceback" not in stderr
