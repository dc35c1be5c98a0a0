"""The numbers behind the page's charts, as plain JSON: bounded in size, whatever the study's."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.axes import MISSING, Axis, units
from tuneapp.analysis.effects.judge import EffectTable, mean_curve
from tuneapp.analysis.numbers import number, text
from tuneapp.analysis.pareto import Front
from tuneapp.analysis.progress import origin_group
from tuneapp.analysis.scale import PLAIN, Scale
from tuneapp.report.effects import curve_panels
from tuneapp.report.guard import LeftOut
from tuneapp.report.tables import one_line
from tuneapp.report.views import MAX_CURVES, thinned
from tuneapp.studies import Trial

MAX_TRIALS = 2000  # in the charts; the table of the page has its own limit, trials.csv none
MAX_AXES = 40
MAX_POINTS = 100  # of one curve
TOP = 5  # trials that are drawn wherever not all can be

# The parts of the page that can be left out, as their lines call them.
RESULTS = "the charts of results"
PROGRESS = "the chart of the best so far"
CURVES = "the chart of learning curves"
TIMELINE = "the chart of workers"
EFFECTS = "the charts of effects"
FRONTS = "the charts of trade-offs"
MODEL = "the model of the hyperparameters"


def chart_data(analysis: Analysis, left_out: LeftOut) -> dict[str, Any]:
    """What page.js draws; a part that can't be made is empty, and `left_out` says why.

    Hyperparameters stand as positions between 0 and 1, with the ticks that name them; results in units of
    their scale.
    """
    data: dict[str, Any] = {
        "metric": analysis.study.metric.name,
        "mode": analysis.study.metric.mode,
        "limits": [0.0, 1.0],
        "log": False,
        "axes": [],
        "trials": [],
        "best": None,
        "progress": {"steps": [], "band": None, "name": "", "limits": [0.0, 1.0]},
        "curves": {"lines": [], "top": [], "of": 0, "name": ""},
        "rungs": [],
        "timeline": {"lanes": [], "bars": [], "unit": "s"},
        "effects": [],
        "fronts": [],
        "importances": None,
        "model": "No hyperparameter is searched.",
        "dependence": [],
        "order": [],
        "maps": {},
    }
    with left_out.guard(RESULTS):
        data |= _results(analysis)
    with left_out.guard(PROGRESS):
        data["progress"] = _progress(analysis)
    with left_out.guard(CURVES):
        data |= _curves(analysis)
    with left_out.guard(TIMELINE):
        data["timeline"] = _timeline(analysis)
    with left_out.guard(EFFECTS):
        data["effects"] = list(map(_effects, analysis.effects.tables if analysis.effects else []))
    with left_out.guard(FRONTS):
        data["fronts"] = [_front(analysis, front) for front in analysis.fronts]
    if data["axes"]:  # what a model says is drawn on them
        with left_out.guard(MODEL):
            data |= _model(analysis)
    return data


def _shown(analysis: Analysis) -> list[Trial]:
    return thinned(analysis.study.trials, analysis.ranked[:TOP], MAX_TRIALS)


def _results(analysis: Analysis) -> dict[str, Any]:
    study, scale = analysis.study, analysis.scale
    searched, shown = analysis.axes[:MAX_AXES], _shown(analysis)
    columns = [units(axis, [trial.config for trial in shown]) for axis in searched]
    trials = []
    for i, trial in enumerate(shown):
        value = study.value(trial)
        config = [
            one_line(text(trial.config.get(axis.name, MISSING)), 40) if axis.name in trial.config else ""
            for axis in searched
        ]
        trials.append(
            {
                "n": trial.number,
                "s": trial.state.value,
                "o": origin_group(trial.origin),
                "v": None if value is None else _short(float(scale.units(value).clip(-PLAIN, PLAIN))),
                "t": "" if value is None else number(value),
                "i": trial.iterations,
                "k": study.score(trial) is not None,
                "u": [_short(column[i]) for column in columns],
                "c": config,
            }
        )
    return {
        "metric": scale.named(study.metric.name),
        "limits": [_short(scale.low), _short(scale.high)],
        "log": scale.log,
        "axes": [_axis(axis) for axis in searched],
        "trials": trials,
        "best": analysis.best.number if analysis.best else None,
    }


def _front(analysis: Analysis, front: Front) -> dict[str, Any]:
    """[second metric, result, trial] of the trials shown, and of those that no other beats in both."""
    across, up = front.scale, analysis.scale
    drawn = {trial.number for trial in _shown(analysis)}

    def points(trials: Sequence[Trial]) -> list[list[Any]]:
        x = across.place([front.value(trial) for trial in trials])
        y = up.place([analysis.study.value(trial) for trial in trials])
        return [[_short(x[i]), _short(y[i]), trial.number] for i, trial in enumerate(trials)]

    return {
        "name": across.named(front.second.name),
        "mode": front.second.mode,
        "points": points([trial for trial in front.trials if trial.number in drawn]),
        "front": points(sorted(front.best, key=front.value)),
    }


def _effects(outcome: EffectTable) -> list[dict[str, Any]]:
    """The panels of a table, one per metric: for each value its mean curve with a band."""
    panels = []
    for metric in curve_panels(outcome):
        means = [mean_curve([run.curves.get(metric, ()) for run in row.runs]) for row in outcome.rows]
        scale = Scale.of(value for _, mean, _ in means for value in mean.tolist())
        panels.append(
            {
                "metric": scale.named(metric),
                "values": [
                    {"name": one_line(f"{outcome.table.title} {row.label}", 60), "points": points}
                    for row, mean in zip(outcome.rows, means, strict=True)
                    if (points := _mean_points(scale, *mean))
                ],
            }
        )
    return panels


def _mean_points(scale: Scale, at: Any, mean: Any, sd: Any) -> list[list[float | None]]:
    """[iteration, mean, mean - sd, mean + sd], thinned."""
    middle, reach = scale.units(mean).clip(-PLAIN, PLAIN), scale.units(sd).clip(0, PLAIN)
    return [
        [_short(value) for value in (at[i], middle[i], middle[i] - reach[i], middle[i] + reach[i])]
        for i in _thin(len(at))
    ]


def _thin(count: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, count - 1, min(MAX_POINTS, count))})


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "name": one_line(axis.name, 200),
        "log": axis.log,
        "choices": len(axis.choices),
        "ticks": [[_short(unit), one_line(label, 18)] for unit, label in axis.ticks()],
    }


def _progress(analysis: Analysis) -> dict[str, Any]:
    """The incumbent's steps, and the random baseline at a hundred points at most."""
    progress, metric = analysis.progress, analysis.study.metric
    scale = progress.scale(metric)
    line = [_short(value) for value in scale.place(list(progress.values))]
    steps = [[i + 1, v] for i, v in enumerate(line) if v is not None and (i == 0 or v != line[i - 1])]
    if steps and steps[-1][0] != len(line):
        steps.append([len(line), steps[-1][1]])
    band = None
    if progress.baseline is not None:
        baseline = progress.baseline
        lines = [scale.place(each) for each in (baseline.low, baseline.middle, baseline.high)]
        at = sorted({int(i) for i in np.geomspace(1, len(progress.ended), 100)})
        band = [[i, *(_short(each[i - 1]) for each in lines)] for i in at]
    return {
        "steps": steps,
        "band": band,
        "name": scale.named(metric.name),
        "limits": [_short(scale.low), _short(scale.high)],
    }


