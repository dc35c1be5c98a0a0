"""Runs a study in processes of this machine, without Ray: for debugging, for tests, for short functions.

The same search, schedulers, record and runner as with Ray. A slot is a pool of one process, so that a trial
that is stopped, dies or hangs concerns nobody else, and its next iteration is asked for where it is.
"""

import math
import os
import re
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cloudpickle
from joblib.externals.loky import ProcessPoolExecutor

from tuneapp.backends import machine
from tuneapp.backends.record import (
    Listener,
    Record,
    Watcher,
    close,
    plan,
    search_of,
    tell_of_idle_workers,
)
from tuneapp.backends.runner import DETAILS, ENDED, ITERATION, Runner, Step
from tuneapp.errors import UsageError, first_line
from tuneapp.settings import Config, Request
from tuneapp.studies import RunDirectory, Study, Trial, TrialState

WORKER_RESTARTS = 2  # of one trial whose process dies, from its checkpoint
TRACEBACKS = 3  # told at most; all are in the record
LOOK_UP = 0.5  # seconds between two calls of the watchers while all trials compute


def run(
    run_directory: RunDirectory,
    watchers: list[Watcher] | None = None,
    listeners: list[Listener] | None = None,
    function: bytes | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Study:
    """As engine.run. Ctrl-C ends it with whatever is recorded; the study is then not closed."""
    study = run_directory.read()
    resources = study.request.resources
    if resources.address is not None:
        raise UsageError(
            "The local backend is this machine's alone; leave --address out, or use --backend ray."
        )
    if resources.actors:
        raise UsageError("The local backend has no client actors; use --backend ray.")
    with run_directory.lock():
        run_directory.mend()
        at_once = machine.concurrency(resources, machine.local_resources(resources))
        at_once = min(at_once, study.request.search.samples)
        tell_of_idle_workers(study, at_once, tell)
        plan(run_directory, study, at_once)
        record = Record(run_directory, study, search_of(study, at_once), watchers or [], listeners)
        driver = _Driver(record, at_once, function, tell)
        try:
            driver.run()
        except KeyboardInterrupt:
            return study
        finally:
            driver.stop()
        close(run_directory, study)
    return study


class _Slot:
    """One worker process; it starts with its first call, and anew after its death."""

    def __init__(self, request: Request, run: Path, function: bytes | None) -> None:
        self.setup = (cloudpickle.dumps(request), str(run), function)
        self.pool: Any = None

    def call(self, work: Callable[..., Step], *arguments: Any) -> "Future[Step]":
        if self.pool is None:
            self.pool = ProcessPoolExecutor(max_workers=1, initializer=_set_up, initargs=self.setup)
        future: Future[Step] = self.pool.submit(work, *arguments)
        return future

    def kill(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, kill_workers=True)
            self.pool = None


class _Driver:
    def __init__(
        self, record: Record, at_once: int, function: bytes | None, tell: Callable[[str], None]
    ) -> None:
        self.record, self.study, self.tell = record, record.study, tell
        self.told = 0
        self.scheduler: _Scheduler | None = None
        self.slots = [_Slot(self.study.request, record.run.path, function) for _ in range(at_once)]
        self.unfinished = deque(trial for trial in self.study.trials if not trial.over)
        self.running: dict[Future[Step], tuple[Trial, _Slot]] = {}
        self.deaths: dict[int, int] = {}

    def run(self) -> None:
        free = list(self.slots)
        while True:
            while free and (trial := self._next()) is not None:
                self._begin(trial, free.pop())
            if not self.running:
                return
            done, _ = wait(self.running, timeout=LOOK_UP, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: self.running[one][0].number):
                trial, slot = self.running.pop(future)
                if not self._goes_on(trial, slot, future):
                    free.append(slot)
            self.record.watch()

    def stop(self) -> None:
        for slot in self.slots:
            slot.kill()

    def _next(self) -> Trial | None:
        """First those that an earlier life of the study left unfinished. None: nothing to start now."""
        if self.unfinished:
            return self.unfinished.popleft()
        return None if self.record.search.exhausted else self.record.ask()

    def _begin(self, trial: Trial, slot: _Slot) -> None:
        self.record.start(trial)
        self.running[slot.call(_begin, trial.number, trial.config, trial.seed)] = (trial, slot)

    def _goes_on(self, trial: Trial, slot: _Slot, future: "Future[Step]") -> bool:
        """Take a step, or the process's death, into account; whether the trial keeps the slot."""
        try:
            step = future.result()
        except BrokenProcessPool as error:
            slot.kill()
            return self._restarts(trial, slot, error)
        if ENDED not in step:  # it may have to be stopped
            self.scheduler = self.scheduler or _Scheduler(self.study)
        known = trial.iterations
        self.record.take(trial, step, step["worker"])
        if ENDED in step:
            if step[DETAILS] and self.told < TRACEBACKS:
                self.told += 1
                self.tell(f"trial {trial.number} failed:\n{step[DETAILS].rstrip()}")
            return False
        if trial.iterations >= (self.study.request.scheduler.max_iterations or math.inf):
            self.record.end(trial, TrialState.FINISHED)
            return False
        if self.scheduler and step[ITERATION] > known and self.scheduler.stops(trial):
            value = trial.history[-1][self.study.metric.name]
            self.record.end(trial, TrialState.STOPPED, self.scheduler.why(trial, value))
            return False
        self.running[slot.call(_step)] = (trial, slot)
        return True

    def _restarts(self, trial: Trial, slot: _Slot, error: Exception) -> bool:
        self.deaths[trial.number] = self.deaths.get(trial.number, 0) + 1
        if self.deaths[trial.number] > WORKER_RESTARTS or self.record.has_last_words(trial):
            self.record.lose(trial, _cause(error))
            return False
        self.record.restart(trial)
        self._begin(trial, slot)
        return True


class _Scheduler:
    """One of Ray's schedulers, without Ray: it is told plain numbers, and answers whether to stop.

    It knows the study as it is when this is made, and then what it is told.
    """

    def __init__(self, study: Study) -> None:
        from tuneapp.backends.ray import schedulers  # imports Ray, which plain functions do without

        self.known = schedulers.Known
        self.rule = schedulers.build(study.request, study)
        self.added = {trial.number for trial in study.trials if trial.history or trial.over}

    def stops(self, trial: Trial) -> bool:
        known = self.known(str(trial.number))
        if trial.number not in self.added:
            self.rule.on_trial_add(None, known)
            self.added.add(trial.number)
        return bool(self.rule.on_trial_result(None, known, trial.history[-1]) == self.rule.STOP)

    def why(self, trial: Trial, value: float) -> str:
        return str(self.rule.why(trial.number, trial.iterations, value))


def _cause(error: Exception) -> str:
    """What loky knows of the death: `SIGKILL(-9)`."""
    codes = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
    return codes[1] if codes else first_line(error)


# What follows runs in the worker.
_runner: Runner | None = None


def _set_up(request: bytes, run: str, function: bytes | None) -> None:
    global _runner
    passed = None if function is None else cloudpickle.loads(function)
    _runner = Runner(cloudpickle.loads(request), Path(run), passed)


def _begin(number: int, config: Config, seed: int) -> Step:
    assert _runner is not None
    _runner.begin(number, config, seed)
    return _step()


def _step() -> Step:
    assert _runner is not None
    return {**_runner.step(), "worker": f"{socket.gethostname()}:{os.getpid()}"}
