"""The space all hyperparameters span together: conditions, derived values, config <-> unit cube."""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import numpy.typing as npt

from tuneapp.errors import UsageError, at_least, nearest
from tuneapp.settings import Config
from tuneapp.spaces.base import Domain, Searched, SpaceError, known_keys, same
from tuneapp.spaces.counting import count
from tuneapp.spaces.domains import Derived, Fixed, from_spec
from tuneapp.spaces.expressions import MissingError

Array = npt.NDArray[np.float64]


class SearchSpace:
    """Which configs there are. Never changed: `replace` gives a new one.

    hyperparameters: name -> domain, bare value (fixed), or mapping as in a search-space file; in any order.
    points: configs to evaluate first; what one leaves out, the search fills in.
    Raises UsageError for what cannot be.

    A hyperparameter with `when` is active where every hyperparameter named there is active and has one of the
    listed values; an inactive one is absent from the config. So is a derived one whose expression comes upon
    an absent one.
    """

    hyperparameters: dict[str, Domain]
    searched: tuple[str, ...]  # the names with a coordinate, in order; what can never be active has none
    points: tuple[Config, ...]

    def __init__(self, hyperparameters: Mapping[str, Any], points: Sequence[Config] = ()) -> None:
        domains = _domains(hyperparameters)
        self.hyperparameters = {name: _resolved(name, domains) for name in domains}
        self._order = _sorted(self.hyperparameters)
        activity = self._activity({})
        self.searched = tuple(
            name
            for name, domain in self.hyperparameters.items()
            if isinstance(domain, Searched) and activity[name] is not False
        )
        self._column = {name: column for column, name in enumerate(self.searched)}
        self._probe_expressions()
        if not isinstance(points, list | tuple):
            raise SpaceError(f"must be a list of configs, but got {points!r:.60}.", "points")
        self.points = tuple(self._read(point, "points", i) for i, point in enumerate(points))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SearchSpace":
        """From the `hyperparameters` and `points` of a space file. `from_dict(s.to_dict()) == s`."""
        if not isinstance(data, Mapping):
            raise SpaceError(f"A search space must be a mapping, but got {type(data).__name__}.")
        known_keys(data, ["hyperparameters", "points"], "a search space")
        if "hyperparameters" not in data:
            raise SpaceError("A search space must have `hyperparameters`.")
        return cls(data["hyperparameters"], data.get("points") or ())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, as in a space file."""
        data: dict[str, Any] = {"hyperparameters": {n: d.to_dict() for n, d in self.hyperparameters.items()}}
        if self.points:
            data["points"] = [dict(point) for point in self.points]
        return data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SearchSpace({self.to_dict()})"

    def decode(self, point: npt.ArrayLike) -> Config:
        """The complete config at a point of the unit cube: [D] coordinates in the order of `searched`.

        Those of inactive hyperparameters are not looked at and may be nan.
        """
        coordinates = self._coordinates(point)
        return self._build(lambda name, domain: domain.value(coordinates[self._column[name]]))

    def encode(self, config: Config) -> Array:
        """Where a config lies: [D] float64, the centres of its values' cells, nan for what it lacks."""
        point = np.full(len(self.searched), math.nan)
        for name, column in self._column.items():
            if name in config:
                domain = self._searched(name)
                point[column] = domain.unit(domain.check(name, config[name]))
        return point

    def complete(self, config: Config, point: npt.ArrayLike | None = None) -> Config:
        """The config with fixed and derived values filled in and its own values checked and coerced.

        Active searched hyperparameters that it lacks get theirs from `point` [D]; without one they are an
        error, as are unknown names, values out of range, and values for what is inactive.
        """
        given = self._read(config)
        coordinates = None if point is None else self._coordinates(point)

        def pick(name: str, domain: Searched) -> Any:
            if name in given:
                return given[name]
            if coordinates is None:
                raise SpaceError("must have a value, but the config has none.", name)
            return domain.value(coordinates[self._column[name]])

        return self._build(pick)

    def check(self, config: Config) -> None:
        """Raises UsageError unless this is a complete config of the space, derived values included."""
        for name, value in self.complete(config).items():
            if name not in config:
                raise SpaceError("must have a value, but the config has none.", name)
            if not same(config[name], value):
                raise SpaceError(f"must be {value!r}, but got {config[name]!r}.", name)

    def allows(self, point: Config) -> bool:
        """Whether some config of the space has the values of the point, which may leave others out."""
        try:
            self._read(point)
        except UsageError:
            return False
        return True

    def key(self, config: Config) -> Hashable:
        """Equal for configs that are equal in what is searched, and only for them."""
        return tuple(
            (name, isinstance(config[name], bool), config[name]) for name in self.searched if name in config
        )

    def replace(self, name: str, domain: Any) -> "SearchSpace":
        """The space with another domain or bare value of one hyperparameter.

        Its `when` and `sampling` stay where the new one says nothing. Points that no longer fit are left
        out, and so is what could never be active again because the new domain lacks a value. Raises
        UsageError for a name that is not there, and for a bare value of another kind than the domain's.
        """
        if name not in self.hyperparameters:
            names = ", ".join(self.hyperparameters)
            hint = nearest(name, self.hyperparameters)
            raise SpaceError(f"is no hyperparameter of this space; it has {names}.{hint}", name, key=True)
        old = self.hyperparameters[name]
        try:
            new = Fixed(None) if domain is None else from_spec(domain)
            if isinstance(new, Fixed):
                new = replace(new, value=old.pin(new.value))
            if new.when is None:
                new = replace(new, when=old.when)
            if isinstance(new, Searched) and new.sampling is None:
                new = replace(new, sampling=old.sampling)
        except SpaceError as error:
            raise error.under(name) from None
        space = SearchSpace(_narrowed({**self.hyperparameters, name: new}, name))
        space.points = tuple(point for point in self.points if space.allows(point))
        return space

    def with_(self, name: str, domain: Any) -> "SearchSpace":
        """`replace`, or the space with one hyperparameter more."""
        if name in self.hyperparameters:
            return self.replace(name, domain)
        return SearchSpace({**self.hyperparameters, name: domain}, self.points)

    @property
    def ordered(self) -> dict[str, Domain]:
        """The domains, each after those that it depends on."""
        return {name: self.hyperparameters[name] for name in self._order}

    @property
    def cardinality(self) -> int | None:
        """How many different configs there are; None where a hyperparameter that can be active is continuous
        (or in the rare case that conditions are too entangled to be counted, of more than 10,000 configs)."""
        return count(self.ordered, {n: self._searched(n).cardinality for n in self._chosen}, {})

    def grid_size(self, resolution: int) -> int | None:
        """How many configs `grid(resolution)` gives, without listing them; None as of `cardinality`."""
        values = {name: self._searched(name).values(resolution) for name in self._chosen}
        return count(self.ordered, {name: len(values[name]) for name in values}, values)

    def grid(self, resolution: int) -> Iterator[Config]:
        """All combinations of all choices and of at most `resolution` values of each number, none twice."""
        at_least("resolution", resolution, 1)
        values = {name: self._searched(name).values(resolution) for name in self._chosen}
        chosen: dict[str, int] = {}  # name -> position of its value, in the order of choosing
        while True:
            yield self._build(lambda name, _: values[name][chosen.setdefault(name, 0)])
            # The next one, as a counter of digits goes on: what comes last changes first.
            while chosen:
                name, position = chosen.popitem()
                if position + 1 < len(values[name]):
                    chosen[name] = position + 1
                    break
            else:
                return

    def _build(self, pick: Callable[[str, Searched], Any]) -> Config:
        config: Config = {}
        for name in self._order:
            if not self._settled(name, config):
                config[name] = pick(name, self._searched(name))
        return self._in_order(config)

    def _settled(self, name: str, config: Config) -> bool:
        """Put the value in if it follows from those before; False where one must be chosen."""
        if not self._active(name, config):
            return True
        domain = self.hyperparameters[name]
        if isinstance(domain, Fixed):
            config[name] = domain.value
        elif isinstance(domain, Derived):
            try:
                config[name] = domain.evaluate(config)
            except MissingError:
                pass
            except SpaceError as error:
                raise error.under(name) from None
        return not isinstance(domain, Searched)

    def _active(self, name: str, config: Config) -> bool:
        return all(
            parent in config and any(same(config[parent], value) for value in values)
            for parent, values in (self.hyperparameters[name].when or {}).items()
        )

    def _activity(self, given: Config) -> dict[str, bool | None]:
        """Which hyperparameters are active in configs with the given values; None: in some of them."""
        activity: dict[str, bool | None] = {}
        for name in self._order:
            states: list[bool | None] = [True]
            for parent, values in (self.hyperparameters[name].when or {}).items():
                switch = self.hyperparameters[parent]
                states.append(activity[parent])
                if isinstance(switch, Fixed) or parent in given:
                    value = switch.value if isinstance(switch, Fixed) else given[parent]
                    states.append(any(same(value, listed) for listed in values))
                else:
                    states.append(None)
            activity[name] = False if False in states else None if None in states else True
        return activity

    @property
    def _chosen(self) -> list[str]:
        """The searched hyperparameters, those that can never be active among them."""
        return [name for name, domain in self.hyperparameters.items() if isinstance(domain, Searched)]

    def _in_order(self, config: Config) -> Config:
        return {name: config[name] for name in self.hyperparameters if name in config}

    def _searched(self, name: str) -> Searched:
        domain = self.hyperparameters[name]
        assert isinstance(domain, Searched)
        return domain

    def _coordinates(self, point: npt.ArrayLike) -> list[float]:
        coordinates = np.asarray(point, dtype=np.float64)
        if coordinates.shape != (len(self.searched),):
            raise ValueError(f"a point must have shape ({len(self.searched)},), but has {coordinates.shape}")
        return [float(u) for u in coordinates]

    def _probe_expressions(self) -> None:
        """A division by zero at an end of a domain comes out now, not in the middle of a search."""
        used = self._used_by_expressions()
        if not used:
            return
        D = len(self.searched)
        centre = np.full(D, 0.5)
        probes = [centre, np.zeros(D), np.ones(D)]
        for column in (column for name, column in self._column.items() if name in used):
            for end in (0.0, 1.0):
                probes.append(centre.copy())
                probes[-1][column] = end
        for probe in probes:
            try:
                self.decode(probe)
            except SpaceError as error:
                raise error.under("hyperparameters") from None

    def _used_by_expressions(self) -> set[str]:
        """The derived hyperparameters, and all on which their values depend."""
        used: set[str] = set()
        for name in reversed(self._order):
            domain = self.hyperparameters[name]
            if isinstance(domain, Derived):
                used |= {name, *domain.names}
            if name in used:
                used.update(domain.when or {})
        return used

    def _read(self, point: Any, *at: str | int) -> Config:
        """The values of a point, coerced, without the derived ones. Raises SpaceError under `at`."""
        if not isinstance(point, Mapping):
            raise SpaceError(f"must map names to values, but got {point!r:.60}.", *at)
        read: Config = {}
        for name, value in point.items():
            if name not in self.hyperparameters:
                hint = nearest(str(name), self.hyperparameters)
                raise SpaceError(f"is no hyperparameter of this space.{hint}", *at, str(name), key=True)
            domain = self.hyperparameters[name]
            if not isinstance(domain, Derived):
                try:
                    read[name] = domain.check(name, value)
                except SpaceError as error:
                    raise error.under(*at) from None
        activity = self._activity(read)
        for name in read:
            if activity[name] is False:
                condition = describe_condition(self.hyperparameters[name])
                raise SpaceError(f"is active only {condition}; leave it out.", *at, name, key=True)
        return read


