"""When a study ends before its samples do: pure functions of what has happened, which every backend obeys."""

import re
from collections.abc import Sequence

from tuneapp.studies.events import Ended
from tuneapp.studies.study import Study

ALIKE = 3  # trials that fail alike end a study in which none has ended well
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


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
