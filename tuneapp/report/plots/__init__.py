"""Plots of a study: one function per plot, each a Figure, drawn without pyplot's global state.

A plot that has nothing to show says so in a sentence: every function takes a study in any state.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.effects.judge import Effects
from tuneapp.errors import lookup
from tuneapp.files import replace_whole
from tuneapp.report.effects import file_name
from tuneapp.report.guard import LeftOut
from tuneapp.report.plots.course import best_so_far, learning_curves, pareto, results, timeline
from tuneapp.report.plots.effects import effect_plot
from tuneapp.report.plots.space import contour, dependence, importances, pair_map, parallel


def plot(analysis: Analysis, name: str, *arguments: Any, **options: Any) -> Figure:
    """One of PLOTS; raises UnknownName for a name that is none."""
    return lookup(name, PLOTS, "plot")(analysis, *arguments, **options)


def plot_all(analysis: Analysis, folder: Path, left_out: LeftOut) -> list[Path]:
    """Every plot of PLOTS, and one per table of effects, as PNGs in the folder.

    Each is written whole before it is seen. Where a study of effects was scaled down, each says so.
    """
    effects = analysis.effects
    note = effects.scale if effects else ""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Callable[[], Figure]] = {name: partial(draw, analysis) for name, draw in PLOTS.items()}
    if effects is not None:
        for position in range(len(effects.plan.tables)):
            name = f"effects-{file_name(effects.plan, position)}"
            plots[name] = partial(_effect_plot, effects, position)
    written = []
    for name, draw in plots.items():
        with left_out.guard(f"plots/{name}.png"):
            written.append(_save(draw, folder / f"{name}.png", "" if name.startswith("effects-") else note))
    return written


def _effect_plot(effects: Effects, position: int) -> Figure:
    return effect_plot(effects, effects.tables[position])


def _save(draw: Callable[[], Figure], path: Path, note: str = "") -> Path:
    with _fonts_that_lack_letters(), replace_whole(path) as temporary:
        figure = draw()
        if note:
            figure.text(0.995, 0.005, note, ha="right", va="bottom", size="x-small")
        figure.savefig(temporary, format="png", dpi="figure")
    return path


@contextmanager
def _fonts_that_lack_letters() -> Iterator[None]:
    """The font may lack letters of a user's language: boxes in the plot, no noise beside it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        yield


PLOTS: dict[str, Callable[..., Figure]] = {
    "results": results,
    "best": best_so_far,
    "curves": learning_curves,
    "parallel": parallel,
    "map": pair_map,
    "contour": contour,
    "importances": importances,
    "dependence": dependence,
    "pareto": pareto,
    "timeline": timeline,
}
