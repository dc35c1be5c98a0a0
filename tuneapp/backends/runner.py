"""A trial in the process that runs it, whoever drives that: one iteration a call."""

import os
import time
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from tuneapp import objective, tasks
from tuneapp.backends import checkpoints
from tuneapp.backends.output import Output, last_words, path_of
from tuneapp.errors import TuneappError
from tuneapp.objective import Context, Diverged, iterate
from tuneapp.settings import Config, Metrics, Request
from tuneapp.studies import State
from tuneapp.tasks import functions

# What a step returns. `ended` comes with the reason: in the last step of a trial, alone or with its metrics.
ITERATION, METRICS, CHECKPOINT, ENDED, REASON, DETAILS = (
    "iteration",
    "metrics",
    "checkpoint",
    "ended",
    "reason",
    "details",
)
Step = dict[str, Any]
OURS = (__file__, functions.__file__, objective.__file__)  # what stands between a driver and an objective
MERCY = 1.0  # seconds that a trial whose time is over has to end by itself


class Runner:
    """Runs the trials of a study, one after the other. Exceptions come back as a failed trial's reason, so
    that one bad config costs no process; only the death of the process is the driver's to handle."""

    def __init__(
        self, request: Request, run: Path, function: Any = None, pool: Any = None, captures: bool = True
    ) -> None:
        """function: of a task that was passed by value. pool: where a federation's clients train.
        captures: what a trial prints goes to its file, not to the terminal."""
        self.request, self.run_path, self.pool, self.captures = request, run, pool, captures
        self.function = function
        self.results: Generator[Metrics] | None = None
        self.output: Output | None = None

    def begin(self, number: int, config: Config, seed: int) -> None:
        self.close()
        self.iterations = 0
        self.plain = False  # the objective returned its result: there will be no other
        self.keeps = False  # something to go on from
        self.resumed_from: Path | None = None
        checkpoints.note_worker(self.run_path, number)
        self.checkpoints = checkpoints.of_trial(self.run_path, number)
        path = path_of(self.run_path, number)
        self.died_before = last_words(path)
        self.output = Output(path) if self.captures else None
        limit = self.request.resources.trial_timeout
        self.deadline = None if limit is None else time.monotonic() + limit
        if limit is not None and self.output is not None:
            self.output.dump_and_die_after(limit + MERCY)
        self.results = self._run(config, seed)

    def step(self) -> Step:
        """The next iteration, or the end."""
        step = self._step()
        if ENDED in step:
            self.close()
        return step

    def close(self) -> None:
        """Drop the trial where it is; what it prints until then is kept."""
        if self.results is not None:
            self.results.close()
            self.results = None
        if self.output is not None:
            self.output.close()
            self.output = None

    def _step(self) -> Step:
        if self.died_before is not None:
            reason, trace = self.died_before
            return _end(State.FAILED, explain_death(self.request, reason), trace)
        assert self.results is not None
        try:
            metrics = next(self.results)
        except StopIteration:
            return _end(State.FINISHED)
        except Diverged as error:
            return _end(State.DIVERGED, str(error))
        except TuneappError as error:
            return _end(State.FAILED, str(error))
        except SystemExit as error:
            return _end(State.FAILED, f"it called sys.exit({error.code!r})", _trace(error))
        except Exception as error:
            return _end(State.FAILED, f"{type(error).__name__}: {error}", _trace(error))
        kept = self.resumed_from
        if kept is None and self.keeps:
            kept = self.checkpoints.keep(self.iterations, metrics | {ITERATION: self.iterations})
        self.resumed_from = None
        step = {
            ITERATION: self.iterations,
            METRICS: metrics,
            CHECKPOINT: None if kept is None else str(kept.relative_to(self.run_path)),
        }
        if self.request.metric.name in metrics:  # what the scheduler reads
            step[self.request.metric.name] = metrics[self.request.metric.name]
        if self.plain:
            step |= _end(State.FINISHED)
        elif self.deadline is not None and time.monotonic() > self.deadline:
            step |= _end(State.FAILED, explain_death(self.request, "Timeout"))
        return step

    def _run(self, config: Config, seed: int) -> Generator[Metrics]:
        """The trial's metrics, from the iteration of its checkpoint on: that one is told again, since the
        process may have died before anyone heard of it."""
        task = tasks.build(self.request, self.function)
        self.keeps = task.keeps
        context = Context.of(
            self.request,
            seed,
            folder=self.checkpoints.clear_next() if task.keeps else None,
            timeout=self.request.resources.trial_timeout,
            pool=self.pool,
        )
        os.environ["OMP_NUM_THREADS"] = str(context.threads)  # Ray sets it only where it is unset
        if (latest := self.checkpoints.latest()) is not None:
            context.checkpoint, metrics = latest
            self.iterations = int(metrics.pop(ITERATION))
            self.resumed_from = context.checkpoint
            yield metrics
        result = task.objective(config, context)
        self.plain = not isinstance(result, Iterator)
        for metrics in iterate(result, self.request.metric, reported=context.checkpoint is not None):
            self.iterations += 1
            yield metrics


def _trace(error: BaseException) -> str:
    """The traceback as if the objective had been called by itself."""
    inner = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename in OURS:
        inner = inner.tb_next
    return "".join(traceback.format_exception(type(error), error, inner or error.__traceback__))


def explain_death(request: Request, reason: str) -> str:
    if reason == "Timeout":
        return f"it ran longer than the {request.resources.trial_timeout:g} s of --trial-timeout"
    return f"its worker died: {reason}"


def _end(state: State, reason: str = "", details: str = "") -> Step:
    return {"done": True, ENDED: state.value, REASON: reason, DETAILS: details}
