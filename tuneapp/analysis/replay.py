"""What other settings of ASHA would have done to trials whose curves are known."""

import csv
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tuneapp.errors import UsageError, first_line, nearest
from tuneapp.settings import Metric
from tuneapp.stopping.asha import Asha, rungs
from tuneapp.studies import Study

MOST_ITERATIONS = 10**9


@dataclass(frozen=True)
class Curve:
    """A trial's scores (higher is better) after its iterations, in order."""

    name: str
    points: list[tuple[int, float]]

    @property
    def final(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True)
class WhatIf:
    """What ASHA with this grace and reduction would have done, over arrival orders."""

    grace: int
    reduction: int
    kept: float  # share of the orders in which the winner runs to its end
    used: float  # iterations run, as a share of all that are known; a mean over the orders
    stopped: dict[str, int] = field(
        default_factory=dict
    )  # name -> iteration at which it ends in the run's own order
    kept_as_run: bool = True  # whether the winner runs to its end in the run's own order


def what_if(
    curves: Sequence[Curve], grace: int, reduction: int, max_iterations: int, orders: int = 400, seed: int = 0
) -> WhatIf:
    """Replay the curves in their own order and in `orders` random ones.

    The winner is the curve with the highest last score among the longest ones: a trial that was stopped early
    never shows what it could have become, so a run without early stopping tells most.
    """
    if not curves:
        raise UsageError("A replay needs at least one trial with results, but there is none.")
    if grace > max_iterations:
        raise UsageError(
            f"Grace must be at most {max_iterations} iterations, the longest trial, but got {grace}."
        )
    winner = incumbent(curves)
    rng = np.random.default_rng(seed)
    judged = [_judged(curve, grace, reduction) for curve in curves]
    as_run = _ends(judged, Asha(grace, reduction, max_iterations))
    kept, used = 0, 0
    for _ in range(orders):
        order = [judged[k] for k in rng.permutation(len(judged))]
        ends = _ends(order, Asha(grace, reduction, max_iterations))
        kept += winner.name not in ends
        used += sum(ends.get(curve.name, curve.points[-1][0]) for curve in curves)
    known = sum(curve.points[-1][0] for curve in curves)
    return WhatIf(grace, reduction, kept / orders, used / orders / known, as_run, winner.name not in as_run)


def incumbent(curves: Sequence[Curve]) -> Curve:
    """The winner that a setting should keep."""
    longest = max(curve.points[-1][0] for curve in curves)
    return max((curve for curve in curves if curve.points[-1][0] == longest), key=lambda curve: curve.final)


@dataclass(frozen=True)
class _Judged:
    """A curve's points at which a rule of rungs decides."""

    name: str
    last: int  # iteration of the curve's last point
    points: list[tuple[int, float]]


def _judged(curve: Curve, grace: int, reduction: int) -> _Judged:
    """The first point at or after each rung: picked once, for there are hundreds of orders to replay."""
    iterations = [iteration for iteration, _ in curve.points]
    last = iterations[-1]
    positions = {bisect_left(iterations, rung) for rung in rungs(grace, reduction, below=last + 1)}
    return _Judged(curve.name, last, [curve.points[position] for position in sorted(positions)])


def _ends(curves: Sequence[_Judged], rule: Asha) -> dict[str, int]:
    """name -> iteration at which it is stopped.

    In turn or side by side is all one: what counts is the order in which trials come to a rung.
    """
    ends = {}
    for number, curve in enumerate(curves):
        for iteration, score in curve.points:
            if rule.report(number, iteration, score) is not None and iteration < curve.last:
                ends[curve.name] = iteration
                break
    return ends


def curves_of_study(study: Study) -> list[Curve]:
    """The curves of all trials that reported the metric, diverged ones as far as they came."""
    curves = []
    for trial in study.trials:
        points = [
            (i, study.metric.score(value))
            for i, value in trial.curve(study.metric.name)
            if math.isfinite(value)
        ]
        if points:
            curves.append(Curve(str(trial.number), points))
    return curves


def curves_of_folder(folder: Path, metric: Metric) -> list[Curve]:
    """One curve per CSV file: one row per iteration, which the first column names, a column for the metric.

    Raises UsageError where there is no such file or column, or where a value is no number.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise UsageError(f"{folder} must hold CSV files, one a trial, but holds none.")
    curves = []
    for file in files:
        columns, rows = read_csv(file)
        if metric.name not in columns:
            raise UsageError(
                f"{file.name} must have a column '{metric.name}', but has {', '.join(columns) or 'no rows'}; "
                f"name one with --metric.{nearest(metric.name, columns)}"
            )
        points: list[tuple[int, float]] = []
        for line, row in rows:
            iteration = _number_in(file, line, row, columns[0])
            if not abs(iteration) < MOST_ITERATIONS or (points and iteration <= points[-1][0]):
                raise UsageError(
                    f"{file.name}, line {line}: iterations must rise, up to {MOST_ITERATIONS:,}, but "
                    f"{iteration:g} follows {points[-1][0] if points else 'nothing'}; mend that line."
                )
            points.append((int(iteration), metric.score(_number_in(file, line, row, metric.name))))
        first = points[0][0]
        finite = [(i - first + 1, score) for i, score in points if math.isfinite(score)]
        if finite:  # else it diverged at once, and no rule would have seen a score of it
            curves.append(Curve(file.stem, finite))
    return curves


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The names in a CSV file's first line, and (line number, its texts by name) of each other one.

    Raises UsageError for what is no CSV file in UTF-8 whose lines have as many texts as its first one.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines, skipinitialspace=True)
            columns = next(reader, [])
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path} must be a CSV file in UTF-8, but is not ({first_line(error)}); export it again."
        ) from None
    if not columns or not rows:
        raise UsageError(
            f"{path} must have a line of names and one line per iteration, but has no iteration."
        )
    if len(set(columns)) < len(columns):
        raise UsageError(f"{path} must name each column once in its first line; rename one.")
    for line, row in rows:
        if len(row) != len(columns):
            raise UsageError(
                f"{path}, line {line}: must have {len(columns)} values as the first line has names, but has "
                f"{len(row)}; mend that line."
            )
    return columns, [(line, dict(zip(columns, row, strict=True))) for line, row in rows]


def _number_in(file: Path, line: int, row: dict[str, str], column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise UsageError(
            f"{file.name}, line {line}: '{column:.40}' must hold numbers, but has {row[column]!r:.40}."
        ) from None
