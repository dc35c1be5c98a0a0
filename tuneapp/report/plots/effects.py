"""Plots of a study of effects: curves of a hyperparameter varied alone, a map of two varied together."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tuneapp.analysis.effects.judge import Effects, EffectTable, Row, mean_curve
from tuneapp.analysis.numbers import Array, deviation, mean, median, text
from tuneapp.analysis.scale import PLAIN, Scale
from tuneapp.report.effects import panel_rows
from tuneapp.report.style import SERIES, brief, dress, metric_label, new_figure, norm_for, value_map

COMPARABLE = 4.0  # first losses further apart are no mean over examples both: a federation sums its steps
MOST_LINES = 12  # values in one plot; a table has them all


def effect_plot(effects: Effects, outcome: EffectTable) -> Figure:
    """Curves of a hyperparameter varied alone, a map of two varied together."""
    return curves(effects, outcome) if len(outcome.table.vary) == 1 else grid(effects, outcome)


@dataclass(frozen=True)
class Panel:
    """One metric of a table: for each value that has a curve, its mean and standard deviation over seeds."""

    name: str
    curves: list[tuple[int, Row, Array, Array, Array]]  # (position of the row, row, iterations, mean, sd)

    @property
    def means(self) -> list[float]:
        return [float(value) for _, _, _, mean, _ in self.curves for value in mean]


def curves(effects: Effects, outcome: EffectTable) -> Figure:
    """Training and validation loss and accuracy over iterations, one line per value: mean, ± sd as a band."""
    names = panel_rows(outcome)
    columns = max(map(len, names), default=1)
    figure = new_figure(9.0, 1.0 + 2.9 * max(1, len(names)))
    places = figure.subplots(max(1, len(names)), columns, squeeze=False)
    labels: dict[str, Any] = {}
    for line, across in zip(places, names or [[]], strict=True):
        panels = [_panel(outcome, name) for name in across]
        for group in _on_one_scale([panel for panel in panels if panel.curves]):
            scale, high = _limits(group)
            for panel in group:
                labels |= _draw(line[panels.index(panel)], outcome, panel, scale, high)
        for position, axes in enumerate(line):
            if position >= len(across) or not panels[position].curves:
                axes.set_axis_off()
    if not labels:
        sentence = "No run of this table has reported yet."
        places[0][0].text(0.05, 0.5, sentence, transform=places[0][0].transAxes)
    title = f"{brief(outcome.table.title)}: mean{_over(outcome)}"
    note = brief(effects.study.request.task, 80) + (f", {effects.scale}" if effects.scale else "")
    figure.suptitle(f"{title}\n{note}", fontsize=11, x=0.01, ha="left")
    if labels:
        figure.legend(labels.values(), labels, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure


def grid(effects: Effects, outcome: EffectTable) -> Figure:
    """Two hyperparameters: each cell's mean ± sd of the last value, and the cells that were not run."""
    values = [list(dict.fromkeys(text(cell.values[i]) for cell in outcome.table.cells)) for i in (0, 1)]
    scale = Scale.of((mean(row.finals) for row in outcome.rows if row.finals), effects.metric.mode)
    means = np.full((len(values[0]), len(values[1])), np.nan)
    labels: dict[tuple[int, int], str] = {}
    for cell, row in zip(outcome.table.cells, outcome.rows, strict=True):
        at = values[0].index(text(cell.values[0])), values[1].index(text(cell.values[1]))
        means[at] = scale.place(mean(row.finals)) if row.finals else np.nan
        lost = f"\n{row.lost} lost" if row.lost else ""
        sd = f"\n± {deviation(row.finals):.2g}" if len(row.finals) > 1 else ""
        middle = f"{mean(row.finals):.3g}{sd}" if row.finals else "" if row.runs else "not run"
        labels[at] = middle + lost
    figure = new_figure(2.5 + 1.2 * len(values[1]), 1.9 + 0.75 * len(values[0]))
    axes = figure.add_subplot()
    image = axes.imshow(means, cmap=value_map(effects.study), norm=norm_for(scale), aspect="auto")
    for (i, j), label in labels.items():
        dark = math.isfinite(means[i, j]) and _dark(image, means[i, j])
        axes.text(j, i, label, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    axes.set_yticks(range(len(values[0])), [brief(value, 24) for value in values[0]])
    axes.set_xticks(range(len(values[1])), [brief(value, 12) for value in values[1]])
    axes.set_ylabel(brief(outcome.table.vary[0]))
    axes.set_xlabel(brief(outcome.table.vary[1]))
    note = brief(effects.study.request.task, 80) + (f"\n{effects.scale}" if effects.scale else "")
    axes.set_title(
        f"{brief(effects.metric.name)}, last value, mean ± sd\n{note}", loc="left", fontsize=10, wrap=True
    )
    return figure


def _panel(outcome: EffectTable, name: str) -> Panel:
    drawn = []
    for position, row in enumerate(outcome.rows[:MOST_LINES]):
        x, middle, sd = mean_curve([run.curves.get(name, ()) for run in row.runs])
        if len(x):
            drawn.append((position, row, x, middle, sd))
    return Panel(name, drawn)


def _draw(axes: Axes, outcome: EffectTable, panel: Panel, scale: Scale, high: float) -> dict[str, Any]:
    """One metric; returns label -> handle of the lines drawn."""
    dress(axes)
    handles: dict[str, Any] = {}
    for position, row, x, middle, sd in panel.curves:
        colour = SERIES[position % len(SERIES)]
        style = ("-", "--", ":")[position // len(SERIES) % 3]
        y, band = scale.units(middle), scale.units(sd)
        marker = "o" if len(x) == 1 else None
        (line,) = axes.plot(x, y, linestyle=style, color=colour, linewidth=1.6, marker=marker)
        if np.nanmax(band, initial=0.0) > 0:
            axes.fill_between(x, y - band, y + band, color=colour, alpha=0.16, linewidth=0)
        label = f"{brief(outcome.table.vary[0])} {brief(row.label, 24)}"
        handles[label + (f", {row.lost} lost" if row.lost else "")] = line
    room = 0.06 * (high - scale.low) or 0.1
    axes.set_ylim(scale.low - room, high + room)
    axes.set_title(scale.named(metric_label(panel.name)), loc="left", fontsize=10)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return handles


def _on_one_scale(panels: list[Panel]) -> list[list[Panel]]:
    """Training and validation together, so that the gap between them is seen, where they are comparable."""
    firsts = [median([float(middle[0]) for _, _, _, middle, _ in panel.curves]) for panel in panels]
    together = len(panels) > 1 and min(firsts) > 0 and max(firsts) / min(firsts) <= COMPARABLE
    return [panels] if together else [[panel] for panel in panels]


def _limits(group: list[Panel]) -> tuple[Scale, float]:
    """The scale of all means of the panels, and where it ends: of losses, what is far off is cut."""
    values = [value for panel in group for value in panel.means]
    bulk = Scale.of(values)
    whole = bulk.units(values)
    high = float(whole.max())
    if "loss" in group[0].name:  # one batch norm that has not settled, or one spike, flattens all the rest
        tops = [float(bulk.units(middle).max()) for panel in group for _, _, _, middle, _ in panel.curves]
        high = min(high, max(bulk.high, median(tops)))
    low = float(whole.min()) if abs(float(whole.min())) < PLAIN else bulk.low
    return replace(bulk, low=low), min(high, PLAIN)


def _over(outcome: EffectTable) -> str:
    counts = {len(row.runs) for row in outcome.rows if row.runs}
    if not counts or counts == {1}:
        return " (one seed: no band)" if counts else ""
    seeds = str(max(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return f" ± sd over {seeds} seeds"


def _dark(image: Any, value: float) -> bool:
    red, green, blue, _ = image.cmap(image.norm(value))
    return bool(0.3 * red + 0.59 * green + 0.11 * blue < 0.5)
