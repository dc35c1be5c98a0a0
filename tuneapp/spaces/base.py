"""What every domain shares: its conditions, and how a value from a file or a flag becomes a plain one."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from tuneapp import declarations
from tuneapp.errors import UsageError, nearest


class SpaceError(UsageError):
    """A space that cannot be. `path` tells where, so that who read a file can add the line.

    The message goes on from the path: "`lr.low` must be below high, …".
    """

    def __init__(self, message: str, *path: str | int, key: bool = False) -> None:
        super().__init__(message)
        self.message, self.path = message, path
        self.key = key  # the key itself is wrong, not the value under it

    def under(self, *prefix: str | int) -> "SpaceError":
        return SpaceError(self.message, *prefix, *self.path, key=self.key)

    def __str__(self) -> str:
        path = self.path[1:] if self.path[:1] == ("hyperparameters",) and len(self.path) > 1 else self.path
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        return f"`{dotted}` {self.message}" if dotted else self.message


class _ReadsOldNames(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """`sampling` was called `strategy` in 0.1.0, which is a federation's own word."""
        if "strategy" in kwargs:
            kwargs["sampling"] = kwargs.pop("strategy")
        return super().__call__(*args, **kwargs)


@dataclass(frozen=True)
class Domain(metaclass=_ReadsOldNames):
    """A hyperparameter, searched or not."""

    # Active only where each named hyperparameter has one of the listed values; None: always.
    when: Mapping[str, Iterable[Any]] | None = field(default=None, kw_only=True)
    sampling: str | None = field(default=None, kw_only=True)  # "random": drawn, kept out of the model

    type: ClassVar[str]

    def __post_init__(self) -> None:
        self._set("when", _conditions(self.when))
        if self.sampling not in (None, "random"):
            hint = nearest(str(self.sampling), ["random"])
            raise SpaceError(f"must be random or left out, but got {self.sampling!r}.{hint}", "sampling")

    def read(self, value: Any) -> Any:
        """The value as it stands in a config: a plain int, float, str, bool or None.

        A string that reads as a number or a boolean is taken as one where the domain has such values.
        Raises SpaceError where the hyperparameter never takes that value.
        """
        raise NotImplementedError

    def check(self, name: str, value: Any) -> Any:
        """`read`, with the hyperparameter's name in the error."""
        try:
            return self.read(value)
        except SpaceError as error:
            raise error.under(name) from None

    def pin(self, value: Any) -> Any:
        """The value by which `--set` may replace the domain: of its kind, though perhaps out of its range."""
        return scalar(value)

    def to_dict(self) -> Any:
        """As in a search-space file; JSON-able."""
        spec: dict[str, Any] = {"type": self.type}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.default is MISSING or value != item.default:
                spec[item.name] = list(value) if isinstance(value, tuple) else value
        if self.when is not None:
            spec["when"] = {name: list(values) for name, values in self.when.items()}
        return spec

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the way to coerce a field of a frozen dataclass


@dataclass(frozen=True)
class Searched(Domain):
    """A domain with a coordinate: `value` maps [0, 1] onto it, `unit` a value to the centre of its cell."""

    @property
    def cardinality(self) -> int | None:
        """How many values; None where they are a continuum."""
        raise NotImplementedError

    def value(self, u: float) -> Any:
        """The value at u in [0, 1] (beyond it: the end's). Uniform u gives the domain's distribution."""
        raise NotImplementedError

    def unit(self, value: Any) -> float:
        """Where a value lies on [0, 1]. `value(unit(v)) == v` for every v that `value` gives."""
        raise NotImplementedError

    def values(self, resolution: int) -> list[Any]:
        """At most `resolution` different values, spread evenly over [0, 1], both ends among them."""
        if resolution == 1:
            return [self.value(0.5)]
        return list(dict.fromkeys(self.value(k / (resolution - 1)) for k in range(resolution)))


def same(a: Any, b: Any) -> bool:
    """Equal, and both booleans or neither: True is not 1 here."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def reads_as(text: Any, value: Any) -> bool:
    """Whether a string, from a flag or from YAML, stands for this number or boolean."""
    if not isinstance(text, str):
        return False
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    try:
        return isinstance(value, int | float) and float(text) == value
    except ValueError:
        return False


def scalar(value: Any, *path: str | int) -> Any:
    """A plain str, bool, int, finite float or None; numpy's scalars become plain."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if not (value is None or isinstance(value, str | bool | int | float)):
        raise SpaceError(
            f"must be a number, a string, a boolean or null, but got {type(value).__name__}: {value!r:.60}.",
            *path,
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise SpaceError(f"must be finite, but got {value}.", *path)
    return value


def finite(value: Any, *path: str | int) -> float:
    """`declarations.finite`; raises SpaceError."""
    with _at(path):
        return declarations.finite(value)


def whole(value: Any, *path: str | int) -> int:
    """`declarations.whole`; raises SpaceError."""
    with _at(path):
        return declarations.whole(value)


@contextmanager
def _at(path: tuple[str | int, ...]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise SpaceError(str(error), *path) from None


def known_keys(given: Mapping[Any, Any], known: Iterable[str], noun: str) -> None:
    """Raises SpaceError at the first key that is not known."""
    known = list(known)
    for key in given:
        if key not in known:
            listed = ", ".join(known)
            raise SpaceError(
                f"is no key of {noun}; it takes {listed}.{nearest(str(key), known)}", str(key), key=True
            )


def _conditions(when: Any) -> dict[str, list[Any]] | None:
    if when is None:
        return None
    if not isinstance(when, Mapping) or not when:
        raise SpaceError(f"must be a mapping like {{optimizer: [sgd]}}, but got {when!r}.", "when")
    conditions = {}
    for name, values in when.items():
        if not isinstance(name, str):
            raise SpaceError(f"must name a hyperparameter, but got {name!r}.", "when", str(name), key=True)
        values = list(values) if isinstance(values, list | tuple | set | frozenset) else [values]
        if not values:
            raise SpaceError("must list at least one value, but is empty.", "when", name)
        conditions[name] = [scalar(value, "when", name, i) for i, value in enumerate(values)]
    return conditions