def _curves(analysis: Analysis) -> dict[str, Any]:
    curves, scale, name = analysis.curves, analysis.curve_scale, analysis.study.metric.name
    shown = thinned(curves.trials, curves.top, MAX_CURVES) if curves.points > 1 else []
    lines = []
    for trial in shown:
        curve = trial.curve(name)
        places = scale.place([value for _, value in curve])
        finite = [value if math.isfinite(value) else math.nan for _, value in curve]
        points = [[curve[i][0], _short(places[i] + 0 * finite[i])] for i in _thin(len(curve))]
        label = f"{number(curve[-1][1])} at iteration {curve[-1][0]}"
        lines.append({"n": trial.number, "s": trial.state.value, "p": points, "t": label})
    return {
        "curves": {
            "lines": lines,
            "top": [trial.number for trial in curves.top],
            "of": len(curves.trials),
            "name": scale.named(name),
        },
        "rungs": list(curves.rungs),
    }


def _timeline(analysis: Analysis) -> dict[str, Any]:
    line, drawn = analysis.timeline, {trial.number for trial in _shown(analysis)}
    return {
        "lanes": [one_line(name, 40) for name in line.lanes],
        "bars": [
            [bar.lane, _short(bar.start), _short(bar.end), bar.trial.number, bar.trial.state.value]
            for bar in line.bars
            if bar.trial.number in drawn
        ],
        "unit": line.unit,
    }


def _model(analysis: Analysis) -> dict[str, Any]:
    """Importances, dependence and maps of what matters most; or the sentence why there are none."""
    importances, sample = analysis.importances, analysis.sample
    if importances is None:
        return {"model": sample.why_not}
    chosen = [column for column in analysis.most_important if column < MAX_AXES]
    drawn = list(zip(analysis.most_important, analysis.dependences, strict=False))
    return {
        "importances": [
            {"name": one_line(item.name, 200), "share": item.share, "low": item.low, "high": item.high}
            for item in importances.items
        ],
        "noise": importances.noise.high,
        "model": importances.summary,
        "order": chosen,
        "dependence": [
            {
                "axis": column,
                "points": list(map(list, _rows(each.grid, each.mean, each.deviation))),
            }
            for column, each in drawn
            if column < MAX_AXES
        ],
        "maps": {
            f"{a},{b}": {
                "x": [_short(unit) for unit in each.x],
                "y": [_short(unit) for unit in each.y],
                "z": [[_short(value) for value in row] for row in each.mean],
            }
            for (a, b), each in analysis.maps.items()
            if b < MAX_AXES
        },
    }


def _rows(*columns: Any) -> Iterator[tuple[float | None, ...]]:
    for row in zip(*columns, strict=True):
        yield tuple(_short(value) for value in row)


def _short(value: float | None) -> float | None:
    """Five digits are enough for a pixel; nan and infinity have no place in JSON."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
