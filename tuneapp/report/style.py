"""Colours and figures: safe for colour-blind readers, and without pyplot's global state."""

from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from tuneapp.analysis.axes import Axis
from tuneapp.analysis.numbers import Array
from tuneapp.analysis.scale import Scale
from tuneapp.studies import Study, TrialState

# Okabe and Ito (2008): eight colours that colour-blind readers tell apart.
BLUE, RED, GREEN, ORANGE, SKY, PURPLE, YELLOW, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#8C8C8C",
)  # fmt: skip
SERIES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
STATE_COLOURS = {
    TrialState.FINISHED: GREEN,
    TrialState.LIMITED: GREEN,
    TrialState.STOPPED: ORANGE,
    TrialState.DIVERGED: PURPLE,
    TrialState.FAILED: RED,
    TrialState.RUNNING: SKY,
}
# group of origins -> (label, colour, marker): random dots, Bayesian crosses, as PHS draws them
ORIGINS = {
    "random": ("random, warm-up", BLUE, "o"),
    "bayes": ("Bayesian", RED, "x"),
    "point": ("given points, grid", "#333333", "D"),
}
DPI = 110


def new_figure(width: float = 8.0, height: float = 4.6) -> Figure:
    """In inches; saved at 110 dots per inch."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def sheet(title: str, width: float = 8.0, height: float = 4.6) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and a title that says what is seen."""
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    dress(axes)
    axes.set_title(title, loc="left", fontsize=11, wrap=True)
    return figure, axes


def dress(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#000000", alpha=0.1, linewidth=0.6)
    axes.set_axisbelow(True)


def sentence_only(title: str, sentence: str) -> Figure:
    """A plot of nothing says why there is nothing."""
    figure, axes = sheet(title, 8.0, 2.2)
    axes.set_axis_off()
    axes.text(0.0, 0.6, sentence, transform=axes.transAxes, va="center", fontsize=11, wrap=True)
    return figure


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def value_map(study: Study) -> Colormap:
    """Dark is better, whatever the mode; the palest tenth is left out, as it vanishes on white."""
    dark_high = colormaps["viridis_r"](np.linspace(0.1, 1.0, 256))
    return ListedColormap(dark_high if study.metric.mode == "max" else dark_high[::-1])


def scale_values(axes: Axes, scale: Scale) -> None:
    """Set the y axis to the scale. What is drawn there goes through `scale.place`."""
    if scale.log:
        axes.set_yscale("log")
        axes.set_ylim(scale.low / 1.3, scale.high * 1.3)
        return
    margin = 0.06 * (scale.high - scale.low)
    axes.set_ylim(scale.low - margin, scale.high + margin)


def norm_for(scale: Scale) -> Normalize:
    """Colours of results that went through `scale.place`."""
    if scale.log:
        return LogNorm(scale.low, scale.high)
    return Normalize(scale.low, scale.high, clip=True)


def scale_axis(axes: Axes, which: Literal["x", "y"], axis: Axis) -> None:
    """Positions between 0 and 1 on an axis, with ticks that say what stands there, and its name."""
    direction = axes.xaxis if which == "x" else axes.yaxis
    room = 0.04 if axis.numeric else half_cell(axis)
    (axes.set_xlim if which == "x" else axes.set_ylim)(-room, 1 + room)
    ticks = axis.ticks()
    direction.set_ticks([unit for unit, _ in ticks], [brief(label, 18) for _, label in ticks])
    if which == "x" and sum(min(18, len(label)) for _, label in ticks) > 60:
        axes.tick_params(axis="x", rotation=30)
    direction.set_label_text(brief(axis.name) + (" (log scale)" if axis.numeric and axis.log else ""))


def half_cell(axis: Axis) -> float:
    """Half the distance of two choices."""
    return 0.5 / max(1, len(axis.choices) - 1)


def spread(units: Array, axis: Axis, seed: int = 0) -> Array:
    """Positions with a little sideways noise where trials would hide each other on a choice."""
    if axis.numeric:
        return units
    width = 0.36 * half_cell(axis)
    return units + np.random.default_rng(seed).uniform(-width, width, len(units))


def brief(text: str, limit: int = 40) -> str:
    """A user's text in a plot: short, printable, and no formula, whatever dollars it holds."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return (clean if len(clean) <= limit else clean[: limit - 1] + "…").replace("$", r"\$")


def metric_label(name: str) -> str:
    """With its unit, where the name tells it."""
    name = brief(name)
    if "accuracy" in name:
        return f"{name} (share, 0 to 1)"
    if name == "seconds" or name.endswith("_seconds"):
        return f"{name} (s)"
    return name