def describe_condition(domain: Domain) -> str:
    """`when optimizer is sgd or adam`; nothing where it is always active."""
    conditions = (
        f"{parent} is {' or '.join(map(str, values))}" for parent, values in (domain.when or {}).items()
    )
    return f"when {' and '.join(conditions)}" if domain.when else ""


def _domains(hyperparameters: Any) -> dict[str, Domain]:
    if not isinstance(hyperparameters, Mapping):
        raise SpaceError(f"must map names to domains, but got {hyperparameters!r:.60}.", "hyperparameters")
    domains = {}
    for name, spec in hyperparameters.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise SpaceError(
                f"must be a name of letters, digits and '_', but got {name!r}.",
                "hyperparameters",
                str(name),
                key=True,
            )
        try:
            domains[name] = from_spec(spec)
        except SpaceError as error:
            raise error.under("hyperparameters", name) from None
    return domains


def _resolved(name: str, domains: dict[str, Domain]) -> Domain:
    """The domain with its conditions' values coerced; raises SpaceError for references to nothing."""
    domain = domains[name]

    def nearest_other(wanted: str) -> str:
        return nearest(wanted, [other for other in domains if other != name])

    if isinstance(domain, Derived):
        for used in domain.names:
            if used == name or used not in domains:
                raise SpaceError(
                    f"must use other hyperparameters, but there is no '{used}'; add a line for it."
                    + nearest_other(used),
                    *("hyperparameters", name, "derived"),
                )
    if domain.when is None:
        return domain
    resolved = {}
    for parent, values in domain.when.items():
        at = ("hyperparameters", name, "when", parent)
        if parent == name or parent not in domains:
            hint = nearest_other(parent)
            raise SpaceError(
                f"must be another hyperparameter, but there is none of that name.{hint}", *at, key=True
            )
        switch = domains[parent]
        if isinstance(switch, Derived):
            raise SpaceError("must be searched or fixed, but is derived.", *at, key=True)
        if isinstance(switch, Searched) and switch.cardinality is None:
            raise SpaceError(
                "must have values that can be listed, but is continuous; give it a step.", *at, key=True
            )
        resolved[parent] = list(values)
        if isinstance(switch, Searched):
            for i, value in enumerate(resolved[parent]):
                try:
                    resolved[parent][i] = switch.read(value)
                except SpaceError as error:
                    raise SpaceError(
                        f"is a value that {parent} never takes: it {error.message}", *at, i
                    ) from None
    return replace(domain, when=resolved)


