"""The edge to Ray: nothing outside this folder imports it."""

from typing import TYPE_CHECKING

from tuneapp.backends.ray import environment  # noqa: F401 - before anything imports ray

if TYPE_CHECKING:
    from tuneapp.backends.base import Session


def drive(session: "Session") -> None:
    """As tuner.drive. Ray Tune is imported late: its 2 seconds are half of a short federation's."""
    from tuneapp.backends.ray import tuner

    tuner.drive(session)
