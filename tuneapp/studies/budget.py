"""What ends a study before its samples do: pure functions of what has happened, which every backend obeys."""

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from tuneapp.settings import Metric, time_text
from tuneapp.studies.events import Ended
from tuneapp.studies.study import Study
from tuneapp.studies.trials import Trial, TrialState

ALIKE = 3  # trials that fail alike end a study in which none has ended well
RECENT = 20  # trials whose mean says how long the next one takes to its first rung
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def is_too_late(study: Study, clock: float, rung: int | None) -> bool:
    """Whether a trial that begins now would come to nothing: it could not reach its first rung, or where
    there is none its end, within the study's time. Before any trial has, none is too late.

    clock: seconds that the study has run by now. rung: an iteration.
    """
    time = study.request.budget.time
    if time is None:
        return False
    each = (_seconds_to(trial, rung) for trial in reversed(study.trials))
    recent = list(islice((seconds for seconds in each if seconds is not None), RECENT))
    return clock + (sum(recent) / len(recent) if recent else 0.0) >= time


def fulfilling(study: Study, trials: Iterable[Trial]) -> Trial | None:
    """The first of the trials that ended well, stopped early or not, with the study's condition fulfilled: by
    its value at the iteration that counts."""
    condition = study.request.budget.condition
    if condition is None:
        return None
    of_study = {metric.name: metric for metric in (study.metric, *study.request.also)}
    metric = of_study.get(condition.metric, Metric(condition.metric))
    for trial in trials:
        value = trial.traded(metric) if trial.succeeded else None
        if value is not None and condition.holds(value):
            return trial
    return None


def since_incumbent(study: Study) -> int:
    """Trials that have ended since the incumbent did; all, where there is none."""
    best = study.best
    at = -1.0 if best is None or best.ended is None else best.ended
    return sum(trial.over and (trial.ended or 0.0) > at for trial in study.trials)


def is_impatient(study: Study) -> bool:
    patience = study.request.budget.patience
    return patience is not None and since_incumbent(study) >= patience


def alike(study: Study, failures: Sequence[Ended]) -> Sequence[Ended]:
    """The last ALIKE failures where they are of one kind, no trial has ended well, and none that runs has
    come further than they did; else nothing.

    failures: in the order of their ends, of one driver: a resume tries again.
    """
    last = failures[-ALIKE:]
    if len(last) < ALIKE or len({failure_kind(each.reason) for each in last}) > 1:
        return ()
    furthest = max(study.trials[each.trial].iterations for each in last)
    if any(trial.succeeded or (not trial.over and trial.iterations > furthest) for trial in study.trials):
        return ()
    return last


def failure_kind(reason: str) -> str:
    """The first line of a failure's reason, which begins with the error's type, its numbers masked: equal
    where trials fail alike."""
    return _NUMBER.sub("#", (reason.strip().splitlines() or [""])[0])


def ending(study: Study, by: str, clock: float | None = None) -> str:
    """What ended the study, and how it goes on; empty where its samples did.

    by: one of events.ENDINGS. clock: seconds that the study has run by now; None: by its last event.
    """
    budget, resume = study.request.budget, f"`tuneapp resume {study.name}"
    if by == "time" and budget.time is not None:
        is_over = (study.clock if clock is None else clock) >= budget.time
        what = "is used up" if is_over else "leaves too little for another trial"
        return f"Ended by time: {time_text(budget.time)} {what}. {resume} --time 1h` goes on for an hour."
    if by == "until":
        trial = fulfilling(study, study.trials)
        what = f"trial {trial.number} has {budget.until}" if trial else f"a trial has {budget.until}"
        return f"Ended by --until: {what}. {resume} --until …` goes on with another condition."
    if by == "patience":
        count = since_incumbent(study)
        what = f"{count} trial{' has' if count == 1 else 's have'} ended without a new incumbent"
        return f"Ended by patience: {what}. {resume} --patience {2 * count}` goes on."
    if by == "failures":
        reasons = [trial.reason for trial in study.trials if trial.state is TrialState.FAILED]
        same = [reason for reason in reasons if failure_kind(reason) == failure_kind(reasons[-1])]
        first = (same[0].strip().splitlines() if same else []) or ["no reason given"]
        return (
            f"Ended by failures: the first trials failed alike: {first[0]}. Once the cause is mended, "
            f"{resume}` tries again (--keep-going: whatever fails)."
        )
    return ""


def _seconds_to(trial: Trial, rung: int | None) -> float | None:
    """On the study's clock, from a trial's start to a rung or to its end; None where it is not there yet."""
    if trial.started is None:
        return None
    at_rung = (each.time for each in trial.history if rung is not None and each.number >= rung)
    moment = next(at_rung, trial.ended if trial.complete else None)
    return None if moment is None else max(0.0, moment - trial.started)
