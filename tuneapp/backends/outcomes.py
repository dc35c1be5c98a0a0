"""What a trial's process gives its driver: a report, or the end; a step may give one after the other."""

from dataclasses import dataclass

from tuneapp.settings import Metrics
from tuneapp.studies import TrialState


@dataclass(frozen=True)
class Report:
    """One iteration."""

    number: int  # from 1
    metrics: Metrics
    checkpoint: str | None = None  # a folder relative to the run directory
    seconds: float = 0.0  # that the objective has run in this life of the trial


@dataclass(frozen=True)
class End:
    state: TrialState
    reason: str = ""
    details: str = ""  # a traceback
    seconds: float = 0.0  # as above
    no_room: bool = False  # the disk is full: this is no end of the trial, and a resume runs it again
    replace_worker: str = ""  # why no other trial should run in this process; empty: it is as it began


Outcomes = tuple[Report | End, ...]  # empty: not begun, the process must be replaced first
