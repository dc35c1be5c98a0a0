"""The edge to Ray: nothing outside this folder imports it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tuneapp.backends.ray import environment  # noqa: F401 - before anything imports ray

if TYPE_CHECKING:
    from tuneapp.backends.record import Listener, Watcher
    from tuneapp.studies import RunDirectory, Study


def run(
    run_directory: "RunDirectory",
    watchers: "list[Watcher] | None" = None,
    loggers: list[str] | None = None,
    dashboard: bool | None = False,
    listeners: "list[Listener] | None" = None,
    function: bytes | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> "Study":
    """See tuner.run. Ray Tune is imported by who needs it: its 2 seconds are half of a short federation's."""
    from tuneapp.backends.ray import tuner

    return tuner.run(run_directory, watchers, loggers, dashboard, listeners, function, tell)
