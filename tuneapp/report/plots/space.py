"""Pictures of hyperparameters: all together, two at a time, one at a time, and which of them matter."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tuneapp.analysis.axes import Array, Axis, axis, places, units
from tuneapp.analysis.axes import axes as axes_of
from tuneapp.errors import UsageError
from tuneapp.report import surrogate
from tuneapp.report.style import (
    BLUE,
    GREY,
    ORIGINS,
    RED,
    brief,
    dress,
    legend_below,
    metric_label,
    new_figure,
    norm_for,
    origin_group,
    scale_axis,
    scale_values,
    sheet,
    spread,
    value_map,
    words_only,
)
from tuneapp.report.tables import leaders
from tuneapp.report.views import MAX_CURVES, NO_RESULT, scored_trials, some_of, thinned
from tuneapp.studies import Study, Trial

HALO = [withStroke(linewidth=2.5, foreground="white")]  # black marks stay readable on dark ground
MAX_LINES = 500
MAX_MARKS = 1000
MAX_INDEXES = 60  # more numbers cover each other
MAX_POLES = 14  # hyperparameters side by side, where none are named
MAX_BARS = 20


def parallel(study: Study, *names: str) -> Figure:
    """One axis a hyperparameter and one for the result, one line a trial; dark is better."""
    known = axes_of(study)
    drawn = [axis(study, name) for name in names] or known[:MAX_POLES]
    scored = scored_trials(study)
    shown = thinned(scored, leaders(study), MAX_LINES)
    if not shown or not drawn:
        words = NO_RESULT if not shown else "No hyperparameter is searched."
        return words_only("Parallel coordinates", words)
    values = np.array([study.value(trial) for trial in shown], dtype=float)
    norm, colours = norm_for(list(values)), value_map(study)
    note = "" if names or len(drawn) == len(known) else f"{len(drawn)} of {len(known)} "
    figure = new_figure(max(8.0, 1.35 * (len(drawn) + 1)), 4.8)
    axes = figure.add_subplot()
    axes.set_title(
        f"{note}{'hyper' if note else 'Hyper'}parameters of {some_of(shown, scored)}, "
        f"dark: better {brief(study.metric.name)}",
        loc="left",
        fontsize=11,
    )
    scaled = np.asarray(norm(values), dtype=float)
    columns = [np.nan_to_num(_jittered(one, shown), nan=-0.14) for one in drawn]
    points = np.column_stack([*columns, scaled])
    order = np.argsort(values if study.metric.mode == "max" else -values)
    many = len(shown) > MAX_CURVES
    lines = [np.column_stack([np.arange(points.shape[1]), points[i]]) for i in order]
    collection = LineCollection(
        lines, array=values[order], cmap=colours, norm=norm, alpha=0.35 if many else 0.75,
        linewidths=0.6 if many else 1.1,
    )  # fmt: skip
    axes.add_collection(collection)
    best = study.best
    if best is not None:
        axes.plot(points[shown.index(best)], color="black", linewidth=2.4, label=f"best, trial {best.number}")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.06), frameon=False, fontsize=9)
    for position, one in enumerate(drawn):
        _pole(axes, position, [*one.ticks()])
        if np.isnan(units(one, [trial.config for trial in shown])).any():
            axes.text(position + 0.03, -0.14, "not set", fontsize=8, va="center", color="#444444")
    ends = [norm.vmin or 0.0, norm.vmax or 1.0]
    inner = norm.inverse(np.linspace(0, 1, 5))
    _pole(axes, len(drawn), [(float(norm(v)), f"{v:.4g}") for v in [ends[0], *inner[1:-1], ends[1]]])
    labels = [_broken(f"{one.name}{' (log)' if one.log else ''}") for one in drawn]
    axes.set_xticks(range(len(drawn) + 1), [*labels, _broken(study.metric.name)], fontsize=9)
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.15, len(drawn) + 0.4)
    axes.set_ylim(-0.2, 1.06)
    return figure


def pair_map(study: Study, x: str | None = None, y: str | None = None) -> Figure:
    """Trials over two hyperparameters: colour is the result, the number the trial; the best is circled."""
    first, second, problem = pair(study, x, y)
    if first is None or second is None:
        return words_only("Map of two hyperparameters", problem)
    figure, axes = sheet(
        f"Trials over {brief(first.name)} and {brief(second.name)}, dark: better {brief(study.metric.name)}",
        7.2,
        5.2,
    )
    scale_axis(axes, "x", first)
    scale_axis(axes, "y", second)
    norm, colours = norm_for([study.value(t) or 0.0 for t in scored_trials(study)]), value_map(study)
    mark_trials(study, axes, first, second, norm)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes)
    bar.set_label(metric_label(study.metric.name))
    legend_below(figure, axes)
    return figure


def contour(study: Study, x: str | None = None, y: str | None = None) -> Figure:
    """A model's landscape over two hyperparameters, averaged over the others, with the trials on it.

    Without names: the two most important ones.
    """
    sample = surrogate.sample_of(study)
    if x is None and y is None and sample.enough and len(sample.axes) > 1:
        x, y = most_important(sample)[:2]
    first, second, problem = pair(study, x, y)
    if first is None or second is None:
        return words_only("Contour", problem)
    known = {one.name: column for column, one in enumerate(sample.axes)}
    fixed = [one.name for one in (first, second) if one.name not in known]
    others = ""
    if not fixed and not sample.enough and len(sample.axes) > 2:
        # Too few trials for all hyperparameters may be enough for two.
        sample = sample.only([known[first.name], known[second.name]])
        known, others = {first.name: 0, second.name: 1}, ", others ignored"
    if fixed or not sample.enough:
        problem = f"{fixed[0]} is not searched." if fixed else sample.why_not
        return words_only(f"Contour of {brief(first.name)} and {brief(second.name)}", problem)
    grids = [surrogate.choices_grid(one, 40) for one in (first, second)]
    scores = surrogate.Landscape(sample).over(known[first.name], known[second.name], *grids)
    values = np.ma.masked_invalid(scores if study.metric.mode == "max" else -scores)
    figure, axes = sheet(
        f"Model of {brief(study.metric.name)} over {brief(first.name)} and {brief(second.name)}, "
        f"dark: better{others}",
        7.2,
        5.2,
    )
    scale_axis(axes, "x", first)
    scale_axis(axes, "y", second)
    if first.numeric and second.numeric:
        filled = axes.contourf(first.at(grids[0]), second.at(grids[1]), values, 14, cmap=value_map(study))
        lines = axes.contour(filled, colors="white", linewidths=0.5, alpha=0.6)
        colours = ScalarMappable(filled.norm, filled.cmap)
        axes.clabel(lines, np.asarray(lines.levels)[1::3], fontsize=7, fmt="%.3g")
    else:
        edges = [cell_edges(one, grid) for one, grid in zip((first, second), grids, strict=True)]
        colours = axes.pcolormesh(*edges, values, cmap=value_map(study))
    axes.grid(False)
    mark_trials(study, axes, first, second)
    figure.colorbar(colours, ax=axes).set_label(f"{metric_label(study.metric.name)}, model's mean")
    legend_below(figure, axes)
    return figure


def importances(study: Study) -> Figure:
    """How much of the result's variance goes with each hyperparameter, with its uncertainty."""
    title = f"Which hyperparameters move {brief(study.metric.name)}"
    sample = surrogate.sample_of(study)
    if not sample.enough:
        return words_only(title, sample.why_not)
    found, explained = surrogate.importances(sample)
    figure, axes = sheet(title, 8.0, 1.9 + 0.36 * len(found))
    rows = [item for item in found if item.name != surrogate.NOISE][:MAX_BARS]
    floor = next(item for item in found if item.name == surrogate.NOISE)
    shares = np.array([item.share for item in rows])
    spans = np.array([[item.share - item.low, item.high - item.share] for item in rows]).clip(0).T
    axes.barh(range(len(rows)), shares, color=BLUE, height=0.62, alpha=0.85)
    axes.errorbar(
        shares, range(len(rows)), xerr=spans, fmt="none", ecolor="black", capsize=3, linewidth=1.2,
        label="10 to 90 % over bootstraps of the trials",
    )  # fmt: skip
    axes.axvline(floor.high, color=RED, linestyle="--", linewidth=1.2, label="what random numbers reach")
    axes.set_yticks(range(len(rows)), [brief(item.name, 24) for item in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, float((shares + spans[1]).max()) * 1.02))
    axes.set_xlabel(
        "share of the variance, interactions included (total effect)\n" + wrapped(found, explained)
    )
    legend_below(figure, axes, columns=2)
    return figure


