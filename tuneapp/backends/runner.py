"""A trial in the process that runs it, whoever drives that: one iteration per call."""

import os
import shutil
import sys
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneapp import objective, tasks
from tuneapp.backends import checkpoints
from tuneapp.backends.isolation import Baseline
from tuneapp.backends.outcomes import End, Outcomes, Report
from tuneapp.backends.output import Output, last_words, path_of, shortened
from tuneapp.errors import TuneappError, printable
from tuneapp.objective import Context, Diverged, iterate
from tuneapp.settings import Config, Metrics, Request
from tuneapp.studies import TrialState
from tuneapp.studies.directory import FULL
from tuneapp.tasks import functions

OURS = (__file__, functions.__file__, objective.__file__)  # what stands between a driver and an objective
LITTLE_ROOM = 2**26  # bytes: a disk with more was not full, whatever a trial's error says
MERCY = 1.0  # seconds that a trial whose time is over has to end by itself


class Runner:
    """Runs the trials of a study, one after the other. Whatever a trial raises comes back as its end, so
    that one bad config costs no process; only the death of the process is the driver's to handle."""

    def __init__(
        self, request: Request, run: Path, function: Any = None, pool: Any = None, shared: bool = True
    ) -> None:
        """function: of a task that was passed by value. pool: where a federation's clients train.
        shared: the process is a worker's, which serves many trials: each finds it as it began, its output
        goes to its file, and what looks like Ctrl-C is the trial's own doing."""
        self.request, self.run_path, self.pool, self.shared = request, run, pool, shared
        self.function = function
        self.results: Generator[Metrics] | None = None
        self.output: Output | None = None
        self.baseline: Baseline | None = None  # from the first trial on whose modules could be imported
        self.threads = max(1, int(request.resources.cpus))
        if function is not None:
            _offer_as_main(function)

    def begin(self, number: int, config: Config, seed: int) -> None:
        """What can't be prepared, as on a full disk, is told by the first step."""
        dropped = self.results is not None  # a trial that a rule or its limit ended: nobody has looked since
        self.close()
        self.unfit = bool(dropped and self.baseline is not None and self.baseline.leftovers())
        if self.unfit:
            return
        self.number = number
        self.unready: OSError | None = None
        try:
            self._prepare(number, seed)
        except OSError as error:
            self.unready = error
        self.results = self._run(config, seed)

    def _prepare(self, number: int, seed: int) -> None:
        self.iterations = 0
        self.seconds = 0.0
        self.plain = False  # the objective returned its result: there will be no other
        self.keeps = False  # something to go on from
        self.resumed_from: Path | None = None
        checkpoints.note_worker(self.run_path, number)
        self.checkpoints = checkpoints.of_trial(self.run_path, number)
        path = path_of(self.run_path, number)
        self.died_before = last_words(path)
        if self.shared:
            os.environ["OMP_NUM_THREADS"] = str(self.threads)  # read as torch is imported
            self.output = Output(path)
        if self.baseline is not None:
            self.baseline.restore(self.threads)
        limit = self.request.resources.trial_timeout
        self.deadline = None if limit is None else time.monotonic() + limit
        if limit is not None and self.output is not None:
            self.output.dump_and_die_after(limit + MERCY)

    def step(self) -> Outcomes:
        """The next iteration, or the end, or an iteration that is the last and the end.

        Empty where the trial was not begun: the one before left something behind in this process, which must
        be replaced.
        """
        if self.unfit:
            return ()
        outcomes = self._step()
        if isinstance(outcomes[-1], End):
            self.close()
            left = "" if self.baseline is None else self.baseline.leftovers()
            return (*outcomes[:-1], replace(outcomes[-1], seconds=self.seconds, replace_worker=left))
        return outcomes

    def close(self) -> None:
        """Drop the trial where it is; what it prints until then is kept."""
        if self.results is not None:
            try:
                self.results.close()
            except BaseException as error:
                if not self.shared and isinstance(error, KeyboardInterrupt):
                    raise
                traceback.print_exc()  # into the trial's output: its end is decided already
            self.results = None
        if self.output is not None:
            self.output.close()
            self.output = None

    def _step(self) -> Outcomes:
        if self.unready is not None:
            return (self._end(self.unready),)
        if self.died_before is not None:
            reason, trace = self.died_before
            return (End(TrialState.FAILED, explain_death(self.request, reason), trace),)
        assert self.results is not None
        self.began = time.perf_counter()
        try:
            metrics = next(self.results)
        except BaseException as error:
            self.seconds += time.perf_counter() - self.began
            return (self._end(error),)
        self.seconds += time.perf_counter() - self.began
        kept = self.resumed_from
        if kept is None and self.keeps:
            try:
                kept = self.checkpoints.keep(self.iterations, metrics, self.request.metric)
            except OSError as error:
                return (self._end(error),)
        self.resumed_from = None
        where = None if kept is None else str(kept.relative_to(self.run_path))
        report = Report(self.iterations, metrics, where, self.seconds)
        if self.plain:
            return report, End(TrialState.FINISHED)
        if self.deadline is not None and time.monotonic() > self.deadline:
            return report, End(TrialState.FAILED, explain_death(self.request, "Timeout"))
        return (report,)

    def _end(self, error: BaseException) -> End:
        """What the error says of the trial. What is too long for the record goes to the trial's output."""
        kind = type(error)  # rather than isinstance, which asks the error itself
        if issubclass(kind, StopIteration):
            return End(TrialState.FINISHED)
        if issubclass(kind, KeyboardInterrupt) and not self.shared:
            raise error
        if issubclass(kind, TuneappError | Diverged):
            state = TrialState.DIVERGED if issubclass(kind, Diverged) else TrialState.FAILED
            reason, details = describe(error, with_type=False), ""
        else:
            state, reason, details = TrialState.FAILED, describe(error), trace_of(error)
        path = path_of(self.run_path, self.number)
        short = End(state, *shortened(reason, details, path))
        if (reason, details) != (short.reason, short.details):
            with suppress(OSError):  # no room for it
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"{reason}\n{details}")
        if issubclass(kind, OSError) and shutil.disk_usage(self.run_path).free < LITTLE_ROOM:
            return replace(short, no_room=error.errno in FULL)  # type: ignore[attr-defined]
        return short

    def _run(self, config: Config, seed: int) -> Generator[Metrics]:
        """The trial's metrics, from the iteration of its checkpoint on: that one is reported again, since
        the process may have died before anyone heard of it."""
        task = tasks.build(self.request, self.function)
        if self.shared:
            if self.baseline is None:
                self.baseline = Baseline()
                self.baseline.restore(self.threads)
            self.baseline.seed(seed)
        self.keeps = task.keeps
        context = Context.of(
            self.request,
            seed,
            folder=self.checkpoints.clear_next() if task.keeps else None,
            timeout=self.request.resources.trial_timeout,
            pool=self.pool,
        )
        if latest := self.checkpoints.all():
            self.iterations, context.checkpoint, metrics = latest[0]
            self.resumed_from = context.checkpoint
            yield metrics
        self.began = time.perf_counter()  # what came before, importing and loading, is the worker's start
        result = task.objective(config, context)
        self.plain = not isinstance(result, Iterator)
        for metrics in iterate(result, self.request.metric, reported=context.checkpoint is not None):
            self.iterations += 1
            yield metrics


