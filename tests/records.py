"""Writes events into a run directory by their names, as its journal would."""

import time
from typing import Any

from tuneapp.studies import Ended, Event, RunDirectory, TrialState
from tuneapp.studies.events import NAMES


def append(run: RunDirectory, event: str, **fields: Any) -> Event:
    """append(run, "iteration", trial=0, iteration=1, metrics={"score": 0.5})"""
    kind = NAMES[event]
    state = {"state": TrialState(event)} if kind is Ended else {}
    return run.append(kind(**{"time": time.time(), **state, **fields}))
