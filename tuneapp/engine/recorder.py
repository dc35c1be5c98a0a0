"""Everything that happens to a trial, in the order: into trials.jsonl, into the study, to the search."""

from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from tuneapp.engine import checkpoints
from tuneapp.engine.trainable import CHECKPOINT, DETAILS, ENDED, ITERATION, METRICS, REASON
from tuneapp.search import Search
from tuneapp.studies import RunDirectory, State, Study, Trial

Watcher = Callable[[Study], None]


class Recorder(Callback):
    """The driver's one writer. A watcher is called after each step of Ray's loop."""

    def __init__(
        self, run: RunDirectory, study: Study, search: Search, scheduler: Any, watchers: list[Watcher]
    ) -> None:
        self.run = run
        self.study = study
        self.search = search
        self.scheduler = scheduler
        self.watchers = watchers

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks, but what this one knows is in trials.jsonl."""
        return {}

    def start(self) -> Trial | None:
        """A new trial, as the search proposes it."""
        proposal = self.search.ask()
        if proposal is None:
            return None
        number = len(self.study.trials)
        self._write(
            "asked", number, config=proposal.config, origin=proposal.origin, seed=proposal.seed
        )
        return self.study.trials[number]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        known = self._trial(trial)
        if known.started is None:
            self._write("started", known.number)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        known = self._trial(trial)
        if ENDED in result:
            self.end(known, State(result[ENDED]), result[REASON], result[DETAILS])
            return
        if result[ITERATION] > known.iterations:  # else told again after a restart
            checkpoint = {"checkpoint": result[CHECKPOINT]} if result[CHECKPOINT] else {}
            self._write(
                "iteration",
                known.number,
                iteration=result[ITERATION],
                metrics=result[METRICS],
                worker=f"{result['hostname']}:{result['pid']}",
                **checkpoint,
            )
        if result["done"]:
            if known.iterations >= self.study.request.scheduler.max_iterations:
                self.end(known, State.FINISHED)
            else:
                value = result[self.study.metric.name]
                self.end(known, State.STOPPED, self.scheduler.why(known.number, known.iterations, value))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._write("restarted", self._trial(trial).number)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        known = self._trial(trial)
        if not known.over:
            self.end(known, State.FAILED, f"its worker died: {_last_line(str(trial.get_error() or ''))}")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        for watcher in self.watchers:
            watcher(self.study)

    def end(self, trial: Trial, state: State, reason: str = "", details: str = "") -> None:
        """Close a trial; of all ended trials only the incumbent keeps its checkpoint."""
        incumbent = self.study.best
        self._write(state.value, trial.number, reason=reason, **({"details": details} if details else {}))
        for loser in {trial.number, incumbent.number if incumbent else trial.number}:
            if self.study.best is None or self.study.best.number != loser:
                checkpoints.of_trial(self.run.path, loser).delete()

    def _write(self, event: str, number: int, **fields: Any) -> None:
        self.study.apply(self.run.append(event, trial=number, **fields))
        self.search.tell(self.study.trials[number])

    def _trial(self, trial: Any) -> Trial:
        return self.study.trials[trial.config["trial"]]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