def describe(error: BaseException, with_type: bool = True) -> str:
    """What an error says, even one whose own words raise, whatever they raise."""
    kind = printable(type(error).__name__)
    try:
        if isinstance(error, SystemExit):
            return printable(f"it called sys.exit({error.code!r})")
        text = printable(str(error))
    except BaseException as second:
        text = f"its message cannot be shown, since that raises {type(second).__name__}"
        with_type = True
    return f"{kind}: {text}" if with_type else text


def trace_of(error: BaseException) -> str:
    """The traceback as if the objective had been called by itself; empty for an error that can't be looked
    into."""
    try:
        inner = error.__traceback__
        while inner is not None and inner.tb_frame.f_code.co_filename in OURS:
            inner = inner.tb_next
        return printable(
            "".join(traceback.format_exception(type(error), error, inner or error.__traceback__))
        )
    except BaseException:
        return ""


def explain_death(request: Request, reason: str) -> str:
    if reason == "Timeout":
        return f"it ran longer than the {request.resources.trial_timeout:g} s of --trial-timeout"
    return f"its worker died: {reason}"


def _offer_as_main(function: Any) -> None:
    """Put what a function from a script brings along where processes that it starts look for it.

    multiprocessing names a function by its module, which is `__main__` for a script's: there the worker has
    a program of its own.
    """
    main = sys.modules["__main__"]
    for name, value in getattr(function, "__globals__", {}).items():
        if getattr(value, "__module__", None) == "__main__" and not hasattr(main, name):
            setattr(main, name, value)
