"""The only writer of a study: an event goes to the file, then to the study, then to whoever listens."""

import time
from collections.abc import Callable
from dataclasses import replace

from tuneapp.errors import NoRoom
from tuneapp.studies.directory import RunDirectory
from tuneapp.studies.events import Event
from tuneapp.studies.study import Study

Listener = Callable[[Event], None]


class Journal:
    """Writes for the one driver of a run, which holds the run's lock."""

    def __init__(self, run: RunDirectory, study: Study, listeners: list[Listener] | None = None) -> None:
        """listeners hear of each event once it is written and the study knows of it, in their order."""
        self.run, self.study = run, study
        self.listeners = listeners or []
        self.no_room: NoRoom | None = None  # ends this driver, whoever catches it on its way
        self._clock_before = study.clock  # what earlier drivers have run
        self._first: float | None = None  # this driver's first event: what lies before it is a pause

    def write(self, event: Event) -> None:
        try:
            written = self.run.append(replace(event, time=time.time(), clock=self.clock()))
        except NoRoom as error:
            self.no_room = error
            raise
        self.study.apply(written)
        for listener in self.listeners:
            listener(written)

    def clock(self) -> float:
        """Seconds that the study has run by now, pauses left out."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
        return round(self._clock_before + now - self._first, 6)
