"""Kinds of domains, by the names that files give them."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

from tuneapp.errors import UsageError, nearest
from tuneapp.spaces import expressions
from tuneapp.spaces.base import Domain, Searched, SpaceError, known_keys, reads_as, same, scalar
from tuneapp.spaces.ranges import Float, Int, Normal, clamped

LISTED = 30  # choices, at most, that an error lists


@dataclass(frozen=True)
class Choice(Searched):
    """What Categorical and Ordinal share: one of a list, each equally likely."""

    choices: tuple[Any, ...]  # any list is taken

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.choices, str | Mapping) or not isinstance(self.choices, Iterable):
            raise SpaceError(f"must be a list, but got {self.choices!r}.", "choices")
        choices = tuple(scalar(value, "choices", i) for i, value in enumerate(self.choices))
        if not choices:
            raise SpaceError("must hold at least one value, but is empty.", "choices")
        booleans = [isinstance(choice, bool) for choice in choices]
        if any(booleans) and not all(booleans):
            at = booleans.index(True)
            raise SpaceError(
                f"must all be booleans or none, but {choices[at]!r} stands among others; YAML reads on, off, "
                'yes and no as booleans: quote the word, as in "on".',
                "choices",
                at,
            )
        self._set("choices", choices)
        for i, choice in enumerate(choices):
            if self._positions[choice] != i:  # of equal ones the last position stands there
                again = choices.index(choice, i + 1)
                raise SpaceError(f"must differ, but {choices[again]!r} comes twice.", "choices", again)

    @property
    def cardinality(self) -> int:
        return len(self.choices)

    def value(self, u: float) -> Any:
        return self.choices[min(int(clamped(u) * len(self.choices)), len(self.choices) - 1)]

    def unit(self, value: Any) -> float:
        return (self._positions[self.read(value)] + 0.5) / len(self.choices)

    def values(self, resolution: int) -> list[Any]:
        """All of them, at any resolution: which to leave out is not ours to say."""
        return list(self.choices)

    def read(self, value: Any) -> Any:
        value = scalar(value)
        position = self._positions.get(value)
        if position is not None and same(self.choices[position], value):
            return self.choices[position]
        for choice in self.choices:
            if reads_as(value, choice):
                return choice
        listed = ", ".join(map(str, self.choices[:LISTED]))
        if len(self.choices) > LISTED:
            listed += f" … ({len(self.choices):,} in all)"
        hint = nearest(str(value), map(str, self.choices))
        raise SpaceError(f"must be one of {listed}, but got {value!r}.{hint}")

    def pin(self, value: Any) -> Any:
        """Any number where all choices are numbers; else one of the choices."""
        value = scalar(value)
        numbers = (int, float)
        if type(value) in numbers and all(type(choice) in numbers for choice in self.choices):
            return value
        return self.read(value)

    @cached_property
    def _positions(self) -> dict[Any, int]:
        return {choice: position for position, choice in enumerate(self.choices)}


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
        _no_sampling(self)
        self._set("value", scalar(self.value, "value"))

    def read(self, value: Any) -> Any:
        value = scalar(value)
        if not same(value, self.value) and not reads_as(value, self.value):
            raise SpaceError(f"is fixed at {self.value!r}, but got {value!r}; leave it out, or search it.")
        return self.value

    def to_dict(self) -> Any:
        # An empty line of a file reads as null: null alone is not taken for a value.
        bare = self.when is None and self.value is not None
        return self.value if bare else super().to_dict()


@dataclass(frozen=True)
class Derived(Domain):
    """Computed from other hyperparameters. Absent where it needs one that is inactive."""

    expression: str

    type: ClassVar[str] = "derived"

    def __post_init__(self) -> None:
        super().__post_init__()
        _no_sampling(self)
        self._set("expression", str(self.expression))  # a bare number is an expression too
        try:
            _ = self._tree
        except UsageError as error:
            raise SpaceError(str(error), "derived") from None

    @property
    def names(self) -> list[str]:
        """The hyperparameters it refers to."""
        return expressions.names(self._tree)

    def evaluate(self, config: Mapping[str, Any]) -> Any:
        """Its value in a config.

        Raises expressions.MissingError where it needs a hyperparameter that is absent, SpaceError where it
        has no value.
        """
        try:
            return expressions.evaluate(self._tree, config)
        except UsageError as error:
            raise SpaceError(str(error), "derived") from None

    def to_dict(self) -> Any:
        spec = super().to_dict()
        del spec["type"]
        return {"derived": spec.pop("expression"), **spec}

    @cached_property
    def _tree(self) -> Any:
        return expressions.parse(self.expression)


def from_spec(spec: Any) -> Domain:
    """A domain from what a file says of it: a mapping with a `type` or `derived`, or a bare value.

    Raises SpaceError whose path starts below the hyperparameter.
    """
    if isinstance(spec, Domain):
        return spec
    if isinstance(spec, list | tuple):
        raise SpaceError(
            "must be one value or a mapping, but got a list; to search it, write "
            f"{{type: categorical, choices: {list(spec)}}}."
        )
    if spec is None:
        raise SpaceError("must have a value; {type: fixed, value: null} fixes it at null.")
    if not isinstance(spec, Mapping):
        return Fixed(scalar(spec))
    if "derived" in spec:
        known_keys(spec, ["derived", "when"], "a derived hyperparameter")
        return Derived(spec["derived"], when=spec.get("when"))
    if "type" not in spec:
        every = {"type", "derived"} | {f.name for kind in DOMAINS.values() for f in fields(kind)}
        known_keys(spec, sorted(every), "a hyperparameter")
        raise SpaceError(f"must have a `type`, one of {', '.join(DOMAINS)}.")
    if not isinstance(spec["type"], str) or spec["type"] not in DOMAINS:
        hint = nearest(str(spec["type"]), DOMAINS)
        raise SpaceError(f"must be one of {', '.join(DOMAINS)}, but got {spec['type']!r}.{hint}", "type")
    kind = DOMAINS[spec["type"]]
    if "strategy" in spec and "sampling" not in spec:  # its name in 0.1.0
        spec = {"sampling" if key == "strategy" else key: value for key, value in spec.items()}
    keys = [f.name for f in fields(kind)]
    known_keys(spec, ["type", *keys], f"a hyperparameter of type {kind.type}")
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in spec]
    if missing:
        needed = " and ".join(f"`{name}`" for name in missing)
        raise SpaceError(f"must have {needed}, as every hyperparameter of type {kind.type}.")
    return kind(**{key: value for key, value in spec.items() if key != "type"})


def _no_sampling(domain: Domain) -> None:
    if domain.sampling is not None:
        raise SpaceError(f"is for what is searched, but this is {domain.type}.", "sampling", key=True)


DOMAINS: dict[str, type[Domain]] = {
    "float": Float,
    "int": Int,
    "categorical": Categorical,
    "ordinal": Ordinal,
    "normal": Normal,
    "fixed": Fixed,
}
