"""Pictures of a study's course: results, the incumbent, learning curves, workers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
    origin_group,
    scale_values,
    sheet,
    words_only,
)
from tuneapp.report.tables import STATE_WORDS, last_moment, leaders
from tuneapp.report.views import (
    MAX_CURVES,
    NO_RESULT,
    better,
    front,
    in_order_of_end,
    incumbent_line,
    random_baseline,
    rungs,
    scored_trials,
    second_value,
    thinned,
    time_unit,
    with_value,
    worker_lanes,
)
from tuneapp.settings import Metric
from tuneapp.studies import Study, TrialState

MAX_FRONT = 12  # numbers on a front; more cover each other


def results(study: Study) -> Figure:
    """Every trial's result over its number: random dots, Bayesian crosses, as PHS draws them."""
    shown = with_value(study)
    if not shown:
        return words_only("Result of each trial", NO_RESULT)
    metric = study.metric
    figure, axes = sheet(f"Result of each trial: {brief(metric.name)}, {better(study)} is better")
    values = [study.value(trial) or 0.0 for trial in shown]
    low, high = scale_values(axes, values)
    for group, (words, colour, marker) in ORIGINS.items():
        for early, note in ((False, ""), (True, ", stopped early")):
            some = [
                (trial.number, value)
                for trial, value in zip(shown, values, strict=True)
                if origin_group(trial.origin) == group and (trial.state is TrialState.STOPPED) is early
            ]
            if some:
                x, y = np.array(some).T
                axes.scatter(
                    x, np.clip(y, low, high), s=30, color=colour, marker=marker, linewidths=1.6,
                    alpha=0.35 if early else 1.0, label=words + note,
                )  # fmt: skip
    outside = [t.number for t, v in zip(shown, values, strict=True) if not low <= v <= high]
    _rail(axes, outside, "far outside the scale", "^" if metric.mode == "min" else "v", "#333333")
    lost = [trial.number for trial in study.trials if trial.state in (TrialState.DIVERGED, TrialState.FAILED)]
    _rail(axes, lost, "failed or diverged", "s", GREY)
    best = study.best
    if best is not None:
        place = (best.number, min(max(study.value(best) or 0.0, low), high))
        axes.scatter(*place, s=150, facecolors="none", edgecolors="black", linewidths=1.5, label="best")
    axes.set_xlabel("trial number, in the order of asking")
    axes.set_ylabel(metric_label(metric.name))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes)
    return figure


def best_so_far(study: Study) -> Figure:
    """The incumbent's value after each trial that ended, beside what random draws alone would give."""
    ended = in_order_of_end(study)
    if not ended:
        return words_only("Best so far", NO_RESULT)
    metric = study.metric
    figure, axes = sheet(f"Best {brief(metric.name)} so far, {better(study)} is better")
    line = incumbent_line(study, ended)
    band = random_baseline(study, len(ended))
    counted = np.arange(1, len(ended) + 1)
    values = [value for value in line if value is not None]
    if band is not None:
        low, middle, high = band
        axes.fill_between(
            counted, low, high, color=BLUE, alpha=0.15, linewidth=0,
            step="post", label="best of as many draws from this run's own random trials, 10 to 90 %",
        )  # fmt: skip
        axes.step(
            counted, middle, where="post", color=BLUE, linestyle="--", linewidth=1.2, label="their median"
        )
        values += [*low, *high]
    drawn = np.array([np.nan if value is None else value for value in line])
    axes.step(counted, drawn, where="post", color=RED, linewidth=2, label="this search")
    axes.plot(counted[-1], drawn[-1], "o", color=RED, markersize=5)
    axes.annotate(
        f"{drawn[-1]:.4g}", (counted[-1], drawn[-1]), xytext=(0, 8 if metric.mode == "max" else -14),
        textcoords="offset points", ha="right", fontsize=9,
    )  # fmt: skip
    scale_values(axes, values)
    axes.margins(y=0.1)
    axes.set_xlabel("trials ended")
    axes.set_ylabel(metric_label(metric.name))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes, columns=3)
    return figure


def curves(study: Study) -> Figure:
    """The metric over iterations, one line a trial; the best in colour, early-stopped ones marked."""
    name = study.metric.name
    drawn = [trial for trial in study.trials if trial.curve(name)]
    if not drawn:
        return words_only("Learning curves", NO_RESULT)
    longest = max(trial.iterations for trial in drawn)
    if max(len(trial.curve(name)) for trial in drawn) < 2:
        return words_only("Learning curves", "Every trial reported once: there are no curves to draw.")
    top = leaders(study)
    shown = thinned(drawn, top, MAX_CURVES)
    note = f" ({len(shown)} of {len(drawn)} trials)" if len(shown) < len(drawn) else ""
    figure, axes = sheet(f"Learning curves of {brief(name)}{note}")
    values = [value for trial in shown for _, value in trial.curve(name)]
    low, high = scale_values(axes, values)
    reached = [rung for rung in rungs(study) if rung <= longest]
    for rung in reached:
        axes.axvline(rung, color="#000000", alpha=0.25, linestyle=":", linewidth=1)
    for trial in shown:
        if trial not in top:
            x, y = np.array(trial.curve(name)).T
            axes.plot(x, np.clip(y, low, high), color=GREY, alpha=0.45, linewidth=0.9)
    for rank, trial in reversed(list(enumerate(top))):
        x, y = np.array(trial.curve(name)).T
        axes.plot(
            x, np.clip(y, low, high), color=SERIES[rank], linewidth=2,
            label=f"trial {trial.number}: {study.value(trial):.4g}",
        )  # fmt: skip
    for state, marker in ((TrialState.STOPPED, "o"), (TrialState.DIVERGED, "X"), (TrialState.FAILED, "X")):
        ends = [
            (point[0], min(max(point[1], low), high))
            for trial in shown
            if trial.state is state and np.isfinite((point := trial.curve(name)[-1])[1])
        ]
        if ends:
            axes.plot(
                *np.array(ends).T, marker,
                color="none" if state is TrialState.STOPPED else STATE_COLOURS[state],
                markeredgecolor=STATE_COLOURS[state], markersize=6, linestyle="none",
                label=STATE_WORDS[state],
            )  # fmt: skip
    if reached:
        axes.plot([], [], color="#000000", alpha=0.35, linestyle=":", label="rung of the scheduler")
    axes.set_xlabel("iteration (epoch or round)")
    axes.set_ylabel(metric_label(name))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: (not labels[i].startswith("trial"), -i))
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order],
        loc="outside lower left", ncols=4, frameon=False, fontsize=9,
    )  # fmt: skip
    return figure


