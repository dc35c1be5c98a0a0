"""Runs a run directory on a backend by its name, as a session does."""

from tuneapp.backends import BACKENDS, How, drive
from tuneapp.studies import Observer, RunDirectory, Study


def local(run: RunDirectory, observer: Observer | None = None, knows_limit: bool = True) -> Study:
    return drive(BACKENDS["local"](), run, observer or Observer(), How(knows_limit=knows_limit))


def ray(run: RunDirectory, observer: Observer | None = None, knows_limit: bool = True) -> Study:
    return drive(BACKENDS["ray"](), run, observer or Observer(), How(knows_limit=knows_limit))
