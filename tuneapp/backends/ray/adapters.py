"""Ray Tune's three views of a session: a search that gives trials, a scheduler that stops them, a callback.

None of them knows anything: what they are asked, they ask the session.
"""

import json
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.registry import get_trainable_cls
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import SearchAlgorithm, Searcher

from tuneapp.backends.base import Session
from tuneapp.backends.outcomes import End, Report
from tuneapp.backends.ray.lean import LeanTrial
from tuneapp.studies import Trial

UNLIMITED = 10**9  # the session ends a study, not Ray


def trial_of(session: Session, trial: Any) -> Trial:
    """Ours behind one of Ray's."""
    number: int = trial.config["trial"]
    return session.study.trials[number]


def _config(trial: Trial) -> dict[str, Any]:
    """What Ray hands to the worker."""
    return {"trial": trial.number, "config": trial.config, "seed": trial.seed}


class _Stateless:
    """Pickled as nothing: Ray pickles these to restore a run, but all that is known is in trials.jsonl."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SessionSearch(_Stateless, SearchAlgorithm):
    """Makes Ray's trials of what the session wants to run next, `at_once` at a time."""

    def __init__(self, session: Session, at_once: int, restarts: int) -> None:
        self.session, self.at_once, self.restarts = session, at_once, restarts
        self.running: set[str] = set()
        self.name = ""

    @property
    def total_samples(self) -> int:
        return UNLIMITED

    def add_configurations(self, experiments: list[Any]) -> None:
        [experiment] = experiments
        self.name, self.storage = experiment.spec["run"], experiment.storage
        self.trainable = get_trainable_cls(self.name)

    def next_trial(self) -> LeanTrial | None:
        if len(self.running) >= self.at_once:
            return None
        trial = self.session.next()
        if trial is None:
            self._finished = self.session.exhausted
            return None
        made = LeanTrial(
            self.name,
            self.trainable,
            trial.number,
            config=_config(trial),
            storage=self.storage,
            evaluated_params=trial.config,
            max_failures=self.restarts,
        )
        self.running.add(made.trial_id)
        return made

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The session has heard of it already: its place is free."""
        self.running.discard(trial_id)


class SessionSearcher(_Stateless, Searcher):
    """Suggests what the session wants to run next, where Ray makes its trials itself."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def suggest(self, trial_id: str) -> Any:
        trial = self.session.next()
        if trial is None:
            return Searcher.FINISHED if self.session.exhausted else None
        return _config(trial)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The session has heard of it already."""

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(json.dumps({}), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """There is nothing to restore."""


class SessionScheduler(_Stateless, FIFOScheduler):
    """Hands each result to the session, which decides whether the trial goes on."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None in particular: Ray starts what waits in its order. FIFOScheduler looks at all trials."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        worker = f"{result['hostname']}:{result['pid']}"
        outcomes = result["outcomes"]
        trial.replaces_worker = isinstance(outcomes[-1], End) and bool(outcomes[-1].replace_worker)
        goes_on = self.session.take(trial_of(self.session, trial), outcomes, worker)
        return str(self.CONTINUE if goes_on else self.STOP)


class SessionCallback(_Stateless, Callback):
    """Tells the session of starts, of lost workers, and of time that passes; and Ray's loggers of metrics."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.session.start(trial_of(self.session, trial))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.session.restart(trial_of(self.session, trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Lay the metrics where loggers, which come after this, look for them; Ray's own names are taken."""
        if self.session.how.loggers:
            for outcome in result["outcomes"]:
                if isinstance(outcome, Report):
                    for name, value in outcome.metrics.items():
                        result[f"metrics/{name}" if name in result else name] = value

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        ours = trial_of(self.session, trial)
        if not ours.over:
            self.session.lose(ours, _last_line(str(trial.get_error() or "")))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.session.tick()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
