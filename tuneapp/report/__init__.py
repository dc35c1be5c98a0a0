"""Tables, pictures and one self-contained page, from a run directory alone."""

import os
from pathlib import Path

from tuneapp.report import effects
from tuneapp.report.page import render
from tuneapp.report.plots import PLOTS, draw_all
from tuneapp.report.repeats import repeats_summary
from tuneapp.report.story import progress_of
from tuneapp.report.tables import study_summary, trials_frame
from tuneapp.studies import RunDirectory, Study

__all__ = ["PLOTS", "summary", "trials_frame", "write"]


def summary(study: Study) -> str:
    """What came out, for a terminal of 100 columns; of a study of effects what each of its tables says."""
    blocks = [study_summary(study), repeats_summary(study)]
    if effects.is_effects(study):
        blocks.append(effects.words(study))
    return "\n\n".join(block for block in blocks if block)


def write(run: RunDirectory, pictures: bool = True) -> Path:
    """Write report.html, trials.csv and plots/*.png from whatever the run holds by now; returns the page.

    Without pictures it is quick enough to be called again and again while the run goes on.
    """
    study = run.read()
    table = run.path / "trials.csv"
    if not (table.exists() and progress_of(study) == "running"):  # then the driver's LiveTable owns it
        _replace(table, trials_frame(study).to_csv(index=False))
    if pictures:
        draw_all(study, run.path / "plots")
        if effects.is_effects(study):
            effects.draw(study, run.path / "plots")
            effects.write_json(study, run.path / "effects.json")
    return _replace(run.path / "report.html", render(study))


def _replace(path: Path, text: str) -> Path:
    """Whole or not at all: somebody may be reading it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path
