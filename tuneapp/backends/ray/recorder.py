"""Ray's view of our record: a callback that hands on what its loop says."""

import math
from typing import Any

from ray.tune import Callback

from tuneapp.backends.record import Record
from tuneapp.backends.runner import ENDED
from tuneapp.studies import Trial, TrialState


class Recorder(Callback):
    """A watcher is called after each step of Ray's loop."""

    def __init__(self, record: Record, scheduler: Any) -> None:
        self.record = record
        self.scheduler = scheduler

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks, but what this one knows is in trials.jsonl."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.record.start(self._trial(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        known, study = self._trial(trial), self.record.study
        self.record.take(known, result, f"{result['hostname']}:{result['pid']}")
        if result["done"] and ENDED not in result:
            if known.iterations >= (study.request.scheduler.max_iterations or math.inf):
                self.record.end(known, TrialState.FINISHED)
            else:
                value = result[study.metric.name]
                reason = self.scheduler.why(known.number, known.iterations, value)
                self.record.end(known, TrialState.STOPPED, reason)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.record.restart(self._trial(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        known = self._trial(trial)
        if not known.over:
            self.record.lose(known, _last_line(str(trial.get_error() or "")))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.record.watch()

    def _trial(self, trial: Any) -> Trial:
        number: int = trial.config["trial"]
        return self.record.study.trials[number]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
