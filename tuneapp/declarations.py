"""How a setting is declared once, beside its field: flags, keywords, YAML keys and docs are made of it."""

import ast
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tuneapp.errors import UnknownName, UsageError, nearest

STUDIES = ("tune", "fed", "effects")  # the commands that begin a study
RARE = "Rarely needed"
MOST, MOST_SEED = 10**12, 2**128  # beyond them, a whole number is a slip


@dataclass(frozen=True)
class Setting:
    """What a field's name, type and default do not say. Stands in the field's `Annotated`."""

    help: str  # a sentence, units named
    group: str = "Options"  # the panel of the help that it stands in
    low: float | None = None  # the smallest value
    above: float | None = None  # a value must be larger
    unit: str = ""  # of the bounds, in errors
    must: str = ""  # what `holds` asks for, in errors: "a fraction or a whole number"
    holds: Callable[[Any], bool] = lambda value: True
    reads: Callable[[Any], Any] | None = None  # what a caller may write besides: "2h" for 7200.0
    choices: str = ""  # "tuneapp.search.trials:SEARCHES": the dictionary that owns the names
    default: str = ""  # what None stands for
    default_of: Mapping[str, str] = field(default_factory=dict)  # command -> its own default, in words
    keyword: str = ""  # in Python, where it differs from the field's name
    flags: tuple[str, ...] = ()  # where they differ from --keyword
    flags_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # command -> its own flags
    commands: tuple[str, ...] = STUDIES  # whose flag it is
    tasks: tuple[str, ...] = ()  # kinds of tasks that it applies to; empty: all
    yaml: str = ""  # the key in a search-space file, where it differs from section.field
    rare: bool = False

    @property
    def panel(self) -> str:
        return RARE if self.rare else self.group


@dataclass(frozen=True)
class Declared:
    """A setting with all that its field says."""

    section: str
    name: str
    setting: Setting
    kind: Any  # int, float, bool, str, Path, or what Literal[…] or tuple[…] gives
    optional: bool  # None may be given
    default: Any

    @property
    def keyword(self) -> str:
        return self.setting.keyword or self.name

    @property
    def yaml(self) -> str:
        return self.setting.yaml or f"{self.section}.{self.name}"

    @property
    def repeatable(self) -> bool:
        return get_origin(self.kind) is tuple

    def flags(self, command: str) -> tuple[str, ...]:
        own = self.setting.flags_of.get(command) or self.setting.flags
        return own or ("--" + self.keyword.replace("_", "-"),)

    @property
    def names(self) -> list[str]:
        """The names to choose from; empty where there is no choice."""
        if get_origin(self.kind) is Literal:
            return list(get_args(self.kind))
        return names_in(self.setting.choices) if self.setting.choices else []

    @property
    def help(self) -> str:
        return f"{self.setting.help} One of {', '.join(self.names)}." if self.names else self.setting.help

    def shown_default(self, command: str = "") -> str:
        """The default in words; empty where there is none to tell."""
        if command in self.setting.default_of:
            return self.setting.default_of[command]
        if self.setting.default or self.default is None:
            return self.setting.default
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return "" if self.default == () else str(self.default)

    def read(self, value: Any, names: bool = True) -> Any:
        """A value from a file, a flag or a caller, as the field takes it.

        Raises UsageError, and UnknownName for what is no choice where `names` are to be checked; the message
        goes on from the setting's name.
        """
        if value is None and self.optional:
            return None
        value = self._typed(value if self.setting.reads is None else self.setting.reads(value))
        self.check(value)
        if names and self.setting.choices:
            for each in value if self.repeatable else [value]:
                choose(each, self.names)
        return value

    def check(self, value: Any) -> None:
        """Raises UsageError for a value of the right type that is out of range. Names are left to `read`."""
        setting, unit = self.setting, self.setting.unit and f" {self.setting.unit}"
        if get_origin(self.kind) is Literal:
            choose(value, self.names)
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"must be a finite number, but got {value}.")
        if isinstance(value, int) and abs(value) > (most := MOST_SEED if self.name == "seed" else MOST):
            raise UsageError(f"must be at most {most:,}, but got a number of {len(str(abs(value)))} digits.")
        if setting.low is not None and not value >= setting.low:
            raise UsageError(f"must be at least {setting.low:g}{unit}, but got {value}.")
        if setting.above is not None and not value > setting.above:
            raise UsageError(f"must be above {setting.above:g}{unit}, but got {value}.")
        if not setting.holds(value):
            raise UsageError(f"must be {setting.must}, but got {value}.")

    def _typed(self, value: Any) -> Any:
        if self.kind is int:
            return whole(value)
        if self.kind is float:
            return finite(value)
        if self.kind is bool and not isinstance(value, bool):
            raise UsageError(f"must be true or false, but got {value!r}.")
        if self.kind is Path and isinstance(value, str | Path) and str(value):
            return Path(value)
        if self.repeatable:
            item = get_args(self.kind)[0]
            values = [value] if isinstance(value, item) else value
            if not isinstance(values, Sequence) or not all(isinstance(each, item) for each in values):
                raise UsageError(f"must be a word or a list of words, but got {value!r}.")
            return tuple(values)
        if self.kind is not bool and not isinstance(value, str):
            raise UsageError(f"must be a word, but got {value!r}.")
        return value


