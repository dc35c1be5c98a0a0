"""Ray Tune's three views of a session: a searcher that suggests, a scheduler that stops, a callback.

None of them knows anything: what they are asked, they ask the session.
"""

import json
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from tuneapp.backends.base import Session
from tuneapp.studies import Trial


def trial_of(session: Session, trial: Any) -> Trial:
    """Ours behind one of Ray's."""
    number: int = trial.config["trial"]
    return session.study.trials[number]


class _Stateless:
    """Pickled as nothing: Ray pickles these to restore a run, but all that is known is in trials.jsonl."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SessionSearcher(_Stateless, Searcher):
    """Suggests what the session wants to run next."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def suggest(self, trial_id: str) -> Any:
        trial = self.session.next()
        if trial is None:
            return Searcher.FINISHED if self.session.exhausted else None
        return {"trial": trial.number, "config": trial.config, "seed": trial.seed}

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

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        worker = f"{result['hostname']}:{result['pid']}"
        goes_on = self.session.take(trial_of(self.session, trial), result["outcomes"], worker)
        return str(self.CONTINUE if goes_on else self.STOP)


class SessionCallback(_Stateless, Callback):
    """Tells the session of starts, of lost workers, and of time that passes."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.session.start(trial_of(self.session, trial))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.session.restart(trial_of(self.session, trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        ours = trial_of(self.session, trial)
        if not ours.over:
            self.session.lose(ours, _last_line(str(trial.get_error() or "")))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.session.tick()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
