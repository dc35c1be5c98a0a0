"""The edge to Ray: nothing outside this folder imports it."""

from tuneapp.engine import environment  # noqa: F401, I001 - before anything imports ray
from tuneapp.engine.tuner import run

__all__ = ["run"]
