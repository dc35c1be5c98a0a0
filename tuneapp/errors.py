"""The one error users see, and look-ups that suggest the nearest name."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

V = TypeVar("V")


class TuneappError(Exception):
    """What must hold, what came, what to do next. The command line prints it without a traceback."""

    exit_code = 1


class NoRoom(TuneappError):
    """The file system is full: nobody's fault, so nothing counts as failed, and a resume goes on."""


class UsageError(TuneappError):
    """The request itself is wrong: nothing was started."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is in no dictionary of choices."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence ` Did you mean 'x'?`, or nothing where no known name is close."""
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def lookup(name: str, choices: Mapping[str, V], noun: str) -> V:
    """`choices[name]`; raises UnknownName that lists the choices and suggests the nearest."""
    if name in choices:
        return choices[name]
    known = ", ".join(sorted(choices))
    raise UnknownName(f"No {noun} named '{name}'; choose from {known}.{nearest(name, choices)}")


def first_line(error: object) -> str:
    """What an error of somebody else's says, in one line: its own first one, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def printable(text: str) -> str:
    """The text as a plain str that UTF-8 can hold: a lone surrogate becomes its escape, as `\\ud800`."""
    return text.encode(errors="backslashreplace").decode()


def printable_json(data: Any) -> Any:
    """JSON's values, whose texts are all `printable`."""
    if isinstance(data, dict):
        return {printable(key): printable_json(value) for key, value in data.items()}
    if isinstance(data, list):
        return [printable_json(value) for value in data]
    return printable(data) if isinstance(data, str) else data


def require(holds: bool, name: str, value: object, what: str) -> None:
    if not holds:  # nan holds nowhere
        raise UsageError(f"`{name}` must be {what}, but got {value}.")


def at_least(name: str, value: int, low: int) -> None:
    require(value >= low, name, value, f"at least {low}")
