"""Runs a study in processes of this machine, without Ray: for debugging, for tests, for short functions.

The same session, search, stopping rules and runner as with Ray. Each worker runs one trial at a time, so that
a trial that is stopped, dies or hangs concerns nobody else.
"""

from multiprocessing.connection import wait

from tuneapp.backends import machine
from tuneapp.backends.base import Session
from tuneapp.backends.outcomes import End
from tuneapp.backends.worker import Worker
from tuneapp.errors import UsageError
from tuneapp.studies import Trial

WORKER_RESTARTS = 2  # of one trial whose process dies, from its checkpoint
TRACEBACKS = 3  # shown at most; all are in the record
LOOK_UP = 0.5  # seconds between two ticks while all trials compute


def drive(session: Session) -> None:
    """Raises UsageError for a study that wants a cluster or client actors, KeyboardInterrupt at Ctrl-C."""
    resources = session.study.request.resources
    if resources.address is not None:
        raise UsageError(
            "The local backend is this machine's alone; leave --address out, or use --backend ray."
        )
    if resources.actors:
        raise UsageError("The local backend has no client actors; use --backend ray.")
    at_once = machine.concurrency(resources, machine.local_resources(resources))
    at_once = min(at_once, session.study.request.search.samples)
    session.plan(at_once)
    driver = _Driver(session)
    try:
        driver.run(at_once)
    finally:
        driver.stop()


class _Driver:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.idle: list[Worker] = []
        self.running: dict[Worker, Trial] = {}
        self.deaths: dict[int, int] = {}
        self.tracebacks = 0

    def run(self, at_once: int) -> None:
        while True:
            while len(self.running) < at_once and (trial := self.session.next()) is not None:
                self.session.start(trial)
                self._begin(trial, self.idle.pop() if self.idle else self._worker())
            if not self.running:
                return
            ready = set(wait([worker.connection for worker in self.running], timeout=LOOK_UP))
            done = [worker for worker in self.running if worker.connection in ready]
            for worker in sorted(done, key=lambda one: self.running[one].number):
                self._receive(worker, self.running.pop(worker))
            self.session.tick()

    def stop(self) -> None:
        for worker in [*self.idle, *self.running]:
            worker.kill()

    def _worker(self) -> Worker:
        return Worker(self.session.study.request, self.session.run.path, self.session.how.function)

    def _begin(self, trial: Trial, worker: Worker) -> None:
        worker.begin(trial.number, trial.config, trial.seed)
        self.running[worker] = trial

    def _receive(self, worker: Worker, trial: Trial) -> None:
        try:
            outcomes, name = worker.receive()
        except EOFError:
            self._died(trial, worker.kill())
            return
        if not outcomes:
            self.session.tell_of_leftovers("a trial that was ended early left something behind")
            worker.kill()
            self._begin(trial, self._worker())
            return
        if self.session.take(trial, outcomes, name):
            worker.step()
            self.running[worker] = trial
            return
        last = outcomes[-1]
        if isinstance(last, End):
            self._show_traceback(trial, last)
            if last.replace_worker:
                worker.kill()
                return
        self.idle.append(worker)

    def _died(self, trial: Trial, cause: str) -> None:
        self.deaths[trial.number] = self.deaths.get(trial.number, 0) + 1
        if self.deaths[trial.number] > WORKER_RESTARTS or self.session.has_last_words(trial):
            self.session.lose(trial, cause)
        else:
            self.session.restart(trial)
            self._begin(trial, self._worker())

    def _show_traceback(self, trial: Trial, end: End) -> None:
        ended = self.session.ended_by == "failures"  # then the session has shown the first
        if end.details and self.tracebacks < TRACEBACKS and not ended:
            self.tracebacks += 1
            self.session.tell(f"trial {trial.number} failed:\n{end.details.rstrip()}")
