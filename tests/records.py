"""Writes events into a run directory by their names, as its journal would."""

import time
from typing import Any

from tuneapp.studies import RunDirectory, TrialState
from tuneapp.studies.events import (
    Asked,
    Closed,
    Ended,
    Event,
    Extended,
    Planned,
    Reported,
    Restarted,
    Started,
    Tested,
)

KINDS: dict[str, Any] = {
    "asked": Asked,
    "started": Started,
    "restarted": Restarted,
    "iteration": Reported,
    "extended": Extended,
    "planned": Planned,
    "tested": Tested,
    "closed": Closed,
}


def append(run: RunDirectory, event: str, **fields: Any) -> Event:
    """append(run, "iteration", trial=0, iteration=1, metrics={"score": 0.5})"""
    if event in KINDS:
        return run.append(KINDS[event](**{"time": time.time(), **fields}))
    return run.append(Ended(state=TrialState(event), **{"time": time.time(), **fields}))
