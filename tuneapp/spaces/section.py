"""The `effects` section of a search-space file: a study's own tables, and what it claims."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneapp.settings import Config
from tuneapp.spaces.base import SpaceError, known_keys

OF = ("final", "best", "mean")  # which number of a curve a claim is about
SIDES = ("more", "less", "alike")


@dataclass(frozen=True)
class Claim:
    """What a study says: every config of `more` has more of the metric than every one of `less`, or all of
    `alike` differ by less than `within`."""

    says: str
    metric: str = "val_accuracy"  # or `gap`, val_loss - train_loss
    of: str = "final"  # one of OF
    more: tuple[Config, ...] = ()
    less: tuple[Config, ...] = ()
    alike: tuple[Config, ...] = ()
    within: float = 0.02


@dataclass(frozen=True)
class TableRequest:
    """A table as a user asks for it."""

    vary: tuple[str, ...]
    values: dict[str, list[Any]] = field(default_factory=dict)  # what is missing comes from the space
    base: Config = field(default_factory=dict)  # where it differs from the plan's base


@dataclass(frozen=True)
class EffectsSection:
    """`effects` of a search-space file: a study's own tables, and what it claims."""

    tables: tuple[TableRequest, ...] = ()
    seeds: int = 3
    combine: bool = False
    combinations: dict[str, Config] = field(default_factory=dict)  # name -> what differs from the base
    claims: tuple[dict[str, Any], ...] = ()
    words: dict[str, Any] = field(default_factory=dict)  # of the study's file names -> a config, or a name
    examples: int | None = None  # that the study trained with; None: all

    @classmethod
    def read(cls, data: Any) -> "EffectsSection":
        """Raises SpaceError, with its path, for anything that could not be meant."""
        _mapping(data, "effects")
        _keys(data, cls.__dataclass_fields__, "`effects`", "effects")
        tables = []
        for i, item in enumerate(_list(data.get("tables", []), "effects", "tables")):
            at = ("effects", "tables", i)
            _mapping(item, *at)
            _keys(item, ("vary", "values", "base"), "a table of effects", *at)
            vary = item.get("vary")
            vary = [vary] if isinstance(vary, str) else _list(vary, *at, "vary")
            values = item.get("values", {})
            if isinstance(values, list) and len(vary) == 1:
                values = {vary[0]: values}
            for name, listed in _mapping(values, *at, "values").items():
                _list(listed, *at, "values", name)
            tables.append(
                TableRequest(tuple(vary), dict(values), dict(_mapping(item.get("base", {}), *at, "base")))
            )
        claims = []
        for i, item in enumerate(_list(data.get("claims", []), "effects", "claims")):
            at = ("effects", "claims", i)
            _mapping(item, *at)
            _keys(item, Claim.__dataclass_fields__, "a claim", *at)
            if "says" not in item or ("alike" in item) == ("more" in item and "less" in item):
                raise SpaceError("must have `says`, and either `more` and `less` or `alike`.", *at)
            if item.get("of", "final") not in OF:
                raise SpaceError(f"must be one of {', '.join(OF)}, but got {item['of']!r}.", *at, "of")
            claims.append(dict(item))
        for name, config in _mapping(data.get("combinations", {}), "effects", "combinations").items():
            _mapping(config, "effects", "combinations", name)
        seeds = data.get("seeds", 3)
        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
            raise SpaceError(f"must be a whole number from 1, but got {seeds!r}.", "effects", "seeds")
        return cls(
            tuple(tables),
            seeds,
            bool(data.get("combine", False)),
            dict(data.get("combinations", {})),
            tuple(claims),
            dict(_mapping(data.get("words", {}), "effects", "words")),
            data.get("examples"),
        )


def _mapping(data: Any, *at: str | int) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SpaceError(f"must map keys to values, but got {data!r:.60}.", *at)
    return data


def _keys(data: Mapping[str, Any], known: Iterable[str], noun: str, *at: str | int) -> None:
    try:
        known_keys(data, known, noun)
    except SpaceError as error:
        raise error.under(*at) from None


def _list(data: Any, *at: str | int) -> list[Any]:
    if not isinstance(data, list):
        raise SpaceError(f"must be a list, but got {data!r:.60}.", *at)
    return data
