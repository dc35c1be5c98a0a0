"""Any Python function as an objective: found by `package.module:name` or `path/to/file.py:name`."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from tuneapp.errors import UsageError, nearest
from tuneapp.objectives import Context, Objective
from tuneapp.request import Config, Metrics


def is_function(task: str) -> bool:
    """Whether a task's name points at a function rather than at a built-in task."""
    return ":" in task


def load(name: str) -> Callable[..., Any]:
    """The function behind `package.module:name` or `file.py:name`; raises UsageError where there is none.

    The file's folder (for a module: the current folder) is put on the import path, as Python does for scripts.
    """
    place, _, attribute = name.rpartition(":")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
    function = getattr(module, attribute, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UsageError(
            f"{place} has no function '{attribute}'; it has {', '.join(functions) or 'none'}."
            f"{nearest(attribute, functions)}"
        )
    return function


def objective(function: Callable[..., Any]) -> Objective:
    """Call `function` with a config: as keyword arguments, or as one dict if that is all it takes.

    A parameter named `context` gets the Context (seed, device, checkpoint, folder …).
    """
    parameters = inspect.signature(function).parameters
    wants_context = "context" in parameters
    named = [name for name in parameters if name != "context"]
    as_dict = len(named) == 1 and named[0] in ("config", "configuration")

    def call(config: Config, context: Context) -> Iterator[Metrics]:
        given: dict[str, Any] = {"context": context} if wants_context else {}
        given |= {named[0]: config} if as_dict else config
        result: Iterator[Metrics] = function(**given)
        return result

    return call


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"The task's file must exist, but {path} does not; give path/to/file.py:function.")
    path = path.resolve()
    _prepend(path.parent)
    if path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", None) == str(path):
        return sys.modules[path.stem]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _from_name(name: str) -> ModuleType:
    _prepend(Path.cwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UsageError(
            f"The task's module '{name}' cannot be imported from {Path.cwd()}: {type(error).__name__}: {error}"
        ) from error


def _prepend(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
