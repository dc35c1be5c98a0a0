"""Plots of hyperparameters: all together, two at a time, one at a time, and which of them matter."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tuneapp.analysis.analysis import DEPENDENCES, Analysis
from tuneapp.analysis.axes import Axis, axis, units
from tuneapp.analysis.landscape import Landscape, Map
from tuneapp.analysis.numbers import Array
from tuneapp.analysis.progress import origin_group
from tuneapp.analysis.scale import Scale
from tuneapp.errors import UsageError
from tuneapp.report.style import (
    BLUE,
    GREY,
    ORIGINS,
    RED,
    brief,
    dress,
    half_cell,
    legend_below,
    metric_label,
    new_figure,
    norm_for,
    scale_axis,
    scale_values,
    sentence_only,
    sheet,
    spread,
    value_map,
)
from tuneapp.report.views import MAX_CURVES, NO_RESULT, some_of, thinned
from tuneapp.studies import Trial, TrialState

HALO = [withStroke(linewidth=2.5, foreground="white")]  # black marks stay readable on dark ground
TOP = 5  # trials that are drawn wherever not all can be
MAX_LINES = 500
MAX_MARKS = 1000
MAX_INDEXES = 60  # more numbers cover each other
MAX_POLES = 14  # hyperparameters side by side, where none are named
MAX_BARS = 20
NOT_SET = -0.14  # where a line passes the axis of a hyperparameter that its trial does not have


def parallel(analysis: Analysis, *names: str) -> Figure:
    """Parallel coordinates: one axis per hyperparameter and one for the result, one line per trial.

    Dark is better; early-stopped trials are pale.
    """
    study, scale = analysis.study, analysis.scale
    drawn = [axis(study, name) for name in names] or analysis.axes[:MAX_POLES]
    shown = thinned(analysis.scored, analysis.ranked[:TOP], MAX_LINES)
    if not shown or not drawn:
        sentence = NO_RESULT if not shown else "No hyperparameter is searched."
        return sentence_only("Parallel coordinates", sentence)
    place = {trial.number: position for position, trial in enumerate(analysis.ranked)}
    shown = sorted(shown, key=lambda trial: -place[trial.number])  # the best is drawn last, on top
    values = scale.place([study.value(trial) for trial in shown])
    norm = norm_for(scale)
    note = "" if names or len(drawn) == len(analysis.axes) else f"{len(drawn)} of {len(analysis.axes)} "
    figure = new_figure(max(8.0, 1.35 * (len(drawn) + 1)), 4.8)
    axes = figure.add_subplot()
    axes.set_title(
        f"{note}{'hyper' if note else 'Hyper'}parameters of {some_of(shown, analysis.scored)}, "
        f"dark: better {brief(study.metric.name)}",
        loc="left",
        fontsize=11,
    )
    columns = [np.nan_to_num(_jittered(each, shown), nan=NOT_SET) for each in drawn]
    points = np.column_stack([*columns, np.asarray(norm(values), dtype=float)])
    many = len(shown) > MAX_CURVES
    colours = value_map(study)(norm(values))
    colours[:, 3] = [
        0.35 if many or trial.state is TrialState.STOPPED else 0.75 for trial in shown
    ]  # opacity
    lines = [np.column_stack([np.arange(points.shape[1]), row]) for row in points]
    axes.add_collection(LineCollection(lines, colors=list(colours), linewidths=0.6 if many else 1.1))
    best = analysis.best
    if best is not None:
        axes.plot(points[shown.index(best)], color="black", linewidth=2.4, label=f"best, trial {best.number}")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.06), frameon=False, fontsize=9)
    for position, each in enumerate(drawn):
        _pole(axes, position, each.ticks())
        if np.isnan(units(each, [trial.config for trial in shown])).any():
            axes.text(position + 0.03, NOT_SET, "not set", fontsize=8, va="center", color="#444444")
    ticks = [(float(share), f"{norm.inverse(share):.4g}") for share in np.linspace(0, 1, 5)]
    _pole(axes, len(drawn), ticks)
    labels = [_broken(f"{each.name}{' (log)' if each.log else ''}") for each in drawn]
    axes.set_xticks(range(len(drawn) + 1), [*labels, _broken(scale.named(study.metric.name))], fontsize=9)
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.15, len(drawn) + 0.4)
    axes.set_ylim(-0.2, 1.06)
    return figure


def pair_map(analysis: Analysis, x: str | None = None, y: str | None = None) -> Figure:
    """Trials over two hyperparameters: colour is the result, the number the trial; the best is circled."""
    study, scale = analysis.study, analysis.scale
    first, second, problem = pair(analysis, x, y)
    if first is None or second is None:
        return sentence_only("Map of two hyperparameters", problem)
    figure, axes = sheet(
        f"Trials over {brief(first.name)} and {brief(second.name)}, dark: better {brief(study.metric.name)}",
        7.2,
        5.2,
    )
    scale_axis(axes, "x", first)
    scale_axis(axes, "y", second)
    norm = norm_for(scale)
    mark_trials(analysis, axes, first, second, norm)
    bar = figure.colorbar(ScalarMappable(norm, value_map(study)), ax=axes)
    bar.set_label(scale.named(metric_label(study.metric.name)))
    legend_below(figure, axes)
    return figure


def contour(analysis: Analysis, x: str | None = None, y: str | None = None) -> Figure:
    """A model's landscape over two hyperparameters, averaged over the others, with the trials on it.

    Without names: the two most important ones.
    """
    study = analysis.study
    if x is None and y is None and len(analysis.most_important) > 1:
        x, y = (analysis.sample.axes[column].name for column in analysis.most_important[:2])
    first, second, problem = pair(analysis, x, y)
    if first is None or second is None:
        return sentence_only("Contour", problem)
    title = f"Contour of {brief(first.name)} and {brief(second.name)}"
    ground, note = _ground(analysis, first, second)
    if ground is None:
        return sentence_only(title, note)
    figure, axes = sheet(
        f"Model of {brief(study.metric.name)} over {brief(first.name)} and {brief(second.name)}, "
        f"dark: better{note}",
        7.2,
        5.2,
    )
    scale_axis(axes, "x", first)
    scale_axis(axes, "y", second)
    values = np.ma.masked_invalid(ground.mean)
    if first.numeric and second.numeric:
        filled = axes.contourf(ground.x, ground.y, values, 14, cmap=value_map(study))
        lines = axes.contour(filled, colors="white", linewidths=0.5, alpha=0.6)
        colours = ScalarMappable(filled.norm, filled.cmap)
        axes.clabel(lines, np.asarray(lines.levels)[1::3], fontsize=7, fmt="%.3g")
    else:
        edges = [cell_edges(first, ground.x), cell_edges(second, ground.y)]
        colours = axes.pcolormesh(*edges, values, cmap=value_map(study))
    axes.grid(False)
    mark_trials(analysis, axes, first, second)
    label = analysis.scale.named(metric_label(study.metric.name))
    figure.colorbar(colours, ax=axes).set_label(f"{label}, model's mean")
    legend_below(figure, axes)
    return figure


def importances(analysis: Analysis) -> Figure:
    """How much of the result's variance goes with each hyperparameter, with its uncertainty."""
    title = f"Which hyperparameters move {brief(analysis.study.metric.name)}"
    computed = analysis.importances
    if computed is None:
        return sentence_only(title, analysis.sample.why_not)
    rows = computed.items[:MAX_BARS]
    figure, axes = sheet(title, 8.0, 2.3 + 0.36 * len(rows))
    shares = np.array([item.share for item in rows])
    spans = np.array([[item.share - item.low, item.high - item.share] for item in rows]).clip(0).T
    axes.barh(range(len(rows)), shares, color=BLUE, height=0.62, alpha=0.85)
    axes.errorbar(
        shares, range(len(rows)), xerr=spans, fmt="none", ecolor="black", capsize=3, linewidth=1.2,
        label="10 to 90 % over bootstraps of the trials",
    )  # fmt: skip
    axes.axvline(
        computed.noise.high, color=RED, linestyle="--", linewidth=1.2, label="what random numbers reach"
    )
    axes.set_yticks(range(len(rows)), [brief(item.name, 24) for item in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, float((shares + spans[1]).max()) * 1.02))
    summary = brief(computed.summary, 400)
    axes.set_xlabel(
        "share of the variance, interactions included (total effect)\n" + textwrap.fill(summary, 95)
    )
    legend_below(figure, axes, columns=2)
    return figure


