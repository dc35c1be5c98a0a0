"""Whoever watches a study while it runs."""

from collections.abc import Sequence

from tuneapp.studies.events import Event
from tuneapp.studies.study import Study


class Observer:
    """Its methods do nothing: those who watch override what they need. An error in one is told once, and
    ends nothing."""

    def on_event(self, study: Study, event: Event) -> None:
        """Called after each event, when it is written and the study knows of it."""

    def on_tick(self, study: Study) -> None:
        """Called now and then, after events and while nothing happens."""

    def tell(self, line: str) -> None:
        """Takes a line of news for the user."""


class Observers(Observer):
    """Several, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers

    def on_event(self, study: Study, event: Event) -> None:
        for observer in self.observers:
            observer.on_event(study, event)

    def on_tick(self, study: Study) -> None:
        for observer in self.observers:
            observer.on_tick(study)

    def tell(self, line: str) -> None:
        for observer in self.observers:
            observer.tell(line)
