"""Which worker ran which trial, and when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuneapp.analysis.numbers import LARGEST
from tuneapp.studies import Study, Trial

OVERLAP = 1e-3  # seconds that two trials of one worker may overlap: the clock's fault, not the worker's


@dataclass(frozen=True)
class Bar:
    trial: Trial
    lane: int
    start: float  # in the time line's unit, from the first start
    end: float  # of a trial that still runs, its last result


@dataclass(frozen=True)
class Timeline:
    lanes: tuple[str, ...]  # a worker each; its second one where two of its trials overlap
    bars: tuple[Bar, ...]  # of the trials that have started
    unit: str  # s, min or h


def timeline(study: Study) -> Timeline:
    """On the study's clock, so without the pauses of the study."""
    begun = [trial for trial in study.trials if trial.started is not None]
    if not begun:
        return Timeline((), (), "s")
    zero = min(trial.started or 0.0 for trial in begun)
    ends = {trial.number: last_moment(trial) for trial in begun}
    seconds, unit = time_unit(max(ends.values()) - zero)
    lanes = worker_lanes(begun)
    names = tuple(dict.fromkeys(lanes.values()))
    bars = (
        Bar(
            trial,
            names.index(lanes[trial.number]),
            ((trial.started or zero) - zero) / seconds,
            (ends[trial.number] - zero) / seconds,
        )
        for trial in begun
    )
    return Timeline(names, tuple(bars), unit)


def last_moment(trial: Trial) -> float:
    """When the trial ended, or did its last thing so far; 0 where it has not started."""
    if trial.ended is not None:
        return trial.ended
    return trial.history[-1].time if trial.history else trial.started or 0.0


def worker_lanes(trials: Sequence[Trial]) -> dict[int, str]:
    """trial number -> name of its lane: the worker, numbered from 2 where two of its trials overlap."""
    free_at: dict[str, float] = {}
    lanes = {}
    for trial in sorted(trials, key=lambda t: (t.started or 0.0, t.number)):
        worker = trial.worker or "no worker reported"
        count = 1
        lane = worker
        while free_at.get(lane, -math.inf) > (trial.started or 0.0) + OVERLAP:
            count += 1
            lane = f"{worker} ({count})"
        free_at[lane] = last_moment(trial)
        lanes[trial.number] = lane
    return {number: lanes[number] for number in sorted(lanes, key=lambda n: lanes[n])}


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds in one unit of a readable axis, and the unit's name."""
    if seconds < 180:
        return 1.0, "s"
    if seconds < 3 * 3600:
        return 60.0, "min"
    if seconds < 1e9:
        return 3600.0, "h"
    power = float(f"1e{math.floor(math.log10(min(seconds, LARGEST)))}")
    return power, f"× {power:.0e} s"