def declared(section: str, kind: Any) -> dict[str, Declared]:
    """Field -> its declaration, of the fields of a dataclass that carry a Setting."""
    return _declared(section, kind)


@lru_cache
def _declared(section: str, kind: Any) -> dict[str, Declared]:
    hints = get_type_hints(kind, include_extras=True)
    result = {}
    for item in fields(kind):
        metadata = getattr(hints[item.name], "__metadata__", ())
        setting = next((each for each in metadata if isinstance(each, Setting)), None)
        if setting is None:
            continue
        hint = get_args(hints[item.name])[0]
        options = get_args(hint) if isinstance(hint, UnionType) or NoneType in get_args(hint) else (hint,)
        (plain,) = (option for option in options if option is not NoneType)
        default = None if item.default is MISSING else item.default
        result[item.name] = Declared(section, item.name, setting, plain, NoneType in options, default)
    return result


def check(settings: Any) -> None:
    """Raises UsageError for the first field of a dataclass of settings that is out of range."""
    for name, each in declared("", type(settings)).items():
        value = getattr(settings, name)
        if value is None and each.optional:
            continue
        try:
            each.check(value)
        except UsageError as error:
            raise type(error)(f"`{name}` {error}") from None


def choose(name: Any, names: Sequence[str]) -> None:
    """Raises UnknownName for what is none of the names; the message goes on from the setting's name."""
    if name not in names:
        *most, last = names
        listed = f"{', '.join(most)} or {last}" if most else last
        raise UnknownName(f"must be {listed}, but got {name!r}.{nearest(str(name), names)}")


def names_in(place: str) -> list[str]:
    """The keys of the dictionary (or the items of the tuple) `tuneapp.package.module:NAME`.

    The module that owns them may lie above the caller, and may take seconds to import: where nobody has
    imported it yet, the names are read from its source.
    """
    module, _, name = place.partition(":")
    if module in sys.modules and hasattr(sys.modules[module], name):
        return list(getattr(sys.modules[module], name))
    return _names_in_source(module, name)


@lru_cache
def _names_in_source(module: str, name: str) -> list[str]:
    package = Path(__file__).parent.joinpath(*module.split(".")[1:])
    path = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            items = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [])
            return [ast.literal_eval(item) for item in items if item is not None]
    raise LookupError(f"{path} must assign {name} a dictionary or a tuple that is written out.")


def whole(value: Any) -> int:
    """An int. 3.0 is none: as a bound or a step it was meant for a float."""
    if not isinstance(value, bool) and isinstance(value, Integral):
        return int(value)
    if isinstance(value, str):
        with suppress(ValueError):
            return int(value)
    raise UsageError(f"must be a whole number, but got {value!r}.")


def finite(value: Any) -> float:
    """A finite float. PyYAML reads `1e-4` as a string: what float() reads is taken."""
    number = math.nan
    if not isinstance(value, bool) and isinstance(value, str | Real):
        with suppress(ValueError, OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise UsageError(f"must be a finite number, but got {value!r}.")
    return number
