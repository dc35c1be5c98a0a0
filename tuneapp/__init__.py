"""Hyperparameter tuning on Ray that shows its work.

import tuneapp

study = tuneapp.tune(score, {"x": tuneapp.Float(-5, 5)}, samples=30)
study.best, study.trials, study.to_dataframe(), study.plot("contour", "x", "y")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuneapp.api import Study, ask_tell, compare, effects, read, replay, resume, tune
    from tuneapp.errors import TuneappError, UsageError
    from tuneapp.objective import Context
    from tuneapp.own_loop import AskTell
    from tuneapp.settings import Metric
    from tuneapp.spaces import Categorical, Derived, Fixed, Float, Int, Normal, Ordinal, SearchSpace

__version__ = "0.1.0"

# Each is imported when it is first used, so that the command line's help and a worker's start stay quick.
_HOMES = {
    "tuneapp.errors": ["TuneappError", "UsageError"],
    "tuneapp.own_loop": ["AskTell"],
    "tuneapp.api": ["Study", "ask_tell", "compare", "effects", "read", "replay", "resume", "tune"],
    "tuneapp.objective": ["Context"],
    "tuneapp.settings": ["Metric"],
    "tuneapp.spaces": [
        "Categorical",
        "Derived",
        "Fixed",
        "Float",
        "Int",
        "Normal",
        "Ordinal",
        "SearchSpace",
    ],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AskTell",
    "Categorical",
    "Context",
    "Derived",
    "Fixed",
    "Float",
    "Int",
    "Metric",
    "Normal",
    "Ordinal",
    "SearchSpace",
    "Study",
    "TuneappError",
    "UsageError",
    "ask_tell",
    "compare",
    "effects",
    "read",
    "replay",
    "resume",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tuneapp' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