def dependence(analysis: Analysis, *names: str) -> Figure:
    """The model's mean result along each hyperparameter, with its band, over the trials' other values.

    Without names: the four most important ones.
    """
    study, sample, scale = analysis.study, analysis.sample, analysis.scale
    title = f"How {brief(study.metric.name)} depends on single hyperparameters"
    for name in names:
        axis(study, name)  # an unknown name is refused, whatever the state
    if not sample.enough:
        return sentence_only(title, sample.why_not)
    column = {each.name: position for position, each in enumerate(sample.axes)}
    chosen = [column[name] for name in names if name in column]
    if names and not chosen:
        return sentence_only(title, f"{brief(', '.join(names), 200)}: not searched.")
    drawn = [analysis.dependence(each) for each in chosen or analysis.most_important[:DEPENDENCES]]
    columns = min(2, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = new_figure(4.2 * columns + 0.4, 2.9 * rows + 0.5)
    figure.suptitle(
        f"{title}: model's mean ± 1 sd, trials as dots,\nearly-stopped ones where they would have come to",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    grid_axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    values = sample.scores if study.metric.mode == "max" else -sample.scores
    bands = [edge for each in drawn for edge in (each.mean - each.deviation, each.mean + each.deviation)]
    limits = Scale.of(np.concatenate([values, *bands]).tolist())
    alpha = 0.6 if len(values) <= MAX_CURVES else 0.1
    for axes, each in zip(grid_axes, drawn, strict=False):
        one = each.axis
        dress(axes)
        scale_axis(axes, "x", one)
        scale_values(axes, limits)
        low, middle, high = (
            limits.place(line) for line in (each.mean - each.deviation, each.mean, each.mean + each.deviation)
        )
        at = spread(sample.units[:, column[one.name]], one)
        axes.scatter(at, limits.place(values), s=10, color=GREY, alpha=alpha, linewidths=0)
        if one.numeric:
            axes.fill_between(each.grid, low, high, color=BLUE, alpha=0.2, linewidth=0)
            axes.plot(each.grid, middle, color=BLUE, linewidth=2)
        else:
            reach = [middle - low, high - middle]
            axes.errorbar(each.grid, middle, reach, fmt="o", color=BLUE, capsize=4, linewidth=2)
    for axes in grid_axes[::columns]:
        axes.set_ylabel(scale.named(metric_label(study.metric.name)), fontsize=9)
    for axes in grid_axes[len(drawn) :]:
        axes.set_axis_off()
    return figure


def pair(analysis: Analysis, x: str | None, y: str | None) -> tuple[Axis | None, Axis | None, str]:
    """The two axes asked for, or the first two searched; else None and a sentence that says why."""
    if not analysis.ranked:
        return None, None, NO_RESULT
    study, searched = analysis.study, analysis.axes
    if x is not None and x == y:
        raise UsageError(f"A map needs two different hyperparameters, but got '{x}' twice.")
    first = axis(study, x) if x else next((each for each in searched if each.name != y), None)
    others = (each for each in searched if first and each.name != first.name)
    second = axis(study, y) if y else next(others, None)
    if first is None or second is None:
        return None, None, "A map needs two searched hyperparameters."
    return first, second, ""


def mark_trials(
    analysis: Analysis, axes: Axes, first: Axis, second: Axis, norm: Normalize | None = None
) -> None:
    """The trials, coloured by their results where a norm is given, else black on a ground of colour."""
    study, scored, top = analysis.study, analysis.scored, analysis.ranked[:TOP]
    shown = thinned(scored, top, MAX_MARKS if norm else MAX_CURVES)
    configs = [trial.config for trial in shown]
    x, y = spread(units(first, configs), first, seed=0), spread(units(second, configs), second, seed=1)
    values = analysis.scale.place([study.value(trial) for trial in shown])
    fills = np.tile([0.0, 0.0, 0.0, 1.0], (len(shown), 1)) if norm is None else value_map(study)(norm(values))
    size = 42 if len(shown) <= MAX_CURVES else 16
    for group, (label, _, marker) in ORIGINS.items():
        some = [i for i, trial in enumerate(shown) if origin_group(trial.origin) == group]
        if some:
            filled = marker != "x"
            axes.scatter(
                x[some], y[some], c=fills[some], marker=marker, s=size, linewidths=0.5 if filled else 1.8,
                edgecolors="#444444" if filled else None, label=label,
                path_effects=HALO if norm is None else None,
            )  # fmt: skip
    numbered = shown if len(shown) <= MAX_INDEXES else top
    for i, trial in enumerate(shown):
        if trial in numbered:
            axes.annotate(
                str(trial.number), (x[i], y[i]), xytext=(4, 4), textcoords="offset points", fontsize=7,
                path_effects=HALO,
            )  # fmt: skip
    best = analysis.best
    if best is not None and not np.isnan(x[shown.index(best)] + y[shown.index(best)]):
        i = shown.index(best)
        axes.scatter(x[i], y[i], s=190, facecolors="none", edgecolors=BLUE, linewidths=2.2, label="best")
    absent = int(np.isnan(x + y).sum())
    if len(shown) < len(scored):
        axes.plot([], [], linestyle="none", label=f"{some_of(shown, scored)} drawn")
    if absent:
        axes.plot([], [], linestyle="none", label=f"not drawn: {absent} trials without one of the two")


def cell_edges(axis: Axis, grid: Array) -> Array:
    """Around each grid point: cells of equal width, or around each choice."""
    if not axis.numeric:
        half = half_cell(axis)
        return np.append(grid - half, grid[-1] + half)
    step = grid[1] - grid[0]
    return np.asarray(np.clip(np.append(grid - step / 2, 1 + step / 2), 0, 1))


def _ground(analysis: Analysis, first: Axis, second: Axis) -> tuple[Map | None, str]:
    """The model's map of two hyperparameters, with a note for the title; or None and why there is none."""
    sample = analysis.sample
    column = {each.name: position for position, each in enumerate(sample.axes)}
    fixed = [each.name for each in (first, second) if each.name not in column]
    if fixed:
        return None, f"{fixed[0]} is not searched."
    across, up = column[first.name], column[second.name]
    if sample.enough:
        return analysis.map(across, up), ""
    if len(sample.axes) > 2:
        # Too few trials for all hyperparameters may be enough for two.
        sample = sample.only([across, up])
        if sample.enough:
            return Landscape(sample, analysis.study.metric.mode).map(0, 1), ", others ignored"
    return None, sample.why_not


def _jittered(axis: Axis, shown: Sequence[Trial]) -> Array:
    positions = units(axis, [trial.config for trial in shown])
    if axis.numeric:
        return positions
    width = 0.1 / max(1, len(axis.choices))
    return positions + np.random.default_rng(0).uniform(-width, width, len(positions))


def _pole(axes: Axes, position: int, ticks: Sequence[tuple[float, str]]) -> None:
    axes.plot([position, position], [0, 1], color="#333333", linewidth=1)
    for unit, label in ticks:
        axes.plot([position - 0.02, position], [unit, unit], color="#333333", linewidth=1)
        axes.text(
            position + 0.03, unit, brief(label, 14), fontsize=8, va="center",
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


def _broken(name: str) -> str:
    """A long name on two lines."""
    name = brief(name, 28)
    if len(name) <= 14:
        return name
    cut = [i for i, c in enumerate(name) if c in "_ .-" and i > 2]
    if not cut:
        return name
    middle = min(cut, key=lambda i: abs(i - len(name) / 2))
    return name[: middle + 1] + "\n" + name[middle + 1 :]
