"""What can be tuned. To add a kind of task, write its file beside these and its line in KINDS."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneapp.errors import UsageError
from tuneapp.settings import Request
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile, load
from tuneapp.tasks.base import Command, Runnable, Target, Task, refuse_empty
from tuneapp.tasks.commands import CommandTask
from tuneapp.tasks.federated import FederatedTask
from tuneapp.tasks.functions import FunctionTask
from tuneapp.tasks.images import ImageTask

__all__ = [
    "KINDS",
    "Command",
    "Runnable",
    "Target",
    "Task",
    "build",
    "find",
    "from_record",
    "moved",
    "refuse_empty",
]

# Asked from the last to the first: a name that no other kind takes is an image set's.
KINDS: dict[str, type[Task]] = {
    "images": ImageTask,
    "federated": FederatedTask,
    "function": FunctionTask,
    "command": CommandTask,
}


def find(
    target: Target | None,
    space: str | Path | SpaceFile | SearchSpace | None = None,
    data_dir: Path | None = None,
) -> Task:
    """The task that a user names, or that the file of `space` does; raises UsageError where there is none.

    target: "digits", "fed-mnist", "file.py:function", "package.module:function", a function, or a Command.
    space: the user's own, or the name of one that is shipped; None: the task's.
    """
    if isinstance(space, str | Path):
        space = load(str(space))
    file = SpaceFile(space) if isinstance(space, SearchSpace) else space
    if target is None and file is not None:
        target = file.task
    if target is None:
        raise UsageError("A task must be named: digits, file.py:function, or one in the --space file.")
    return _kind(target).find(target, file, data_dir)


def from_record(request: Request, function: Callable[..., Any] | None = None) -> Task:
    """The task of a request as it was recorded; nothing is loaded, and nothing need be there.

    function: the objective of a study whose function was passed by value.
    """
    return _kind(request.task).from_record(request, function)


def build(request: Request, function: Callable[..., Any] | None = None) -> Runnable:
    """The request's task, ready to run in this process; raises UsageError where something is not there."""
    return from_record(request, function).build(request)


def moved(request: Request, folder: Path) -> Request:
    """The request as it reads where `folder` is a copy of its task's own."""
    return replace(request, **from_record(request).moved(folder).record())


def _kind(target: Target) -> type[Task]:
    for kind in reversed(KINDS.values()):
        if kind.takes(target):
            return kind
    raise UsageError(
        f"A task must be a name, a function or a Command, but got {type(target).__name__}: {target!r:.80}."
    )
