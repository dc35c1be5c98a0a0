"""Plots of a study's course: results, the incumbent, learning curves, workers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.progress import origin_group
from tuneapp.report.style import (
    BLUE,
    GREY,
    ORIGINS,
    RED,
    SERIES,
    STATE_COLOURS,
    brief,
    legend_below,
    metric_label,
    scale_values,
    sentence_only,
    sheet,
)
from tuneapp.report.tables import STATE_NAMES, failures
from tuneapp.report.views import MAX_CURVES, NO_RESULT, better, thinned
from tuneapp.settings import Metric
from tuneapp.studies import TrialState

MAX_FRONT = 12  # numbers on a front; more cover each other


def results(analysis: Analysis) -> Figure:
    """Every trial's result over its number: random dots, Bayesian crosses, as PHS draws them."""
    study, shown, scale = analysis.study, analysis.with_value, analysis.scale
    if not shown:
        return sentence_only("Result of each trial", NO_RESULT)
    metric = study.metric
    figure, axes = sheet(f"Result of each trial: {brief(metric.name)}, {better(metric)} is better")
    scale_values(axes, scale)
    places = scale.place([study.value(trial) for trial in shown])
    for group, (label, colour, marker) in ORIGINS.items():
        for early, note in ((False, ""), (True, ", stopped early")):
            some = [
                (trial.number, place)
                for trial, place in zip(shown, places, strict=True)
                if origin_group(trial.origin) == group and (trial.state is TrialState.STOPPED) is early
            ]
            if some:
                x, y = np.array(some).T
                axes.scatter(
                    x, y, s=30, color=colour, marker=marker, linewidths=1.6,
                    alpha=0.35 if early else 1.0, label=label + note,
                )  # fmt: skip
    outside = [trial.number for trial in shown if scale.cut(study.value(trial) or 0.0)]
    _rail(axes, outside, "far outside the scale", "^" if metric.mode == "min" else "v", "#333333")
    _rail(axes, [trial.number for trial in failures(study)], "failed or diverged", "s", GREY)
    best = analysis.best
    if best is not None:
        place = (best.number, float(scale.place(study.value(best) or 0.0)))
        axes.scatter(*place, s=150, facecolors="none", edgecolors="black", linewidths=1.5, label="best")
    axes.set_xlabel("trial number, in the order of asking")
    axes.set_ylabel(scale.named(metric_label(metric.name)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes)
    return figure


def best_so_far(analysis: Analysis) -> Figure:
    """The incumbent's value after each trial that ended, beside what random draws alone would give."""
    progress, metric = analysis.progress, analysis.study.metric
    if not progress.ended:
        return sentence_only("Best so far", NO_RESULT)
    figure, axes = sheet(f"Best {brief(metric.name)} so far, {better(metric)} is better")
    scale = progress.scale(metric)
    counted = np.arange(1, len(progress.ended) + 1)
    if progress.baseline is not None:
        low, middle, high = (
            scale.place(line)
            for line in (progress.baseline.low, progress.baseline.middle, progress.baseline.high)
        )
        axes.fill_between(
            counted, low, high, color=BLUE, alpha=0.15, linewidth=0,
            step="post", label="best of as many draws from this run's own random trials, 10 to 90 %",
        )  # fmt: skip
        axes.step(
            counted, middle, where="post", color=BLUE, linestyle="--", linewidth=1.2, label="their median"
        )
    drawn = scale.place(list(progress.values))
    axes.step(counted, drawn, where="post", color=RED, linewidth=2, label="this search")
    axes.plot(counted[-1], drawn[-1], "o", color=RED, markersize=5)
    axes.annotate(
        f"{progress.values[-1]:.4g}", (counted[-1], drawn[-1]),
        xytext=(0, 8 if metric.mode == "max" else -14), textcoords="offset points", ha="right", fontsize=9,
    )  # fmt: skip
    scale_values(axes, scale)
    axes.margins(y=0.1)
    axes.set_xlabel("trials ended")
    axes.set_ylabel(scale.named(metric_label(metric.name)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes, columns=3)
    return figure


def learning_curves(analysis: Analysis) -> Figure:
    """The metric over iterations, one line per trial; the best in colour, early-stopped ones marked."""
    study, curves, scale = analysis.study, analysis.curves, analysis.curve_scale
    name = study.metric.name
    if not curves.trials:
        return sentence_only("Learning curves", NO_RESULT)
    if curves.points < 2:
        return sentence_only("Learning curves", "Every trial reported once: there are no curves to draw.")
    shown = thinned(curves.trials, curves.top, MAX_CURVES)
    note = f" ({len(shown)} of {len(curves.trials)} trials)" if len(shown) < len(curves.trials) else ""
    figure, axes = sheet(f"Learning curves of {brief(name)}{note}")
    scale_values(axes, scale)
    for rung in curves.rungs:
        axes.axvline(rung, color="#000000", alpha=0.25, linestyle=":", linewidth=1)
    for trial in shown:
        if trial not in curves.top:
            x, y = zip(*trial.curve(name), strict=True)
            axes.plot(x, scale.place(y), color=GREY, alpha=0.45, linewidth=0.9)
    for rank, trial in reversed(list(enumerate(curves.top))):
        x, y = zip(*trial.curve(name), strict=True)
        stopped = f", stopped at {trial.iterations}" if trial.state is TrialState.STOPPED else ""
        axes.plot(
            x, scale.place(y), color=SERIES[rank], linewidth=2,
            label=f"trial {trial.number}: {study.value(trial):.4g}{stopped}",
        )  # fmt: skip
    for state, marker in ((TrialState.STOPPED, "o"), (TrialState.DIVERGED, "X"), (TrialState.FAILED, "X")):
        last = [trial.curve(name)[-1] for trial in shown if trial.state is state]
        ends = [(iteration, float(scale.place(value))) for iteration, value in last if np.isfinite(value)]
        if ends:
            axes.plot(
                *np.array(ends).T, marker,
                color="none" if state is TrialState.STOPPED else STATE_COLOURS[state],
                markeredgecolor=STATE_COLOURS[state], markersize=6, linestyle="none",
                label=STATE_NAMES[state],
            )  # fmt: skip
    if curves.rungs:
        axes.plot([], [], color="#000000", alpha=0.35, linestyle=":", label="rung of the scheduler")
    axes.set_xlabel("iteration (epoch or round)")
    axes.set_ylabel(scale.named(metric_label(name)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: (not labels[i].startswith("trial"), -i))
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order],
        loc="outside lower left", ncols=4, frameon=False, fontsize=9,
    )  # fmt: skip
    return figure


def pareto(analysis: Analysis, other: str | None = None) -> Figure:
    """The result against a second metric, and the trials that no other beats in both.

    `other` is a metric's name with its mode, `seconds:min`; `seconds` is the whole trial's. None: the one
    that the study trades off, else the seconds.
    """
    study = analysis.study
    if other is None:
        second = (study.request.also or (Metric("seconds", "min"),))[0]
    else:
        name, colon, mode = other.rpartition(":")
        name, mode = (name, mode) if colon and mode in ("max", "min") else (other, "min")
        second = Metric(name, "max" if mode == "max" else "min")
    front = analysis.front(second)
    title = f"{brief(study.metric.name)} against {brief(second.name)}"
    if not front.trials:
        sentence = NO_RESULT if not analysis.ranked else f"No trial has reported {brief(second.name)}."
        return sentence_only(title, sentence)
    figure, axes = sheet(f"{title}: on the line, trials that no other beats in both")
    across, up = front.scale, analysis.scale
    scale_values(axes, up)
    x = across.place([front.value(trial) for trial in front.trials])
    y = up.place([study.value(trial) for trial in front.trials])
    axes.scatter(x, y, s=26, color=GREY, alpha=0.7, linewidths=0, label="other trials")
    on = sorted(front.best, key=front.value)
    line_x = across.place([front.value(trial) for trial in on])
    line_y = up.place([study.value(trial) for trial in on])
    # What a budget buys is a step: between two trials of the front there is none.
    axes.plot(
        line_x, line_y, "o-", drawstyle="steps-post" if second.mode == "min" else "steps-pre",
        color=RED, markersize=7, linewidth=1.4, label="Pareto front",
    )  # fmt: skip
    for trial, place in list(zip(on, zip(line_x, line_y, strict=True), strict=True))[:MAX_FRONT]:
        axes.annotate(str(trial.number), place, xytext=(5, 5), textcoords="offset points", fontsize=8)
    axes.set_xlabel(f"{across.named(metric_label(second.name))}, {better(second)} is better")
    axes.set_ylabel(f"{up.named(metric_label(study.metric.name))}, {better(study.metric)} is better")
    legend_below(figure, axes)
    return figure


def timeline(analysis: Analysis) -> Figure:
    """When each worker ran which trial; green triangles mark the starts, red ones the ends."""
    line = analysis.timeline
    if not line.bars:
        return sentence_only("Worker time line", "No trial has started yet.")
    height = min(12.0, 1.8 + 0.32 * len(line.lanes))
    figure, axes = sheet("Which worker ran which trial, and when", 8.0, height)
    few = len(line.bars) <= MAX_CURVES
    for state, colour in STATE_COLOURS.items():
        some = [bar for bar in line.bars if bar.trial.state is state]
        if some:
            ends = np.array([[[bar.start, bar.lane], [bar.end, bar.lane]] for bar in some])
            axes.add_collection(
                LineCollection(
                    list(ends), colors=colour, linewidths=7 if few else 4, label=STATE_NAMES[state]
                )
            )
            if few:
                over = ends[:, 1] if state is not TrialState.RUNNING else ends[:0, 1]
                axes.scatter(ends[:, 0, 0], ends[:, 0, 1], s=26, color="#00664B", marker=">", zorder=3)
                axes.scatter(over[:, 0], over[:, 1], s=26, color="#B00020", marker="<", zorder=3)
    if few:
        axes.scatter([], [], marker=">", s=26, color="#00664B", label="start")
        axes.scatter([], [], marker="<", s=26, color="#B00020", label="end")
    axes.set_yticks(range(len(line.lanes)), [brief(name) for name in line.lanes], fontsize=8)
    axes.set_ylim(len(line.lanes) - 0.4, -0.6)
    axes.autoscale_view(scaley=False)
    axes.set_xlabel(f"time since the first start ({line.unit})")
    axes.set_ylabel("worker")
    legend_below(figure, axes, columns=7)
    return figure


def _rail(axes: Axes, numbers: Sequence[int], label: str, marker: str, colour: str) -> None:
    """Trials that have no place on the scale stand at its foot."""
    if numbers:
        axes.plot(
            numbers, [0.012 if marker != "^" else 0.988] * len(numbers), marker, color=colour, markersize=5,
            transform=axes.get_xaxis_transform(), label=label, clip_on=False,
        )  # fmt: skip
