"""A trial's checkpoint folder: always a whole checkpoint, whatever moment the process dies at.

<checkpoints>/<trial>/next/            the objective writes here before it yields
<checkpoints>/<trial>/iteration-7/     what it wrote, with the metrics it yielded
"""

import json
import math
import os
import shutil
import socket
from pathlib import Path

from tuneapp.settings import Metric, Metrics

METRICS_FILE = "iteration.json"


class Checkpoints:
    """Those of one trial: the latest, from which it can go on, and the best where that is what counts.

    The driver and the worker see the same folder: on a cluster, a shared file system.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.next = folder / "next"

    def clear_next(self) -> Path:
        """An empty folder for the objective to write to."""
        shutil.rmtree(self.next, ignore_errors=True)
        self.next.mkdir(parents=True)
        return self.next

    def all(self) -> list[tuple[int, Path, Metrics]]:
        """(iteration, folder, its metrics) of every whole checkpoint, the latest first."""
        found = []
        for path in sorted(self.folder.glob("iteration-*"), key=_iteration, reverse=True):
            try:
                stored = json.loads((path / METRICS_FILE).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # cut off while its predecessor was still there
            if not isinstance(stored.get("metrics"), dict):  # as 0.1.0 wrote it
                stored = {"metrics": {key: value for key, value in stored.items() if key != "iteration"}}
            found.append((_iteration(path), path, stored["metrics"]))
        return found

    def keep(self, iteration: int, metrics: Metrics, metric: Metric) -> Path | None:
        """Make what lies in `next` the trial's latest checkpoint. None where nothing was written."""
        if not any(self.next.iterdir()):
            return None
        stored = {"iteration": iteration, "metrics": metrics}
        (self.next / METRICS_FILE).write_text(json.dumps(stored), encoding="utf-8")
        path = self.folder / f"iteration-{iteration}"
        shutil.rmtree(path, ignore_errors=True)
        self.next.rename(path)
        best = self._best(metric) if metric.at == "best" else None
        for older in self.folder.glob("iteration-*"):
            if older not in (path, best):
                shutil.rmtree(older, ignore_errors=True)
        self.next.mkdir()
        return path

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _best(self, metric: Metric) -> Path | None:
        scored = [
            (metric.score(metrics[metric.name]), -iteration, path)
            for iteration, path, metrics in self.all()
            if math.isfinite(metrics.get(metric.name, math.nan))
        ]
        return max(scored)[2] if scored else None


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
