"""Ray Tune's loop without what nobody reads: its cost per trial is small, and the same at the ten-thousandth.

Ray Tune keeps every trial, writes the state of all of them again and again, makes a folder for each on the
driver and on the worker, looks the trainable up in the cluster's store for each, and starts workers that it
ends again once another one is free. Our record is `trials.jsonl`, so none of that is needed. Two subclasses
leave it out, and `switched_on` puts them where Ray Tune looks for its own.

They override methods that Ray does not promise to keep. `fits` compares those with the Ray that is installed;
where they differ, Ray's own loop runs the study: slower, but to the same record.
"""

import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune import tune as entry
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as RayTrial

PATIENCE = 30.0  # seconds that a trial waits for a worker of its own while others are free
# What is overridden, with its parameters, and what is used of Ray's: `fits` looks for all of it.
METHODS: dict[type, dict[str, tuple[str, ...]]] = {
    TuneController: {
        "checkpoint": ("self", "force", "wait"),
        "on_step_end": ("self",),
        "_wrapped": ("self",),
        "_maybe_add_actors": ("self",),
        "_maybe_cache_trial_actor": ("self", "trial"),
        "_maybe_reuse_cached_actor": ("self", "trial"),
        "_schedule_trial_actor": ("self", "trial"),
        "_schedule_trial_reset": ("self", "trial", "new_config", "new_experiment_tag"),
        "_schedule_trial_train": ("self", "trial"),
        "_on_training_result": ("self", "trial", "result"),
        "_trial_task_failure": ("self", "trial", "exception"),
        "_on_trial_reset": ("self", "trial", "success"),
    },
    RayTrial: {
        "init_local_path": ("self",),
        "get_trainable_cls": ("self",),
        "handle_error": ("self", "exc"),
        "get_error": ("self",),
        "update_last_result": ("self", "result"),
        "set_ray_actor": ("self", "ray_actor"),
    },
}
ATTRIBUTES: dict[type, set[str]] = {
    TuneController: {
        "_trials",
        "_live_trials",
        "_stopped_trials",
        "_failed_trials",
        "_resetting_trials",
        "_trial_to_actor",
        "_trials_to_cache",
        "_search_alg",
    },
    RayTrial: {"stub", "storage", "run_metadata", "temporary_state", "evaluated_params"},
}


class LeanTrial(RayTrial):
    """A trial without a folder, a registry look-up, statistics of its results or an error file."""

    local_path = None  # Ray writes an error file only where there is one

    def __init__(self, name: str, trainable: type, number: int, **options: Any) -> None:
        super().__init__(name, stub=True, **options)  # a stub's trainable is not looked up
        self.storage.trial_dir_name = f"{number:05d}"  # workers ask for a name, though not for a folder
        self.trainable, self.error_text = trainable, ""
        self.replaces_worker = False

    def init_local_path(self) -> None:
        """There is none."""

    def get_trainable_cls(self) -> type:
        return self.trainable

    def handle_error(self, exc: Exception | None = None) -> None:
        super().handle_error(exc)
        self.error_text = str(exc)

    def get_error(self) -> str:
        return self.error_text

    def update_last_result(self, result: dict[str, Any]) -> None:
        self.run_metadata.last_result = result

    def set_ray_actor(self, ray_actor: Any) -> None:
        self.temporary_state.ray_actor = ray_actor


class LeanController(TuneController):
    """Ray Tune's loop, which forgets trials that are over and starts no more workers than it needs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unbegun: list[RayTrial] = []  # given to a worker that has not heard of them
        self._requested: dict[RayTrial, float] = {}  # when a worker was asked for on their behalf

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Nothing while the loop runs. At its end Ray wants to read a state: one without trials."""
        if force:
            self._trials_to_cache.clear()
            unbegun, requested = self._unbegun, self._requested
            self._unbegun, self._requested = [], {}
            super().checkpoint(force=True, wait=wait)
            self._unbegun, self._requested = unbegun, requested

    def on_step_end(self) -> None:
        super().on_step_end()
        for over in (self._stopped_trials, self._failed_trials):
            for trial in over:
                self._trials.remove(trial)
                self._live_trials.discard(trial)
                self._trials_to_cache.discard(trial)
                self._requested.pop(trial, None)
            over.clear()

    def _wrapped(self) -> "LeanController":
        return self  # our scheduler needs no protection from what it does not use

    def _maybe_cache_trial_actor(self, trial: RayTrial) -> bool:
        """Whether the trial's worker is kept for another one."""
        return not trial.replaces_worker and bool(super()._maybe_cache_trial_actor(trial))

    def _schedule_trial_actor(self, trial: RayTrial) -> None:
        self._requested[trial] = time.monotonic()
        super()._schedule_trial_actor(trial)

    def _maybe_reuse_cached_actor(self, trial: RayTrial) -> bool:
        """Give the trial a free worker, but not at once in place of the one that is started for it: with
        short trials, one free worker would otherwise take them all, and all others be ended unused."""
        waits = (
            trial in self._trial_to_actor
            and not self._search_alg.is_finished()
            and time.monotonic() - self._requested.get(trial, 0.0) < PATIENCE
        )
        return not waits and bool(super()._maybe_reuse_cached_actor(trial))

    def _maybe_add_actors(self) -> None:
        super()._maybe_add_actors()
        for trial in list(self._resetting_trials):
            self._on_trial_reset(trial, True)

    def _schedule_trial_reset(
        self, trial: RayTrial, new_config: dict[str, Any], new_experiment_tag: str
    ) -> None:
        """Reset the worker by the call that asks for the first result, rather than by one of its own."""
        self._resetting_trials.add(trial)
        self._unbegun.append(trial)

    def _schedule_trial_train(self, trial: RayTrial) -> None:
        if trial not in self._unbegun:
            super()._schedule_trial_train(trial)
            return
        self._unbegun.remove(trial)
        self._schedule_trial_task(
            trial=trial,
            method_name="begin",
            args=(trial.config,),
            on_result=self._on_training_result,
            on_error=self._trial_task_failure,
        )


def fits() -> bool:
    """Whether the Ray that is installed is built as the subclasses here expect."""
    return (
        getattr(entry, "TuneController", None) is TuneController
        and all(
            tuple(inspect.signature(getattr(owner, name, _missing)).parameters) == parameters
            for owner, methods in METHODS.items()
            for name, parameters in methods.items()
        )
        and all(
            names <= set(vars(owner)["__init__"].__code__.co_names) for owner, names in ATTRIBUTES.items()
        )
    )


@contextmanager
def switched_on() -> Iterator[None]:
    """Ray Tune's loop is ours until the block ends."""
    entry.TuneController = LeanController
    try:
        yield
    finally:
        entry.TuneController = TuneController


def _missing() -> None:
    """Stands for a method that this Ray does not have."""
