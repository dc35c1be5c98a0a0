"""Flags made from declared settings: a command says what it takes, not how each flag reads."""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.models import ArgumentInfo

from tuneapp.declarations import RARE, Declared, declared
from tuneapp.errors import UsageError
from tuneapp.settings import all_settings

# The order of the help's panels.
PANELS = (
    "What to tune",
    "Federation",
    "What to vary",
    "Search",
    "Metric",
    "Stopping",
    "End of the study",
    "Training",
    "Resources",
    "Output",
    RARE,
)
PLAIN = (int, float, bool, Path)  # types that typer reads itself
Body = Callable[..., None]


def takes_settings(command: str) -> Callable[[Body], Body]:
    """Replace parameters of a command by flags, one per setting.

    The parameter `given` gets the settings that apply to the command, as keywords; what was not given is not
    there. A parameter whose type is a dataclass of settings gets an instance of it. Settings that the command
    has a parameter for of its own are left to it.
    """

    def decorate(body: Body) -> Body:
        parameters = inspect.signature(body).parameters
        groups = {
            name: list(declared("", parameter.annotation).values())
            for name, parameter in parameters.items()
            if is_dataclass(parameter.annotation)
        }
        if "given" in parameters:
            groups["given"] = [
                each
                for keyword, each in all_settings().items()
                if command in each.setting.commands and keyword not in parameters
            ]

        def run(**values: Any) -> None:
            filled: dict[str, Any] = {name: _taken(group, command, values) for name, group in groups.items()}
            for name in groups.keys() - {"given"}:
                filled[name] = parameters[name].annotation(**filled[name])
            body(**values, **filled)

        own = [parameter for name, parameter in parameters.items() if name not in groups]
        made = [each for group in groups.values() for flag in group for each in _parameters(flag, command)]
        # Typer asks for the signature, the name and the docstring of a command, and calls it by keyword.
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [*made, *own]]
        signature = inspect.Signature(sorted(keywords, key=_place))
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__name__, run.__doc__, run.__annotations__ = body.__name__, body.__doc__, {}
        return run

    return decorate


def help_of(keyword: str) -> str:
    """For a command that has one of the settings as a parameter of its own."""
    return _help(all_settings()[keyword], "")


def _help(each: Declared, command: str) -> str:
    default = each.shown_default(command)
    return f"{each.help} Default: {default}." if default else each.help


def _parameters(each: Declared, command: str) -> list[inspect.Parameter]:
    """The flag, and its other names hidden: side by side they would not fit a terminal."""
    first, *others = each.flags(command)
    short = [flag for flag in others if not flag.startswith("--")]
    spellings = [[first, *short], *([flag] for flag in others if flag not in short)]
    return [
        inspect.Parameter(
            f"{each.keyword}{'_' * number}",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_annotation(each, flags, _help(each, command), hidden=number > 0),
        )
        for number, flags in enumerate(spellings)
    ]


def _annotation(each: Declared, flags: list[str], text: str, hidden: bool) -> Any:
    plain = each.kind in PLAIN and each.setting.reads is None
    kind: Any = list[str] if each.repeatable else each.kind if plain else str
    if kind is bool and not each.setting.flags:
        flags = [f"{flags[0]}/--no-{flags[0].removeprefix('--')}"]
    option = typer.Option(
        *flags,
        help=text,
        hidden=hidden,
        show_default=False,
        rich_help_panel=each.setting.panel,
    )
    return Annotated[kind | None, option]


def _place(parameter: inspect.Parameter) -> int:
    """Arguments first, then the panels in their order; within one, as they were declared."""
    (info,) = parameter.annotation.__metadata__
    return -1 if isinstance(info, ArgumentInfo) else PANELS.index(info.rich_help_panel)


def _taken(group: list[Declared], command: str, values: dict[str, Any]) -> dict[str, Any]:
    """The group's values, taken out of the command's; None and empty lists were not given.

    Raises UsageError that names the flag for a value that cannot be.
    """
    taken = {}
    for each in group:
        for parameter in _parameters(each, command):
            value = values.pop(parameter.name)
            if value is None or value == []:
                continue
            try:
                # Without a section it is short for a hyperparameter, whose values are its task's business.
                taken[each.keyword] = each.read(value, names=bool(each.section))
            except UsageError as error:
                raise type(error)(f"`{each.flags(command)[0]}` {error}") from None
    return taken
