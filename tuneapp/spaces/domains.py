"""The domain of one hyperparameter: which values it takes, and where they lie on [0, 1]."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from numbers import Integral, Real
from statistics import NormalDist
from typing import Any, ClassVar

from tuneapp.errors import UsageError, nearest
from tuneapp.spaces import expressions

Path = tuple[str | int, ...]

# Where a unit interval of float64 is cut into more cells than this, a cell's centre may fall into its neighbour.
MAX_CELLS = 2**40


class SpaceError(UsageError):
    """A space that cannot be; `path` tells where, so that a file's reader can add the line."""

    def __init__(self, message: str, *path: str | int, key: bool = False) -> None:
        super().__init__(message)
        self.message, self.path = message, path
        self.key = key  # the key itself is wrong, not the value under it

    def under(self, *prefix: str | int) -> "SpaceError":
        return SpaceError(self.message, *prefix, *self.path, key=self.key)

    def __str__(self) -> str:
        path = self.path[1:] if self.path[:1] == ("hyperparameters",) else self.path
        dotted = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
        return f"{dotted}: {self.message}" if dotted else self.message


@dataclass(frozen=True)
class Domain:
    """What all kinds of hyperparameters share."""

    # Active only where each named hyperparameter has one of the listed values; None: always.
    when: Mapping[str, Iterable[Any]] | None = field(default=None, kw_only=True)
    strategy: str | None = field(default=None, kw_only=True)  # "random": drawn, kept out of the model

    type: ClassVar[str]

    def __post_init__(self) -> None:
        self._set("when", _conditions(self.when))
        if self.strategy not in (None, "random"):
            hint = nearest(str(self.strategy), ["random"])
            raise SpaceError(f"must be random or left out, but got {self.strategy!r}.{hint}", "strategy")

    def check(self, name: str, value: Any) -> Any:
        """The value as it stands in a config (a plain int, float, str, bool or None).

        Raises UsageError, which names the hyperparameter, where it never takes that value.
        """
        raise NotImplementedError

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
        count = self.cardinality
        if count is not None and count <= resolution:
            return [self.value((k + 0.5) / count) for k in range(count)]
        if resolution == 1:
            return [self.value(0.5)]
        return list(dict.fromkeys(self.value(k / (resolution - 1)) for k in range(resolution)))