def dependence(study: Study, *names: str) -> Figure:
    """The model's mean result along each hyperparameter, with its band, over the trials' other values.

    Without names: the four most important ones.
    """
    title = f"How {brief(study.metric.name)} depends on single hyperparameters"
    sample = surrogate.sample_of(study)
    for name in names:
        axis(study, name)  # an unknown name is refused, whatever the state
    if not sample.enough:
        return words_only(title, sample.why_not)
    known = {one.name: column for column, one in enumerate(sample.axes)}
    chosen = [name for name in names or most_important(sample)[:4] if name in known]
    if not chosen:
        return words_only(title, f"{', '.join(names)}: not searched.")
    landscape = surrogate.Landscape(sample)
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(4.2 * columns + 0.4, 2.9 * rows + 0.5)
    figure.suptitle(
        f"{title}: model's mean ± 1 sd, trials as dots,\nearly-stopped ones where they would have come to",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    grid_axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    values = sample.scores if study.metric.mode == "max" else -sample.scores
    for position, name in enumerate(chosen):
        axes, one = grid_axes[position], sample.axes[known[name]]
        dress(axes)
        grid = surrogate.choices_grid(one, 50)
        mean, deviation = landscape.along(known[name], grid)
        middle = mean if study.metric.mode == "max" else -mean
        scale_axis(axes, "x", one)
        low, high = scale_values(axes, [*values, *(middle - deviation), *(middle + deviation)])
        at = spread(one.at(sample.units[:, known[name]]), one)
        alpha = 0.6 if len(values) <= MAX_CURVES else 0.1
        axes.scatter(at, np.clip(values, low, high), s=10, color=GREY, alpha=alpha, linewidths=0)
        if one.numeric:
            axes.fill_between(
                one.at(grid), middle - deviation, middle + deviation, color=BLUE, alpha=0.2, linewidth=0
            )
            axes.plot(one.at(grid), middle, color=BLUE, linewidth=2)
        else:
            axes.errorbar(one.at(grid), middle, deviation, fmt="o", color=BLUE, capsize=4, linewidth=2)
        if position % columns == 0:
            axes.set_ylabel(metric_label(study.metric.name), fontsize=9)
    for axes in grid_axes[len(chosen) :]:
        axes.set_axis_off()
    return figure


def pair(study: Study, x: str | None, y: str | None) -> tuple[Axis | None, Axis | None, str]:
    """The two axes asked for, or the first two searched; else None and the words that say why."""
    if not scored_trials(study):
        return None, None, NO_RESULT
    known = axes_of(study)
    if x is not None and x == y:
        raise UsageError(f"A map needs two different hyperparameters, but got '{x}' twice.")
    first = axis(study, x) if x else next((one for one in known if one.name != y), None)
    second = axis(study, y) if y else next((one for one in known if first and one.name != first.name), None)
    if first is None or second is None:
        return None, None, "A map needs two searched hyperparameters."
    return first, second, ""


def mark_trials(study: Study, axes: Axes, first: Axis, second: Axis, norm: Normalize | None = None) -> None:
    """The trials, coloured by their results where a norm is given, else black on a ground of colour."""
    scored = scored_trials(study)
    shown = thinned(scored, leaders(study), MAX_MARKS if norm else MAX_CURVES)
    configs = [trial.config for trial in shown]
    x, y = places(first, configs), places(second, configs)
    x, y = spread(x, first, seed=0), spread(y, second, seed=1)
    values = np.array([study.value(trial) for trial in shown], dtype=float)
    fills = np.tile([0.0, 0.0, 0.0, 1.0], (len(shown), 1)) if norm is None else value_map(study)(norm(values))
    size = 42 if len(shown) <= MAX_CURVES else 16
    for group, (words, _, marker) in ORIGINS.items():
        some = [i for i, trial in enumerate(shown) if origin_group(trial.origin) == group]
        if some:
            filled = marker != "x"
            axes.scatter(
                x[some], y[some], c=fills[some], marker=marker, s=size, linewidths=0.5 if filled else 1.8,
                edgecolors="#444444" if filled else None, label=words,
                path_effects=HALO if norm is None else None,
            )  # fmt: skip
    numbered = shown if len(shown) <= MAX_INDEXES else leaders(study)
    for i, trial in enumerate(shown):
        if trial in numbered:
            axes.annotate(
                str(trial.number), (x[i], y[i]), xytext=(4, 4), textcoords="offset points", fontsize=7,
                path_effects=HALO,
            )  # fmt: skip
    best = study.best
    if best is not None and not np.isnan(x[shown.index(best)] + y[shown.index(best)]):
        i = shown.index(best)
        axes.scatter(x[i], y[i], s=190, facecolors="none", edgecolors=BLUE, linewidths=2.2, label="best")
    absent = int(np.isnan(x + y).sum())
    if len(shown) < len(scored):
        axes.plot([], [], linestyle="none", label=f"{some_of(shown, scored)} drawn")
    if absent:
        axes.plot([], [], linestyle="none", label=f"not drawn: {absent} trials without one of the two")


def most_important(sample: surrogate.Sample) -> list[str]:
    """Names, the most important first; the sample must be `enough`."""
    return [item.name for item in surrogate.importances(sample)[0] if item.name != surrogate.NOISE]


def cell_edges(one: Axis, grid: Array) -> Array:
    """Around each grid point, as places: cells of equal width in the unit interval, or around each choice."""
    if not one.numeric:
        return np.arange(len(one.choices) + 1, dtype=float) - 0.5
    step = grid[1] - grid[0]
    return one.at(np.clip(np.append(grid - step / 2, 1 + step / 2), 0, 1))


def wrapped(found: Sequence[surrogate.Importance], explained: float) -> str:
    return brief(textwrap.fill(surrogate.describe(found, explained), 95), 400)


def _jittered(one: Axis, shown: Sequence[Trial]) -> Array:
    found = units(one, [trial.config for trial in shown])
    if one.numeric:
        return found
    width = 0.25 / max(1, len(one.choices))
    return found + np.random.default_rng(0).uniform(-width, width, len(found)) * 0.4


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
