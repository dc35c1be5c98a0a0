"""Pictures of a study: one function a picture, each a Figure, drawn without pyplot's global state.

A picture that has nothing to show says so in words: every function takes a study in any state.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from tuneapp.report.plots.course import best_so_far, curves, pareto, results, timeline
from tuneapp.report.plots.space import contour, dependence, importances, pair_map, parallel
from tuneapp.search.plan import plan_of
from tuneapp.studies import Study


def draw_all(study: Study, folder: Path) -> list[Path]:
    """Every picture of PLOTS as a PNG in the folder, each written whole before it is seen.

    Where a study of effects was scaled down, each says so.
    """
    plan = plan_of(study.request)
    scale = plan.scale if plan else ""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in PLOTS.items():
        path = folder / f"{name}.png"
        temporary = folder / f".{name}.{os.getpid()}.png"
        with warnings.catch_warnings():
            # The font may lack letters of a user's language: boxes in the picture, no noise beside it.
            warnings.filterwarnings("ignore", "Glyph", UserWarning)
            figure = draw(study)
            if scale:
                figure.text(0.995, 0.005, f"scaled down: {scale}", ha="right", va="bottom", size="x-small")
            figure.savefig(temporary, format="png", dpi="figure")
        temporary.replace(path)
        written.append(path)
    return written


PLOTS: dict[str, Callable[..., Figure]] = {
    "results": results,
    "best": best_so_far,
    "curves": curves,
    "parallel": parallel,
    "map": pair_map,
    "contour": contour,
    "importances": importances,
    "dependence": dependence,
    "pareto": pareto,
    "timeline": timeline,
}
