"""What pictures, page and sentences have in common: the study as sequences of numbers."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from tuneapp.analysis.axes import Array
from tuneapp.report.style import origin_group
from tuneapp.report.tables import last_moment
from tuneapp.settings import Metric
from tuneapp.stopping import make_rule
from tuneapp.studies import Study, Trial, TrialState

NO_RESULT = "No trial has a result yet."
MAX_CURVES = 200  # more lines make a picture slow and grey
BASELINE_TRIALS = 5  # random results below this number make no band


def with_value(study: Study) -> list[Trial]:
    """Trials that are not lost and have reported: running ones with their last value."""
    return [
        trial
        for trial in study.trials
        if trial.state not in (TrialState.DIVERGED, TrialState.FAILED) and study.value(trial) is not None
    ]


def scored_trials(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if study.score(trial) is not None]


def in_order_of_end(study: Study) -> list[Trial]:
    """Trials that are over, as they ended; none where nothing succeeded."""
    ended = sorted((trial for trial in study.trials if trial.over), key=lambda t: (t.ended or 0.0, t.number))
    return ended if scored_trials(study) else []


def incumbent_line(study: Study, ended: Sequence[Trial]) -> list[float | None]:
    """The incumbent's value after each of these trials; None before the first success."""
    scores = [-np.inf if (score := study.score(trial)) is None else score for trial in ended]
    return [study.metric.score(best) if np.isfinite(best) else None for best in accumulate(scores, max)]


def random_baseline(study: Study, count: int) -> tuple[Array, Array, Array] | None:
    """10, 50 and 90 % quantiles of the best of 1…count draws from the run's own random trials.

    Exact order statistics of the empirical distribution, drawn with replacement: the best of n is at most
    the q quantile with probability q^n. None below five random results. Lost trials count as the worst.
    """
    ended = [trial for trial in study.trials if origin_group(trial.origin) == "random" and trial.over]
    scores = np.sort([score for trial in ended if (score := study.score(trial)) is not None])
    if len(scores) < BASELINE_TRIALS:
        return None
    lost = len(ended) - len(scores)
    scores = np.concatenate([np.full(lost, scores[0]), scores])
    draws = np.arange(1, count + 1)
    quantiles = [
        scores[np.ceil(share ** (1 / draws) * len(scores)).astype(int) - 1] for share in (0.1, 0.5, 0.9)
    ]
    low, middle, high = (np.array([study.metric.score(v) for v in line]) for line in quantiles)
    return (low, middle, high) if study.metric.mode == "max" else (high, middle, low)


def thinned(trials: Sequence[Trial], top: Sequence[Trial], limit: int) -> list[Trial]:
    """At most so many trials, evenly over the run, the top ones among them."""
    if len(trials) <= limit:
        return list(trials)
    kept = {trials[i].number for i in np.linspace(0, len(trials) - 1, limit - len(top)).astype(int)}
    kept |= {trial.number for trial in top}
    return [trial for trial in trials if trial.number in kept]


def some_of(shown: Sequence[Trial], trials: Sequence[Trial]) -> str:
    """`each trial`, or how many of them are drawn."""
    return "each trial" if len(shown) == len(trials) else f"{len(shown):,} of {len(trials):,} trials"


def rungs(study: Study) -> list[int]:
    """Iterations before the limit, or the longest trial's, at which one may be stopped; [] if at any."""
    most = study.request.scheduler.max_iterations or max((t.iterations for t in study.trials), default=0)
    return make_rule(study.request.scheduler).rungs(below=most)


def second_value(trial: Trial, metric: Metric) -> float | None:
    """The value of a second metric; `seconds` is how long the trial ran, unless it reports such a metric."""
    return trial.traded(metric)


def front(study: Study, second: Metric) -> list[Trial]:
    """The trials that no other beats in both metrics, the best in the study's own first."""
    kept: list[Trial] = []
    reached = -np.inf
    found = [
        (study.score(trial) or 0.0, second.score(value), -trial.number)
        for trial in scored_trials(study)
        if (value := second_value(trial, second)) is not None
    ]
    for _, other, earlier in sorted(found, reverse=True):
        if other > reached:
            kept.append(study.trials[-earlier])
            reached = other
    return kept


def worker_lanes(trials: Sequence[Trial]) -> dict[int, str]:
    """trial number -> name of its lane: the worker, numbered from 2 where two of its trials overlap."""
    free_at: dict[str, float] = {}
    lanes = {}
    for trial in sorted(trials, key=lambda t: (t.started or 0.0, t.number)):
        worker = trial.worker or "no worker reported"
        count = 1
        lane = worker
        # A millisecond of overlap is the clock's, not the worker's.
        while free_at.get(lane, -np.inf) > (trial.started or 0.0) + 1e-3:
            count += 1
            lane = f"{worker} ({count})"
        free_at[lane] = last_moment(trial) or 0.0
        lanes[trial.number] = lane
    return {number: lanes[number] for number in sorted(lanes, key=lambda n: lanes[n])}


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds in one unit of a readable axis, and its name."""
    if seconds < 180:
        return 1.0, "s"
    return (60.0, "min") if seconds < 3 * 3600 else (3600.0, "h")


def better(study: Study) -> str:
    return "higher" if study.metric.mode == "max" else "lower"
