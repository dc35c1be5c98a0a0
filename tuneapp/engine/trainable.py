"""The actor in which trials run: one iteration a call, reused by the next trial."""

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from tuneapp import tasks
from tuneapp.engine import checkpoints
from tuneapp.errors import TuneappError
from tuneapp.objectives import Context, Diverged, iterate
from tuneapp.request import Metrics, Request
from tuneapp.studies import State

# What a step returns beside the metrics. `ended` comes alone, with the reason, in the last step of a trial.
ITERATION, METRICS, CHECKPOINT, ENDED, REASON, DETAILS = (
    "iteration",
    "metrics",
    "checkpoint",
    "ended",
    "reason",
    "details",
)


class TrialActor(tune.Trainable):
    """Runs `config["config"]` of trial `config["trial"]`. Exceptions come back as a failed trial's reason,
    so that one bad config costs no actor; only the death of the process is Ray's to handle."""

    def setup(self, config: dict[str, Any], request: dict[str, Any] | None = None, run: str = "") -> None:
        assert request is not None  # bound by tune.with_parameters
        self.request = Request.from_json(request)
        self.run_path = Path(run)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._close()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            metrics = next(self.results)
        except StopIteration:
            return _end(State.FINISHED)
        except Diverged as error:
            return _end(State.DIVERGED, str(error))
        except TuneappError as error:
            return _end(State.FAILED, str(error))
        except Exception as error:
            return _end(State.FAILED, f"{type(error).__name__}: {error}", traceback.format_exc())
        kept = self.resumed_from or self.checkpoints.keep(self.iterations, metrics | {ITERATION: self.iterations})
        self.resumed_from = None
        return {
            ITERATION: self.iterations,
            METRICS: metrics,
            CHECKPOINT: None if kept is None else str(kept.relative_to(self.run_path)),
            self.request.metric.name: metrics[self.request.metric.name],  # what the scheduler reads
        }

    def cleanup(self) -> None:
        self._close()

    def _begin(self, config: dict[str, Any]) -> None:
        self.iterations = 0
        self.resumed_from: Path | None = None
        self.checkpoints = checkpoints.of_trial(self.run_path, config["trial"])
        self.results = self._run(config)

    def _close(self) -> None:
        self.results.close()

    def _run(self, config: dict[str, Any]) -> Iterator[Metrics]:
        """The trial's metrics, from the iteration of its checkpoint on: that one is told again, since the
        process may have died before anyone heard of it."""
        resources = self.request.resources
        context = Context(
            seed=config["seed"],
            device="cuda" if resources.gpus > 0 else "cpu",
            threads=max(1, int(resources.cpus)),
            max_iterations=self.request.scheduler.max_iterations,
            folder=self.checkpoints.clear_next(),
        )
        os.environ["OMP_NUM_THREADS"] = str(context.threads)  # Ray sets it only where it is unset
        if (latest := self.checkpoints.latest()) is not None:
            context.checkpoint, metrics = latest
            self.iterations = int(metrics.pop(ITERATION))
            self.resumed_from = context.checkpoint
            yield metrics
        objective = tasks.build(self.request).objective
        for metrics in iterate(objective(config["config"], context), self.request.metric):
            self.iterations += 1
            yield metrics


def _end(state: State, reason: str = "", details: str = "") -> dict[str, Any]:
    return {"done": True, ENDED: state.value, REASON: reason, DETAILS: details}
