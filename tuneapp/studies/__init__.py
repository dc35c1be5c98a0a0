"""Trials, studies and the run directory: written as it happens, read back from any state.

`run.json` holds the frozen request, `trials.jsonl` one line an event, appended and flushed. Together they
are the truth: a Study is rebuilt from them after a crash, in mid-run, or on another machine.
"""

import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import FileLock, Timeout

from tuneapp.errors import TuneappError, UsageError, nearest
from tuneapp.settings import Config, Metric, Metrics, Request, config_key

Event = dict[str, Any]


class State(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"  # ran to its end
    STOPPED = "stopped"  # by the scheduler, early
    DIVERGED = "diverged"  # its loss became nan or infinite
    FAILED = "failed"  # raised, or its worker died


@dataclass
class Trial:
    """One config, evaluated once with one seed."""

    number: int  # from 0, in the order of asking
    config: Config
    origin: str  # which part of the search proposed it: point, warmup, random, grid, bayes
    seed: int
    state: State = State.RUNNING
    history: list[Metrics] = field(default_factory=list)  # one item an iteration, "iteration" among its keys
    reason: str = ""  # why it was stopped, diverged or failed
    asked: float = 0.0  # unix seconds, as the other two
    started: float | None = None
    ended: float | None = None
    worker: str = ""  # host:pid
    checkpoint: str | None = None  # the latest, a folder relative to the run directory

    @property
    def iterations(self) -> int:
        """The last iteration reported; 0 before the first."""
        return int(self.history[-1]["iteration"]) if self.history else 0

    @property
    def over(self) -> bool:
        return self.state is not State.RUNNING

    @property
    def succeeded(self) -> bool:
        """Finished or stopped: its last value counts."""
        return self.state in (State.FINISHED, State.STOPPED)

    @property
    def seconds(self) -> float:
        """From its start to its end; to its last result while it runs. 0 before it starts."""
        if self.started is None:
            return 0.0
        last = self.ended
        if last is None:
            last = self.history[-1].get("time", self.started) if self.history else self.started
        return max(0.0, last - self.started)

    def value(self, metric: str) -> float | None:
        """The metric at the last iteration that reported a finite one."""
        for metrics in reversed(self.history):
            value = metrics.get(metric)
            if value is not None and math.isfinite(value):
                return value
        return None

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """(iteration, value) pairs, where the metric was reported."""
        return [(int(m["iteration"]), m[metric]) for m in self.history if metric in m]


@dataclass
class Study:
    """All trials of a command."""

    request: Request
    trials: list[Trial] = field(default_factory=list)
    folder: Path | None = None  # the run directory, where there is one
    facts: dict[str, Any] = field(
        default_factory=dict
    )  # run.json beside the request: argv, versions, machine …
    test: Metrics | None = None  # the incumbent on the test set, read once
    tested: int | None = None  # the trial it was read for
    closed: bool = False  # the driver came to its end

    @property
    def metric(self) -> Metric:
        return self.request.metric

    @property
    def name(self) -> str:
        return self.folder.name if self.folder else self.request.task

    def value(self, trial: Trial) -> float | None:
        return trial.value(self.metric.name)

    def score(self, trial: Trial) -> float | None:
        """Higher is better; None where the trial does not count (running, diverged, failed, no value)."""
        value = self.value(trial) if trial.succeeded else None
        return None if value is None else self.metric.score(value)

    @property
    def several_seeds(self) -> bool:
        """Whether configs run on more than one seed: then their means count, not single trials."""
        return self.request.search.repeats > 1 or self.request.search.algorithm == "cells"

    @property
    def best(self) -> Trial | None:
        """The incumbent: the highest score, the earlier trial at a tie.

        Where configs run on several seeds it is the best trial of the best config: that of the highest mean
        among those with the most seeds, since a mean of fewer is luckier.
        """
        scored = [(score, -trial.number) for trial in self.trials if (score := self.score(trial)) is not None]
        if self.several_seeds:
            configs: dict[str, list[tuple[float, int]]] = {}
            for score, number in scored:
                configs.setdefault(config_key(self.trials[-number].config), []).append((score, number))
            scored = max(
                configs.values(), key=lambda each: (len(each), fmean(score for score, _ in each)), default=[]
            )
        return self.trials[-max(scored)[1]] if scored else None

    @property
    def seconds(self) -> float:
        """From the first trial's asking to the last news of any: the pause of an interrupted study counts."""
        times = [trial.ended or trial.started or trial.asked for trial in self.trials]
        times += [trial.history[-1]["time"] for trial in self.trials if trial.history]
        return max(times) - self.trials[0].asked if times else 0.0

    def counts(self) -> dict[str, int]:
        """Trials by state, in all, and how many came before the model (`warmup`)."""
        counts = {"total": len(self.trials)}
        counts |= {state.value: sum(trial.state is state for trial in self.trials) for state in State}
        counts["warmup"] = sum(trial.origin == "warmup" for trial in self.trials)
        return counts

    def apply(self, event: Event) -> None:
        """Take one line of trials.jsonl into account. Unknown kinds are left out."""
        kind, when = event["event"], event["time"]
        if kind in ("closed", "extended", "asked", "started"):
            self.closed = kind == "closed"
        if kind == "asked":
            trial = Trial(event["trial"], event["config"], event["origin"], event["seed"], asked=when)
            if trial.number != len(self.trials):
                raise TuneappError(
                    f"Trials must be asked in order, but {trial.number} came after {len(self.trials) - 1}: "
                    "trials.jsonl was edited or mixed from two runs."
                )
            self.trials.append(trial)
        elif kind == "extended":
            search = replace(self.request.search, samples=event["samples"], warmup=event["warmup"])
            self.request = replace(self.request, search=search)
        elif kind == "planned":
            self.request = replace(self.request, search=replace(self.request.search, lag=event["lag"]))
        elif kind == "tested":
            self.test, self.tested = _numbers(event["metrics"]), event["trial"]
        elif "trial" in event:
            trial = self.trials[event["trial"]]
            if kind == "started":
                trial.started = when if trial.started is None else trial.started
            elif kind == "iteration":
                trial.history.append(
                    {**_numbers(event["metrics"]), "iteration": event["iteration"], "time": when}
                )
                trial.checkpoint = event.get("checkpoint", trial.checkpoint)
                trial.worker = event.get("worker", trial.worker)
            elif kind in (State.FINISHED, State.STOPPED, State.DIVERGED, State.FAILED):
                trial.state, trial.reason, trial.ended = State(kind), event.get("reason", ""), when


class RunDirectory:
    """The files of one run. Only the driver that holds the lock writes."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # Ray's workers have other working directories

    @property
    def events_file(self) -> Path:
        return self.path / "trials.jsonl"

    @classmethod
    def create(
        cls, runs_dir: Path, name: str | None, request: Request, facts: dict[str, Any]
    ) -> "RunDirectory":
        """A new folder, never one that exists; raises UsageError where it can't be written.

        Without a name it is called after the time and the task, and numbered where that is taken.
        """
        if name is not None and not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
            raise UsageError(f"A run's name must be letters, digits, '.', '_' and '-', but got '{name}'.")
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            path = _claim(runs_dir, name, request.task)
            run = cls(path)
            _write_atomically(
                run.path / "run.json", json.dumps({"request": request.to_json(), **facts}, indent=2)
            )
            run.events_file.touch()
        except OSError as error:
            raise UsageError(
                f"The runs folder must be writable, but {runs_dir} is not ({error.strerror}); choose another "
                "with --runs-dir."
            ) from error
        return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one driver of this run; freed by the system when its process dies."""
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"{self.path.name} is still being run by another process; wait or stop it."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def locked(self) -> bool:
        """Whether a driver runs it now."""
        try:
            with self.lock():
                return False
        except UsageError:
            return True

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event now, as one flushed line, and return it as a reader would see it."""
        line = json.dumps({"event": event, "time": time.time(), **_plain(fields)}, allow_nan=False)
        with self.events_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return dict(json.loads(line))

    def mend(self) -> None:
        """Cut a torn last line off, so that the next event starts a line of its own."""
        raw = self.events_file.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.truncate(self.events_file, whole)

    def read(self) -> Study:
        """The study as far as it is written."""
        try:
            facts = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            study = Study(Request.from_json(facts.pop("request")), folder=self.path, facts=facts)
        except FileNotFoundError:
            raise UsageError(
                f"{self.path} is no run directory: it has no run.json. `tuneapp runs` lists them."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise TuneappError(
                f"{self.path / 'run.json'} cannot be read ({error!r}); restore it from a copy."
            ) from error
        for event in self._events():
            study.apply(event)
        return study

    def _events(self) -> Iterable[Event]:
        if not self.events_file.exists():
            return
        lines = self.events_file.read_text(encoding="utf-8", errors="replace").split("\n")
        for position, line in enumerate(lines[:-1]):  # what follows the last newline is torn or empty
            try:
                yield json.loads(line)
            except ValueError as error:
                raise TuneappError(
                    f"{self.events_file}, line {position + 1} is not JSON ({error}); delete that line to go "
                    "on without its event."
                ) from None


def find_run(name: str, runs_dir: Path) -> RunDirectory:
    """A run by its path, its name, or `latest`; raises UsageError with the nearest name."""
    as_path = Path(name)
    if (as_path / "run.json").is_file():
        return RunDirectory(as_path)
    runs = list_runs(runs_dir)
    if name == "latest" and runs:
        return runs[-1]
    by_name = {run.path.name: run for run in runs}
    if name in by_name:
        return by_name[name]
    raise UsageError(
        f"No run named '{name}' in {runs_dir}; `tuneapp runs` lists them.{nearest(name, by_name)}"
    )


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """All run directories below runs_dir, the oldest first."""
    files = sorted(runs_dir.glob("*/run.json"), key=lambda file: (file.stat().st_mtime, file.parent.name))
    return [RunDirectory(file.parent) for file in files]


def _claim(runs_dir: Path, name: str | None, task: str) -> Path:
    """Make the folder; that it is made here and now is what keeps two runs apart."""
    if name is not None:
        try:
            (runs_dir / name).mkdir()
        except FileExistsError:
            raise UsageError(
                f"A run named '{name}' is there already in {runs_dir}; choose another --name, or go on with "
                f"`tuneapp resume {name}`."
            ) from None
        return runs_dir / name
    short = re.sub(r"[^\w.-]+", "-", task.rsplit("/", 1)[-1]).strip("-") or "study"
    stem = f"{datetime.now():%Y-%m-%d-%H%M}-{short}"
    for count in range(1, 10_000):
        path = runs_dir / (stem if count == 1 else f"{stem}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise UsageError(f"{runs_dir} holds 10,000 runs of this minute; choose another --runs-dir.")


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _plain(value: Any) -> Any:
    """JSON has no nan and no infinity: they travel as the strings that float() reads."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()  # numpy and torch scalars
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _numbers(metrics: dict[str, Any]) -> Metrics:
    return {key: float(value) if isinstance(value, str) else value for key, value in metrics.items()}