def pareto(study: Study, other: str | None = None) -> Figure:
    """The result against a second metric, and the trials that no other beats in both.

    `other` is a metric's name with its mode, `seconds:min`; `seconds` is the whole trial's. None: the one
    that the study trades off, else the seconds.
    """
    if other is None:
        traded = study.request.also or (Metric("seconds", "min"),)
        other = f"{traded[0].name}:{traded[0].mode}"
    name, _, mode = other.partition(":")
    second = Metric(name, "max" if mode == "max" else "min")
    found = [trial for trial in scored_trials(study) if second_value(trial, second) is not None]
    title = f"{brief(study.metric.name)} against {brief(name)}"
    if not found:
        return words_only(
            title, NO_RESULT if not scored_trials(study) else f"No trial has reported {brief(name)}."
        )
    x = np.array([second_value(trial, second) for trial in found], dtype=float)
    y = np.array([study.value(trial) for trial in found], dtype=float)
    best = front(study, second)
    figure, axes = sheet(f"{title}: on the line, trials that no other beats in both")
    low, high = scale_values(axes, list(y))
    axes.scatter(x, np.clip(y, low, high), s=26, color=GREY, alpha=0.7, linewidths=0, label="other trials")
    on = sorted(best, key=lambda trial: second_value(trial, second) or 0.0)
    places = [
        (second_value(trial, second) or 0.0, min(max(study.value(trial) or 0.0, low), high)) for trial in on
    ]
    # What a budget buys is a step: between two trials of the front there is none.
    steps = "steps-post" if second.mode == "min" else "steps-pre"
    axes.plot(
        *np.array(places).T,
        "o-",
        drawstyle=steps,
        color=RED,
        markersize=7,
        linewidth=1.4,
        label="Pareto front",
    )
    for trial, place in list(zip(on, places, strict=True))[:MAX_FRONT]:
        axes.annotate(str(trial.number), place, xytext=(5, 5), textcoords="offset points", fontsize=8)
    axes.set_xlabel(f"{metric_label(name)}, {'higher' if second.mode == 'max' else 'lower'} is better")
    axes.set_ylabel(f"{metric_label(study.metric.name)}, {better(study)} is better")
    legend_below(figure, axes)
    return figure


def timeline(study: Study) -> Figure:
    """When each worker ran which trial; green triangles mark the starts, red ones the ends."""
    begun = [trial for trial in study.trials if trial.started is not None]
    if not begun:
        return words_only("Worker time line", "No trial has started yet.")
    zero = min(trial.started or 0.0 for trial in begun)
    unit, words = time_unit(max((last_moment(trial) or zero) - zero for trial in begun))
    lanes = worker_lanes(begun)
    names = list(dict.fromkeys(lanes.values()))
    figure, axes = sheet("Which worker ran which trial, and when", 8.0, min(12.0, 1.8 + 0.32 * len(names)))
    few = len(begun) <= MAX_CURVES
    for state, colour in STATE_COLOURS.items():
        some = [trial for trial in begun if trial.state is state]
        if some:
            lines = [
                [
                    ((t.started or zero) - zero, names.index(lanes[t.number])),
                    ((last_moment(t) or zero) - zero, names.index(lanes[t.number])),
                ]
                for t in some
            ]
            scaled = np.array(lines) / [unit, 1]
            axes.add_collection(
                LineCollection(
                    list(scaled), colors=colour, linewidths=7 if few else 4, label=STATE_WORDS[state]
                )
            )
            if few:
                ends = scaled[:, 1] if state is not TrialState.RUNNING else scaled[:0, 1]
                axes.scatter(scaled[:, 0, 0], scaled[:, 0, 1], s=26, color="#00664B", marker=">", zorder=3)
                axes.scatter(ends[:, 0], ends[:, 1], s=26, color="#B00020", marker="<", zorder=3)
    if few:
        axes.scatter([], [], marker=">", s=26, color="#00664B", label="start")
        axes.scatter([], [], marker="<", s=26, color="#B00020", label="end")
    axes.set_yticks(range(len(names)), [brief(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.autoscale_view(scaley=False)
    axes.set_xlabel(f"time since the first start ({words})")
    axes.set_ylabel("worker")
    legend_below(figure, axes, columns=7)
    return figure


def _rail(axes: Axes, numbers: Sequence[int], words: str, marker: str, colour: str) -> None:
    """Trials that have no place on the scale stand at its foot."""
    if numbers:
        axes.plot(
            numbers, [0.012 if marker != "^" else 0.988] * len(numbers), marker, color=colour, markersize=5,
            transform=axes.get_xaxis_transform(), label=words, clip_on=False,
        )  # fmt: skip