@dataclass(frozen=True)
class Number(Searched):
    """Float and Int: from low to high, both included."""

    low: Any
    high: Any
    log: bool = False
    step: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high", "step"):
            if name != "step" or self.step is not None:
                self._set(name, self._number(getattr(self, name), name))
        if not isinstance(self.log, bool):
            raise SpaceError(f"must be true or false, but got {self.log!r}.", "log")
        if self.low >= self.high:
            raise SpaceError(
                f"must be below high, but got low={self.low}, high={self.high}; a bare value is fixed.", "low"
            )
        if self.log and self.low <= 0:
            raise SpaceError(
                f"must be above 0 with log: true, but got {self.low}; drop log or raise low.", "low"
            )
        if self.step is not None:
            if self.step <= 0:
                raise SpaceError(f"must be above 0, but got {self.step}.", "step")
            if self.step > self.high - self.low:
                raise SpaceError(
                    f"must be at most high - low = {self.high - self.low:g}, but got {self.step}.", "step"
                )
            if (self.high / self.step if self.log else (self.high - self.low) / self.step) >= MAX_CELLS:
                raise SpaceError(
                    f"must leave at most 2**40 values, but low={self.low}, high={self.high} and "
                    f"step={self.step} leave more; take a larger step, or a float without one.",
                    "high",
                )

    @property
    def cardinality(self) -> int | None:
        return None if self.step is None else self._count

    def value(self, u: float) -> Any:
        u = _clamped(u)
        if self.step is None:
            return self._continuous(u)
        if self.log:
            # Cell k reaches from its value to the next: an int 1..9 has Benford's shares.
            k = int((self.low * (self._beyond / self.low) ** u - self.low) / self.step)
        else:
            k = int(u * self._count)
        return self._at(min(max(k, 0), self._count - 1))

    def unit(self, value: Any) -> float:
        value = self.check("value", value)
        if self.step is None:
            if self.log:
                return _clamped(math.log(value / self.low) / math.log(self.high / self.low))
            # Halved, so that the widest range of floats does not overflow.
            return _clamped((value / 2 - self.low / 2) / (self.high / 2 - self.low / 2))
        if self.log:
            centre = math.sqrt(value) * math.sqrt(value + self.step)
            return math.log(centre / self.low) / math.log(self._beyond / self.low)
        return (self._index(value) + 0.5) / self._count

    def check(self, name: str, value: Any) -> Any:
        try:
            number = self._number(value)
        except SpaceError as error:
            raise error.under(name) from None
        if not self.low <= number <= self.high:
            raise SpaceError(f"must lie from {self.low} to {self.high}, but got {number}.", name)
        if self.step is None:
            return number
        k = min(max(self._index(number), 0), self._count - 1)
        on_grid = self._at(k)
        if not math.isclose(on_grid, number, rel_tol=1e-9, abs_tol=1e-9 * self.step):
            raise SpaceError(
                f"must be {self.low} plus a multiple of {self.step}, but got {number}; the nearest is {on_grid}.",
                name,
            )
        return on_grid

    @cached_property
    def _count(self) -> int:
        return int((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def _beyond(self) -> Any:
        return self.low + self._count * self.step

    def _index(self, value: Any) -> int:
        return round((value - self.low) / self.step)

    def _at(self, k: int) -> Any:
        raise NotImplementedError

    def _continuous(self, u: float) -> Any:
        raise NotImplementedError

    def _number(self, value: Any, *path: str) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Float(Number):
    """Uniform, or with log uniform in the exponent; with step low, low + step, … up to high.

    Values are rounded at about the twelfth digit: what is drawn reads well, and comes back from its
    coordinate bit for bit.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    type: ClassVar[str] = "float"

    def _number(self, value: Any, *path: str) -> float:
        return _float(value, *path)

    def _at(self, k: int) -> float:
        # 0.1 + 2 * 0.1 shall be 0.3.
        digits = 12 - math.floor(math.log10(self.step or 1.0))
        return min(max(round(self.low + k * (self.step or 0.0), digits), self.low), self.high)

    def _continuous(self, u: float) -> float:
        if u in (0.0, 1.0):
            return self.high if u else self.low
        if self.log:
            value = self.low * (self.high / self.low) ** u
            digits = 11 - math.floor(math.log10(value))
        else:
            value = (1 - u) * self.low + u * self.high
            size = max(self.high / 2 - self.low / 2, max(abs(self.low), abs(self.high)) / 100)
            digits = 12 - math.floor(math.log10(size))
        return min(max(round(value, digits), self.low), self.high)


@dataclass(frozen=True)
class Int(Number):
    """Whole numbers, high included, each equally likely; with log in proportion to log(1 + step / value)."""

    low: int
    high: int
    log: bool = False
    step: int | None = 1

    type: ClassVar[str] = "int"

    def __post_init__(self) -> None:
        if self.step is None:
            self._set("step", 1)
        super().__post_init__()

    def _number(self, value: Any, *path: str) -> int:
        return _int(value, *path, exact=bool(path))

    def _at(self, k: int) -> int:
        return int(self.low + k * (self.step or 1))

    @cached_property
    def _count(self) -> int:
        return int((self.high - self.low) // (self.step or 1) + 1)


@dataclass(frozen=True)
class Normal(Searched):
    """A float around mean, cut off four standard deviations away (1 draw in 16,000 would lie beyond)."""

    mean: float
    sd: float

    type: ClassVar[str] = "normal"
    CUT: ClassVar[float] = 4.0
    TAIL: ClassVar[float] = NormalDist().cdf(-4.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("mean", _float(self.mean, "mean"))
        self._set("sd", _float(self.sd, "sd"))
        if self.sd <= 0:
            raise SpaceError(f"must be above 0, but got {self.sd}.", "sd")
        if self.mean + self.CUT * self.sd == self.mean or not math.isfinite(
            abs(self.mean) + self.CUT * self.sd
        ):
            raise SpaceError(
                f"must be of a size with the mean, but got mean={self.mean}, sd={self.sd}.", "sd"
            )

    @property
    def cardinality(self) -> None:
        return None

    def value(self, u: float) -> float:
        share = self.TAIL + _clamped(u) * (1 - 2 * self.TAIL)
        value = self.mean + self.sd * NormalDist().inv_cdf(share)
        digits = 9 - math.floor(math.log10(max(self.sd, abs(self.mean) / 1e4)))
        return min(max(round(value, digits), self._low), self._high)

    def unit(self, value: Any) -> float:
        z = (self.check("value", value) - self.mean) / self.sd
        return _clamped((NormalDist().cdf(z) - self.TAIL) / (1 - 2 * self.TAIL))

    def check(self, name: str, value: Any) -> float:
        number = _float(value, name)
        if not self._low <= number <= self._high:
            raise SpaceError(f"must lie from {self._low:g} to {self._high:g}, but got {number}.", name)
        return number

    @property
    def _low(self) -> float:
        return self.mean - self.CUT * self.sd

    @property
    def _high(self) -> float:
        return self.mean + self.CUT * self.sd


@dataclass(frozen=True)
class Choice(Searched):
    """Categorical and Ordinal: one of a list, each equally likely."""

    choices: Iterable[Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.choices, str) or not isinstance(self.choices, Iterable):
            raise SpaceError(f"must be a list, but got {self.choices!r}.", "choices")
        choices = tuple(_scalar(value, "choices", i) for i, value in enumerate(self.choices))
        if not choices:
            raise SpaceError("must hold at least one value, but is empty.", "choices")
        booleans = [isinstance(choice, bool) for choice in choices]
        if any(booleans) and not all(booleans):
            at = booleans.index(True)
            raise SpaceError(
                f"must all be booleans or none, but {choices[at]!r} stands among others; YAML reads on, off, yes "
                'and no as booleans: quote the word, as in "on".',
                "choices",
                at,
            )
        for i, choice in enumerate(choices):
            if choice in choices[:i]:
                raise SpaceError(f"must differ, but {choice!r} comes twice.", "choices", i)
        self._set("choices", choices)

    @property
    def cardinality(self) -> int:
        return len(self._choices)

    def value(self, u: float) -> Any:
        return self._choices[min(int(_clamped(u) * len(self._choices)), len(self._choices) - 1)]

    def unit(self, value: Any) -> float:
        return (self._choices.index(self.check("value", value)) + 0.5) / len(self._choices)

    def check(self, name: str, value: Any) -> Any:
        value = _scalar(value, name)
        for choice in self._choices:
            if same(choice, value):
                return choice
        if isinstance(value, str):  # `1e-4` is a string to PyYAML and to a command line
            for choice in self._choices:
                if (
                    isinstance(choice, int | float)
                    and not isinstance(choice, bool)
                    and _reads_as(value, choice)
                ):
                    return choice
        listed = ", ".join(map(str, self._choices))
        hint = nearest(str(value), map(str, self._choices))
        raise SpaceError(f"must be one of {listed}, but got {value!r}.{hint}", name)

    def values(self, resolution: int) -> list[Any]:
        """All of them, at any resolution: leaving some out would be a choice of its own."""
        return list(self._choices)

    @property
    def _choices(self) -> tuple[Any, ...]:
        return self.choices  # type: ignore[return-value]  # a tuple since __post_init__


@dataclass(frozen=True)
class Categorical(Choice):
    """One of a list without order."""

    type: ClassVar[str] = "categorical"


@dataclass(frozen=True)
class Ordinal(Choice):
    """One of a list in order: neighbours are alike."""

    type: ClassVar[str] = "ordinal"


@dataclass(frozen=True)
class Fixed(Domain):
    """One value; what a bare value in a file becomes."""

    value: Any

    type: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        super().__post_init__()
        _no_strategy(self)
        self._set("value", _scalar(self.value, "value"))

    def check(self, name: str, value: Any) -> Any:
        value = _scalar(value, name)
        if not same(value, self.value) and not (isinstance(value, str) and _reads_as(value, self.value)):
            raise SpaceError(f"is fixed at {self.value!r}, but got {value!r}; drop it, or search it.", name)
        return self.value

    def to_dict(self) -> Any:
        return self.value if self.when is None else super().to_dict()


@dataclass(frozen=True)
class Derived(Domain):
    """Computed from other hyperparameters. Absent where it needs one that is inactive."""

    expression: str

    type: ClassVar[str] = "derived"

    def __post_init__(self) -> None:
        super().__post_init__()
        _no_strategy(self)
        # A bare number is an expression too.
        self._set("expression", str(self.expression))
        try:
            tree = expressions.parse(self.expression)
        except UsageError as error:
            raise SpaceError(str(error), "derived") from None
        self._set("_tree", tree)

    @property
    def names(self) -> list[str]:
        """The hyperparameters it refers to."""
        return expressions.names(self._tree)  # type: ignore[attr-defined]

    def evaluate(self, name: str, config: Mapping[str, Any]) -> Any:
        """Its value in a config; raises expressions.Missing where it needs a hyperparameter that is absent."""
        try:
            return expressions.evaluate(self._tree, config)  # type: ignore[attr-defined]
        except UsageError as error:
            raise SpaceError(str(error), name, "derived") from None

    def to_dict(self) -> Any:
        spec = super().to_dict()
        del spec["type"]
        return {"derived": spec.pop("expression"), **spec}


def from_spec(spec: Any) -> Domain:
    """A domain from what a file says of it: a mapping with a `type` or `derived`, or a bare value.

    Raises SpaceError whose path starts below the hyperparameter.
    """
    if isinstance(spec, Domain):
        return spec
    if not isinstance(spec, Mapping):
        if isinstance(spec, list | tuple):
            raise SpaceError(
                f"must be a single value or a mapping, but got a list; to search one of several, write "
                f"{{type: categorical, choices: {list(spec)}}}."
            )
        return Fixed(spec)
    kind: type[Domain]
    if "derived" in spec:
        kind, given = (
            Derived,
            {"expression": spec["derived"], **{k: v for k, v in spec.items() if k != "derived"}},
        )
        known = ["derived", "when"]
    else:
        given = {key: value for key, value in spec.items() if key != "type"}
        if "type" not in spec:
            every = {"type", "derived"} | {f.name for kind in DOMAINS.values() for f in fields(kind)}
            _known_keys(spec, sorted(every), "a hyperparameter")
            raise SpaceError(f"must have a `type`, one of {', '.join(DOMAINS)}.")
        if not isinstance(spec["type"], str) or spec["type"] not in DOMAINS:
            hint = nearest(str(spec["type"]), DOMAINS)
            raise SpaceError(f"must be one of {', '.join(DOMAINS)}, but got {spec['type']!r}.{hint}", "type")
        kind = DOMAINS[spec["type"]]
        known = ["type", *(f.name for f in fields(kind) if not (kind is Fixed and f.name == "strategy"))]
    _known_keys(spec, known, f"a {kind.type} hyperparameter")
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.name not in given]
    if needed:
        raise SpaceError(f"must have {' and '.join(f'`{name}`' for name in needed)}: it is {kind.type}.")
    return kind(**given)


def same(a: Any, b: Any) -> bool:
    """Equal, and both booleans or neither: True is not 1 here."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def known_keys(given: Mapping[Any, Any], known: Iterable[str], noun: str) -> None:
    """Raises SpaceError at the first key that is not known."""
    known = list(known)
    for key in given:
        if key not in known:
            raise SpaceError(
                f"is no key of {noun}; it takes {', '.join(known)}.{nearest(str(key), known)}",
                str(key),
                key=True,
            )


_known_keys = known_keys


def _no_strategy(domain: Domain) -> None:
    if domain.strategy is not None:
        raise SpaceError(f"is for what is searched, but this is {domain.type}.", "strategy", key=True)


def _conditions(when: Any) -> dict[str, list[Any]] | None:
    if when is None:
        return None
    if not isinstance(when, Mapping) or not when:
        raise SpaceError(f"must be a mapping like {{optimizer: [sgd]}}, but got {when!r}.", "when")
    conditions = {}
    for name, values in when.items():
        values = list(values) if isinstance(values, list | tuple | set) else [values]
        if not values:
            raise SpaceError("must list at least one value, but is empty.", "when", name)
        conditions[name] = [_scalar(value, "when", name, i) for i, value in enumerate(values)]
    return conditions


def _scalar(value: Any, *path: str | int) -> Any:
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


def _float(value: Any, *path: str) -> float:
    """PyYAML reads `1e-4` as a string: what float() reads is taken."""
    if isinstance(value, str | Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise SpaceError(f"must be a finite number, but got {value!r}.", *path)


def _int(value: Any, *path: str, exact: bool) -> int:
    """A whole number; exact refuses 3.0, which stands for a bound or a step that was meant for a float."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    if isinstance(value, float) and value.is_integer() and not exact:
        return int(value)
    raise SpaceError(
        f"must be a whole number, but got {value!r}" + ("; or take type: float." if exact else "."), *path
    )


def _reads_as(text: str, value: Any) -> bool:
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    try:
        return isinstance(value, int | float) and float(text) == value
    except ValueError:
        return False


def _clamped(u: float) -> float:
    if math.isnan(u):
        raise ValueError("a coordinate must be a number, but is nan: the hyperparameter has no value here")
    return float(min(max(u, 0.0), 1.0))


DOMAINS: dict[str, type[Domain]] = {
    "float": Float,
    "int": Int,
    "categorical": Categorical,
    "ordinal": Ordinal,
    "normal": Normal,
    "fixed": Fixed,
}
