"""What happened: trials, studies, and the run directory in which they are written and read back."""

from tuneapp.studies import budget
from tuneapp.studies.directory import RunDirectory, find_run, list_runs
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
from tuneapp.studies.incumbent import Race, ranked, undefeated
from tuneapp.studies.journal import Journal
from tuneapp.studies.observer import Observer, Observers
from tuneapp.studies.study import Study
from tuneapp.studies.trials import Iteration, Trial, TrialState

__all__ = [
    "Asked",
    "Closed",
    "Ended",
    "Event",
    "Extended",
    "Iteration",
    "Journal",
    "Observer",
    "Observers",
    "Planned",
    "Race",
    "Reported",
    "Restarted",
    "RunDirectory",
    "Started",
    "Study",
    "Tested",
    "Trial",
    "TrialState",
    "budget",
    "find_run",
    "list_runs",
    "ranked",
    "undefeated",
]
