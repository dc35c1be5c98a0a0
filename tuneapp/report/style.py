"""Colours and figures: safe for colour-blind readers, and without pyplot's global state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from tuneapp.analysis.axes import Array, Axis
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
# origin -> (words, colour, marker): random dots, Bayesian crosses, as PHS draws them
ORIGINS = {
    "random": ("random, warm-up", BLUE, "o"),
    "bayes": ("Bayesian", RED, "x"),
    "point": ("given points, grid", "#333333", "D"),
}
DPI = 110
LARGEST = 1e100  # matplotlib's own arithmetic overflows far beyond


def origin_group(origin: str) -> str:
    """`random`, `bayes` or `point`: what a reader must tell apart."""
    if origin in ("random", "warmup"):
        return "random"
    return "bayes" if origin == "bayes" else "point"


def new_figure(width: float = 8.0, height: float = 4.6) -> Figure:
    """Inches; saved at 110 dots an inch."""
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


def words_only(title: str, words: str) -> Figure:
    """A picture of nothing says why there is nothing."""
    figure, axes = sheet(title, 8.0, 2.2)
    axes.set_axis_off()
    axes.text(0.0, 0.6, words, transform=axes.transAxes, va="center", fontsize=11, wrap=True)
    return figure


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def value_map(study: Study) -> Colormap:
    """Dark is better, whatever the mode; the palest tenth is left out, as it vanishes on white."""
    dark_high = colormaps["viridis_r"](np.linspace(0.1, 1.0, 256))
    return ListedColormap(dark_high if study.metric.mode == "max" else dark_high[::-1])


def value_limits(values: Sequence[float]) -> tuple[float, float]:
    """The range to show: all of it, unless a few values far off would flatten the rest.

    Then it ends one and a half times the span of the middle nine tenths beyond them.
    """
    finite = np.asarray([v for v in values if np.isfinite(v)], dtype=float).clip(-LARGEST, LARGEST)
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    first, last = (float(end) for end in np.quantile(finite, [0.05, 0.95]))
    if 0 < (last - first) * 10 < high - low:
        reach = 1.5 * (last - first)
        low, high = max(low, first - reach), min(high, last + reach)
    return (low, high) if high > low else (low - (abs(low) or 1.0) * 0.05, high + (abs(high) or 1.0) * 0.05)


def wants_log(values: Sequence[float]) -> bool:
    """Positive values that span more than two decades in their bulk."""
    finite = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    if len(finite) < 3 or finite.min() < 1 / LARGEST:
        return False
    low, high = np.quantile(finite, [0.1, 0.9])
    return bool(high / low > 100)


def scale_values(axes: Axes, values: Sequence[float]) -> tuple[float, float]:
    """Set the y axis to the bulk of values, in the log where they span decades; returns the limits.

    Values outside are to be clipped to the limits and marked.
    """
    if wants_log(values):
        low, high = min(v for v in values if np.isfinite(v)), max(v for v in values if np.isfinite(v))
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.3)
        return low, high
    low, high = value_limits(values)
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    return low, high


def norm_for(values: Sequence[float]) -> Normalize:
    if wants_log(values):
        finite = [v for v in values if np.isfinite(v)]
        return LogNorm(min(finite), max(finite))
    return Normalize(*value_limits(values), clip=True)


def scale_axis(axes: Axes, which: str, axis: Axis) -> None:
    """Log where the domain is log, ticks of the choices where it has some, its name as label."""
    set_limits: Any = axes.set_xlim if which == "x" else axes.set_ylim
    direction = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.limits
    if not axis.numeric:
        ticks = axis.ticks()
        direction.set_ticks(
            list(axis.at(np.array([unit for unit, _ in ticks]))), [brief(label, 18) for _, label in ticks]
        )
        set_limits(-0.5, len(axis.choices) - 0.5)
        if which == "x" and sum(min(18, len(label)) for _, label in ticks) > 60:
            axes.tick_params(axis="x", rotation=30)
    elif axis.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        room = (high / low) ** 0.04
        set_limits(low / room, high * room)
    else:
        room = 0.04 * (high - low) or max(0.5, 1e-6 * abs(high))
        set_limits(low - room, high + room)
    direction.set_label_text(brief(axis.name) + (" (log scale)" if axis.numeric and axis.log else ""))


def spread(places: Array, axis: Axis, seed: int = 0) -> Array:
    """Places with a little sideways noise where trials would hide each other on a choice."""
    if axis.numeric:
        return places
    return places + np.random.default_rng(seed).uniform(-0.18, 0.18, len(places))


def brief(words: str, limit: int = 40) -> str:
    """A user's words in a picture: short, and no formula, whatever dollars they hold."""
    return (words if len(words) <= limit else words[: limit - 1] + "…").replace("$", r"\$")


def metric_label(name: str) -> str:
    """With its unit, where the name tells it."""
    name = brief(name)
    if "accuracy" in name:
        return f"{name} (share, 0 to 1)"
    if name == "seconds" or name.endswith("_seconds"):
        return f"{name} (s)"
    return name
