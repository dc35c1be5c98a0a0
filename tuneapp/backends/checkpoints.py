"""A trial's checkpoint folder: always one whole checkpoint, whatever moment the process dies at.

<checkpoints>/<trial>/next/            the objective writes here before it yields
<checkpoints>/<trial>/iteration-7/     what it wrote, with the metrics it yielded; the older one is deleted
"""

import json
import os
import shutil
import socket
from pathlib import Path

from tuneapp.settings import Metrics

METRICS_FILE = "iteration.json"


class Checkpoints:
    """One trial's. The driver and the worker see the same folder: on a cluster, a shared file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.next = folder / "next"

    def clear_next(self) -> Path:
        """An empty folder for the objective to write to."""
        shutil.rmtree(self.next, ignore_errors=True)
        self.next.mkdir(parents=True)
        return self.next

    def latest(self) -> tuple[Path, Metrics] | None:
        """The newest whole checkpoint and the metrics of its iteration."""
        for path in sorted(self.folder.glob("iteration-*"), key=_iteration, reverse=True):
            try:
                return path, json.loads((path / METRICS_FILE).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # cut off while its predecessor was still there
        return None

    def keep(self, iteration: int, metrics: Metrics) -> Path | None:
        """Make what lies in `next` the trial's checkpoint. None where nothing was written."""
        if not any(self.next.iterdir()):
            return None
        (self.next / METRICS_FILE).write_text(json.dumps(metrics), encoding="utf-8")
        path = self.folder / f"iteration-{iteration}"
        shutil.rmtree(path, ignore_errors=True)
        self.next.rename(path)
        for older in self.folder.glob("iteration-*"):
            if older != path:
                shutil.rmtree(older, ignore_errors=True)
        self.next.mkdir()
        return path

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def of_trial(run: Path, number: int) -> Checkpoints:
    return Checkpoints(run / "ray" / "checkpoints" / f"{number:05d}")


def note_worker(run: Path, number: int) -> None:
    """Note who runs the trial: what Ray says of a process it killed is its pid, not its trial."""
    file = _workers(run) / f"{socket.gethostname()}:{os.getpid()}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(number), encoding="utf-8")


def worker_of(run: Path, number: int) -> str:
    """host:pid of the process that ran the trial last; empty before the first."""
    files = sorted(_workers(run).glob("*"), key=lambda file: file.stat().st_mtime, reverse=True)
    return next((file.name for file in files if file.read_text(encoding="utf-8") == str(number)), "")


def _workers(run: Path) -> Path:
    return run / "ray" / "workers"


def _iteration(path: Path) -> int:
    tail = path.name.rsplit("-", 1)[-1]
    return int(tail) if tail.isdigit() else -1
