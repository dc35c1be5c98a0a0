"""The results table of a study that is still running: trials.csv grows by a row as each trial ends."""

import time
from dataclasses import replace
from pathlib import Path

from tuneapp.files import write_whole
from tuneapp.report.tables import csv_text, trials_frame
from tuneapp.studies import Ended, Event, Observer, Study, Trial

PAUSE = 1.0  # seconds between two writes: a thousand short trials are written in a few


class LiveTable(Observer):
    """Called after the end of each trial. Rows come in that order; the table that `write` leaves at the end
    of the run has them in the order of asking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        self.waiting: list[Trial] = []
        self.written = float("-inf")

    def on_event(self, study: Study, event: Event) -> None:
        if not isinstance(event, Ended):
            return
        self.waiting.append(study.trials[event.trial])
        if time.monotonic() - self.written < PAUSE:
            return
        frame = trials_frame(replace(study, trials=self.waiting))
        # At first a resumed study brings trials along; later a column may be new, as of another metric.
        if not self.columns or set(frame.columns) - set(self.columns):
            frame = trials_frame(replace(study, trials=[each for each in study.trials if each.over]))
            self.columns = list(frame.columns)
            write_whole(self.path, csv_text(frame))
        else:
            rows = csv_text(frame.reindex(columns=self.columns), header=False)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
                file.write(rows)
        self.waiting, self.written = [], time.monotonic()
