"""Which trials are stopped early: Ray's schedulers, built from plain numbers and fed with what came before.

Ray's own restore forgets ASHA's rungs (ray#30838), so that late results of resumed trials fill low rungs and
stop the best. Here a scheduler knows trials by our numbers, and a resumed study's results are told to it
again, in their order, before the first new one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from tuneapp.errors import lookup
from tuneapp.settings import Metric, Request, SchedulerSettings
from tuneapp.studies import Study

ITERATION = "iteration"
UNLIMITED = 10**6  # iterations, where nobody names a limit


@dataclass(frozen=True)
class Known:
    """Stands for a trial in Ray's schedulers: the same in every life of a study."""

    trial_id: str


def _known(trial: Any) -> Known:
    return trial if isinstance(trial, Known) else Known(str(trial.config["trial"]))


class _ByNumber:
    """Mixed into a Ray scheduler: it sees Known trials instead of Ray's."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, _known(trial))  # type: ignore[misc]

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(super().on_trial_result(tune_controller, _known(trial), result))  # type: ignore[misc]

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if ITERATION in result:
            super().on_trial_complete(tune_controller, _known(trial), result)  # type: ignore[misc]

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker that died takes nothing from the rungs."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """As above."""


class Asha(_ByNumber, AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al., 2020), which says at which rung a trial was stopped."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        # Ray draws the bracket from numpy's global generator: drawn from the trial's number instead, it is
        # the same again in a resumed study.
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(int(_known(trial).trial_id) % 2**32)  # noqa: NPY002
        super().on_trial_add(tune_controller, trial)
        np.random.set_state(state)  # noqa: NPY002

    def why(self, number: int, iteration: int, value: float) -> str:
        """The rung and the cut below which trial `number` fell at `iteration`."""
        bracket = self._trial_info[str(number)]
        for milestone, recorded in bracket._rungs:  # the highest first
            if str(number) in recorded:
                others = {key: score for key, score in recorded.items() if key != str(number)}
                cut = self._metric_op * bracket.cutoff(others)
                return f"rung {milestone}: {value:.4g} against a cut of {cut:.4g} from {len(others)} trials"
        return ""


class Median(_ByNumber, MedianStoppingRule):
    """Stops a trial whose best is below the median of the others' running means (Golovin et al., 2017)."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Its last result has been told already."""

    def why(self, number: int, iteration: int, value: float) -> str:
        return f"iteration {iteration}: below the median of the trials before it"


def _asha(metric: Metric, settings: SchedulerSettings, brackets: int = 1) -> TrialScheduler:
    return Asha(
        time_attr=ITERATION,
        metric=metric.name,
        mode=metric.mode,
        max_t=settings.max_iterations or UNLIMITED,
        grace_period=settings.grace_iterations,
        reduction_factor=settings.reduction,
        brackets=brackets,
    )


def _hyperband(metric: Metric, settings: SchedulerSettings) -> TrialScheduler:
    """ASHA with as many brackets as there are rungs, three at most: some trials are cut later."""
    most = settings.max_iterations or UNLIMITED
    rungs = int(np.log(most / settings.grace_iterations) / np.log(settings.reduction)) + 1
    return _asha(metric, settings, brackets=min(3, rungs))


def _median(metric: Metric, settings: SchedulerSettings) -> TrialScheduler:
    return Median(
        time_attr=ITERATION,
        metric=metric.name,
        mode=metric.mode,
        grace_period=settings.grace_iterations,
        min_time_slice=math.inf,  # never pause a trial for others' sake
    )


def _none(metric: Metric, settings: SchedulerSettings) -> TrialScheduler:
    return FIFOScheduler()


def build(request: Request, study: Study) -> TrialScheduler:
    """The request's scheduler, as it stood after everything that the study holds."""
    scheduler = lookup(request.scheduler.type, SCHEDULERS, "scheduler")(request.metric, request.scheduler)
    if isinstance(scheduler, _ByNumber):
        for trial in study.trials:
            if trial.history or trial.over:
                scheduler.on_trial_add(None, Known(str(trial.number)))
        results = [(item["time"], trial.number, item) for trial in study.trials for item in trial.history]
        for _, number, item in sorted(results, key=lambda result: result[:2]):
            scheduler.on_trial_result(None, Known(str(number)), item)
    return scheduler


SCHEDULERS: dict[str, Callable[[Metric, SchedulerSettings], TrialScheduler]] = {
    "asha": _asha,
    "hyperband": _hyperband,
    "median": _median,
    "none": _none,
}
