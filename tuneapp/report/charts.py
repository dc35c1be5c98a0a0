"""The numbers behind the page's charts, as plain JSON: bounded in size, whatever the study's."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tuneapp.analysis.axes import MISSING, Axis, text, units
from tuneapp.analysis.axes import axes as axes_of
from tuneapp.report import surrogate, views
from tuneapp.report.effects import ASIDE, Effects, Section, mean_curve
from tuneapp.report.style import origin_group, value_limits, wants_log
from tuneapp.report.tables import last_moment, leaders
from tuneapp.settings import Metric
from tuneapp.studies import Study, Trial

MAX_TRIALS = 2000  # in the charts; the table of the page has its own limit, trials.csv none
MAX_AXES = 40
MAX_POINTS = 100  # of one curve
PANELS = ("val_accuracy", "train_accuracy", "val_loss", "train_loss")  # of effects, as the studies draw them
MAPPED_AXES = 5  # ten pairs; each costs 576 numbers
CELLS = 24


def chart_data(study: Study, found: Effects | None = None) -> dict[str, Any]:
    """What page.js draws. Hyperparameters stand as units between 0 and 1, with the ticks that name them."""
    known = axes_of(study)[:MAX_AXES]
    shown = views.thinned(study.trials, leaders(study), MAX_TRIALS)
    values = [value for trial in views.scored_trials(study) if (value := study.value(trial)) is not None]
    low, high = value_limits(values)
    return {
        "metric": study.metric.name,
        "mode": study.metric.mode,
        "limits": [_short(low), _short(high)],
        "log": wants_log(values),
        "axes": [_axis(one) for one in known],
        "trials": _trials(study, shown, known),
        "best": study.best.number if study.best else None,
        "progress": _progress(study),
        "curves": _curves(study),
        "rungs": [rung for rung in views.rungs(study) if any(rung <= t.iterations for t in study.trials)],
        "timeline": _timeline(shown),
        "effects": _effects(found),
        "fronts": [_front(study, second, shown) for second in study.request.also],
        **_model(study, known),
    }


def _front(study: Study, second: Metric, shown: Sequence[Trial]) -> dict[str, Any]:
    """[second metric, result, trial] of the trials shown, and of those that no other beats in both."""

    def other(trial: Trial) -> float | None:
        return views.second_value(trial, second)

    def points(trials: Sequence[Trial]) -> list[list[Any]]:
        return [[_short(other(trial)), _short(study.value(trial)), trial.number] for trial in trials]

    return {
        "name": second.name,
        "mode": second.mode,
        "points": points([t for t in shown if study.score(t) is not None and other(t) is not None]),
        "front": points(sorted(views.front(study, second), key=lambda trial: other(trial) or 0.0)),
    }


def _effects(found: Effects | None) -> list[list[dict[str, Any]]]:
    """For each table its panels, one a metric: for each value its mean curve with a band."""
    return [
        [
            {
                "metric": metric,
                "values": [
                    {"name": f"{section.table.title} {row.label}"[:60], "points": points}
                    for row in section.rows
                    if (points := _mean_points([run.curves.get(metric, ()) for run in row.runs]))
                ],
            }
            for metric in panels_of(section)
        ]
        for section in (found.sections if found else [])
    ]


def panels_of(section: Section) -> list[str]:
    """Metrics that are drawn for a table: none for a grid of two hyperparameters, none without curves."""
    if len(section.table.vary) > 1:
        return []
    long = {
        name
        for row in section.rows
        for run in row.runs
        for name, curve in run.curves.items()
        if len(curve) > 1
    }
    known = [name for name in PANELS if name in long]
    return known or sorted(long - set(ASIDE))[:4]


def _mean_points(curves: Sequence[Sequence[tuple[int, float]]]) -> list[list[float | None]]:
    """[iteration, mean, mean - sd, mean + sd], thinned."""
    at, mean, sd = mean_curve(curves)
    kept = sorted({int(i) for i in np.linspace(0, len(at) - 1, min(MAX_POINTS, len(at)))})
    return [[_short(v) for v in (at[i], mean[i], mean[i] - sd[i], mean[i] + sd[i])] for i in kept]


def _axis(one: Axis) -> dict[str, Any]:
    return {
        "name": one.name[:200],
        "log": one.log,
        "choices": len(one.choices),
        "ticks": [[_short(unit), label[:18]] for unit, label in one.ticks()],
    }


def _trials(study: Study, shown: Sequence[Trial], known: Sequence[Axis]) -> list[dict[str, Any]]:
    columns = [units(one, [trial.config for trial in shown]) for one in known]
    return [
        {
            "n": trial.number,
            "s": trial.state.value,
            "o": origin_group(trial.origin),
            "v": _short(study.value(trial)),
            "k": study.score(trial) is not None,
            "u": [_short(column[i]) for column in columns],
            "c": [
                text(trial.config.get(one.name, MISSING))[:40] if one.name in trial.config else ""
                for one in known
            ],
        }
        for i, trial in enumerate(shown)
    ]


def _progress(study: Study) -> dict[str, Any]:
    """The incumbent's steps, and the random baseline at a hundred points at most."""
    ended = views.in_order_of_end(study)
    line = views.incumbent_line(study, ended)
    steps = [[i + 1, _short(v)] for i, v in enumerate(line) if v is not None and (i == 0 or v != line[i - 1])]
    if steps and steps[-1][0] != len(line):
        steps.append([len(line), steps[-1][1]])
    band = views.random_baseline(study, len(ended)) if ended else None
    at = sorted({int(i) for i in np.geomspace(1, len(ended), 100)}) if ended else []
    return {
        "steps": steps,
        "band": None if band is None else [[i, *(_short(line[i - 1]) for line in band)] for i in at],
    }


