"""Where trials run: in this process, in processes of this machine, or on Ray."""

from collections.abc import Callable
from importlib import import_module

from tuneapp.backends.base import Backend, How, Session, drive, search_of

__all__ = ["BACKENDS", "Backend", "How", "Session", "drive", "search_of"]


def _named(module: str) -> Callable[[], Backend]:
    """The module's `drive`, imported when it is wanted: Ray takes seconds."""

    def load() -> Backend:
        backend: Backend = import_module(module).drive
        return backend

    return load


BACKENDS: dict[str, Callable[[], Backend]] = {
    "ray": _named("tuneapp.backends.ray"),
    "local": _named("tuneapp.backends.processes"),
}
