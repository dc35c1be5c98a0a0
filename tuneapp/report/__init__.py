"""Text, plots and one self-contained page, from a run directory alone.

What is only for show never costs a result: a part that can't be made is left out, with one line that says
which one and why.
"""

import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneapp.analysis.analysis import Analysis
from tuneapp.files import write_whole
from tuneapp.report import tables
from tuneapp.report.effects import effects_text, to_json
from tuneapp.report.guard import LeftOut
from tuneapp.report.story import progress_of
from tuneapp.report.tables import csv_text, trials_frame
from tuneapp.studies import RunDirectory, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot", "summary", "trials_frame", "write"]

BLOCKS: dict[str, Callable[[Analysis], str]] = {
    "the headline": tables.headline,
    "the best config": tables.best_config,
    "the table of the best": tables.top_table,
    "the Pareto front": tables.front_table,
    "the list of failures": tables.failures_list,
    "the table of repeated configs": tables.repeats_table,
    "the effects": lambda analysis: effects_text(analysis.effects) if analysis.effects else "",
}


def summary(study: Study) -> str:
    """What came out, for a terminal of 100 columns; of a study of effects what each of its tables says."""
    analysis, left_out = Analysis(study), LeftOut()
    blocks = []
    for name, block in BLOCKS.items():
        with left_out.guard(name):
            blocks.append(block(analysis))
    return "\n\n".join(block for block in [*blocks, "\n".join(left_out.lines)] if block)


def plot(study: Study, name: str, *arguments: Any, **options: Any) -> "Figure":
    """One plot of the report: `plot(study, "results")`, `plot(study, "contour", "x", "y")`.

    Raises UnknownName for a name that is none, or for an unknown hyperparameter.
    """
    from tuneapp.report import plots

    return plots.plot(Analysis(study), name, *arguments, **options)


def write(run: RunDirectory, plots: bool = True, tell: Callable[[str], None] | None = None) -> Path:
    """Write report.html, trials.csv and plots/*.png from whatever the run holds by now; returns the page.

    `tell` is given one line for each part that is left out. Without plots it is quick enough to be called
    again and again while the run goes on. Raises TuneappError where the run's record can't be read.
    """
    analysis, left_out = Analysis(run.read()), LeftOut()
    csv = run.path / "trials.csv"
    if not (csv.exists() and progress_of(analysis.study) == "running"):  # then the driver's LiveTable owns it
        with left_out.guard("trials.csv"):
            write_whole(csv, csv_text(trials_frame(analysis.study)))
    if plots:
        with left_out.guard("plots"):
            _write_plots(analysis, run.path / "plots", left_out)
    if plots and analysis.effects is not None:
        with left_out.guard("effects.json"):
            write_whole(run.path / "effects.json", json.dumps(to_json(analysis.effects), indent=2))
    page = run.path / "report.html"
    with left_out.guard("report.html"):
        write_whole(page, _render(analysis, left_out))
    if "report.html" in left_out.by_part:
        with left_out.guard("report.html in plain text"):
            write_whole(page, _plain_page(analysis, left_out))
    if tell is not None:
        for line in left_out.lines:
            tell(line)
    return page


def _plain_page(analysis: Analysis, left_out: LeftOut) -> str:
    text = "\n\n".join([summary(analysis.study), *left_out.lines])
    return f"<!doctype html><title>{escape(analysis.study.name)}</title><pre>{escape(text)}</pre>\n"


def _write_plots(analysis: Analysis, folder: Path, left_out: LeftOut) -> Sequence[Path]:
    from tuneapp.report import plots

    return plots.plot_all(analysis, folder, left_out)


def _render(analysis: Analysis, left_out: LeftOut) -> str:
    from tuneapp.report import page

    return page.render(analysis, left_out)