def _curves(study: Study) -> dict[str, Any]:
    name = study.metric.name
    drawn = [trial for trial in study.trials if trial.curve(name)]
    top = leaders(study)
    shown = views.thinned(drawn, top, views.MAX_CURVES)
    longest = max((len(trial.curve(name)) for trial in drawn), default=0)
    lines = []
    for trial in shown if longest > 1 else []:
        curve = trial.curve(name)
        kept = sorted({int(i) for i in np.linspace(0, len(curve) - 1, min(MAX_POINTS, len(curve)))})
        points = [[curve[i][0], _short(curve[i][1])] for i in kept]
        lines.append({"n": trial.number, "s": trial.state.value, "p": points})
    return {"lines": lines, "top": [trial.number for trial in top], "of": len(drawn)}


def _timeline(shown: Sequence[Trial]) -> dict[str, Any]:
    begun = [trial for trial in shown if trial.started is not None]
    if not begun:
        return {"lanes": [], "bars": [], "unit": "s"}
    zero = min(trial.started or 0.0 for trial in begun)
    unit, words = views.time_unit(max((last_moment(trial) or zero) - zero for trial in begun))
    lanes = views.worker_lanes(begun)
    names = list(dict.fromkeys(lanes.values()))
    position = {name: i for i, name in enumerate(names)}
    bars = [
        [
            position[lanes[trial.number]],
            _short(((trial.started or zero) - zero) / unit),
            _short(((last_moment(trial) or zero) - zero) / unit),
            trial.number,
            trial.state.value,
        ]
        for trial in begun
    ]
    return {"lanes": [name[:40] for name in names], "bars": bars, "unit": words}


def _model(study: Study, known: Sequence[Axis]) -> dict[str, Any]:
    """Importances, dependence and maps of what matters most; or the words that say why there are none."""
    sample = surrogate.sample_of(study)
    if not sample.enough:
        return {"importances": None, "why_not": sample.why_not, "dependence": [], "maps": {}}
    found, explained = surrogate.importances(sample)
    column = {one.name: i for i, one in enumerate(sample.axes)}
    chosen = [
        column[item.name] for item in found if item.name != surrogate.NOISE and column[item.name] < len(known)
    ]
    landscape = surrogate.Landscape(sample)
    sign = 1 if study.metric.mode == "max" else -1
    dependence = []
    for i in chosen[:4]:
        grid = surrogate.choices_grid(sample.axes[i], 40)
        mean, deviation = landscape.along(i, grid)
        rows = zip(grid, sign * mean, deviation, strict=True)
        dependence.append({"axis": i, "points": [[_short(u), _short(m), _short(d)] for u, m, d in rows]})
    maps = {}
    mapped = chosen[:MAPPED_AXES]
    for a in mapped:
        for b in mapped:
            if a < b:
                grids = [surrogate.choices_grid(sample.axes[i], CELLS) for i in (a, b)]
                table = sign * landscape.over(a, b, *grids)
                maps[f"{a},{b}"] = {
                    "x": [_short(u) for u in grids[0]],
                    "y": [_short(u) for u in grids[1]],
                    "z": [[_short(v) for v in row] for row in table],
                }
    return {
        "importances": [
            {"name": item.name, "share": item.share, "low": item.low, "high": item.high} for item in found
        ],
        "trust": surrogate.describe(found, explained),
        "order": chosen,
        "dependence": dependence,
        "maps": maps,
    }


def _short(value: float | None) -> float | None:
    """Five digits are enough for a pixel; nan and infinity have no place in JSON."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