def _sorted(domains: dict[str, Domain]) -> list[str]:
    """Every name after those it depends on; raises SpaceError for a cycle."""
    graph = {
        name: [*(domain.when or {}), *(domain.names if isinstance(domain, Derived) else [])]
        for name, domain in domains.items()
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = [str(name) for name in error.args[1]]
        raise SpaceError(
            f"must not depend on itself, but does: {' -> '.join(reversed(cycle))}.",
            "hyperparameters",
            cycle[-1],
        ) from None


def _narrowed(domains: dict[str, Domain], changed: str) -> dict[str, Domain]:
    """Conditions on `changed` keep the values that it still takes; what can't be active any more goes."""
    switch = domains[changed]
    if not isinstance(switch, Searched):
        return domains
    kept: dict[str, Domain] = {}
    for name in _sorted(domains):
        domain = domains[name]
        if domain.when is not None and changed in domain.when:
            values = [value for value in domain.when[changed] if _takes(switch, value)]
            if not values:
                continue
            domain = replace(domain, when={**domain.when, changed: values})
        if all(parent in kept for parent in domain.when or {}):
            kept[name] = domain
    return {name: kept[name] for name in domains if name in kept}


def _takes(domain: Domain, value: Any) -> bool:
    try:
        domain.read(value)
    except SpaceError:
        return False
    return True
