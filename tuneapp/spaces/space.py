"""The space all hyperparameters span together: conditions, derived values, config <-> unit cube."""

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import numpy.typing as npt

from tuneapp.errors import UsageError, nearest
from tuneapp.request import Config
from tuneapp.spaces.domains import Derived, Domain, Fixed, Searched, SpaceError, from_spec, known_keys, same
from tuneapp.spaces.expressions import Missing

Array = npt.NDArray[np.float64]


class SearchSpace:
    """Which configs there are. Frozen: every change gives a new space.

    hyperparameters: name -> domain, a bare value (fixed), or a mapping as in a search-space file.
    points: configs to evaluate first; what they leave out, the search fills in.
    Raises UsageError for anything that cannot be.
    """

    hyperparameters: dict[str, Domain]
    points: tuple[Config, ...]
    searched: tuple[str, ...]  # the names with a coordinate; one that can never be active has none

    def __init__(self, hyperparameters: Mapping[str, Any], points: Sequence[Config] = ()) -> None:
        self.hyperparameters = _domains(hyperparameters)
        for name, domain in self.hyperparameters.items():
            self._check_references(name, domain)
        self._order = self._sorted()
        self._possible = self._reachable()
        self.searched = tuple(
            name
            for name, d in self.hyperparameters.items()
            if isinstance(d, Searched) and name in self._possible
        )
        self._column = {name: column for column, name in enumerate(self.searched)}
        self._probe_derived()
        if not isinstance(points, list | tuple):
            raise SpaceError(f"must be a list of configs, but got {points!r:.60}.", "points")
        self.points = tuple(self._checked_point(point, i) for i, point in enumerate(points))

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
        """The complete config at a point in the unit cube: [D] coordinates in the order of `searched`.

        Coordinates of inactive hyperparameters are not looked at and may be nan.
        """
        coordinates = np.asarray(point, dtype=np.float64)
        if coordinates.shape != (len(self.searched),):
            raise ValueError(f"a point must have shape ({len(self.searched)},), but has {coordinates.shape}")
        return self._build(lambda name, domain: domain.value(float(coordinates[self._column[name]])))

    def encode(self, config: Config) -> Array:
        """Where a config lies: [D] float64, the centres of its values' cells, nan where it has none."""
        return np.array(
            [self._domain(name).unit(config[name]) if name in config else math.nan for name in self.searched],
            dtype=np.float64,
        )

    def complete(self, config: Config, point: npt.ArrayLike | None = None) -> Config:
        """The config with fixed and derived values filled in, all values checked and coerced.

        Active searched hyperparameters that it lacks come from the [D] coordinates of `point`; without one
        they are an error, as are unknown names, values out of range, and values for inactive hyperparameters.
        """
        self._checked_point(config)
        coordinates = None if point is None else np.asarray(point, dtype=np.float64)

        def pick(name: str, domain: Searched) -> Any:
            if name in config:
                return domain.check(name, config[name])
            if coordinates is None:
                raise SpaceError("must have a value, but the config has none.", name)
            return domain.value(float(coordinates[self._column[name]]))

        return self._build(pick)

    def check(self, config: Config) -> None:
        """Raises UsageError unless this is a complete config of the space."""
        for name in self.complete(config):
            if name not in config:
                raise SpaceError("must have a value, but the config has none.", name)

    def key(self, config: Config) -> Hashable:
        """Equal for equal configs, and only for them."""
        return tuple(
            (name, isinstance(config[name], bool), config[name]) for name in self.searched if name in config
        )

    def active(self, name: str, config: Config) -> bool:
        """Whether a config with these values of its conditions has the hyperparameter."""
        conditions = self.hyperparameters[name].when or {}
        return all(
            parent in config and any(same(config[parent], value) for value in values)
            for parent, values in conditions.items()
        )

    def replace(self, name: str, domain: Any) -> "SearchSpace":
        """The space with another domain or bare value of one hyperparameter; raises UsageError for a new name.

        The old one's `when` and `strategy` stay where the new one says nothing. Hyperparameters that can no
        longer be active and points that no longer fit are left out.
        """
        if name not in self.hyperparameters:
            known = ", ".join(self.hyperparameters)
            hint = nearest(name, self.hyperparameters)
            raise SpaceError(f"is no hyperparameter of this space; it has {known}.{hint}", name, key=True)
        new, old = from_spec(domain), self.hyperparameters[name]
        kept = {"when": old.when} if new.when is None else {}
        if isinstance(new, Searched) and new.strategy is None:
            kept["strategy"] = old.strategy  # type: ignore[assignment]
        domains = {**self.hyperparameters, name: dataclasses.replace(new, **kept)}
        space = SearchSpace(_without_the_impossible(domains, name))
        return SearchSpace(space.hyperparameters, [p for p in self.points if space.allows(p)])

    def allows(self, point: Config) -> bool:
        """Whether the point, complete or not, lies in this space."""
        try:
            self._checked_point(point)
        except UsageError:
            return False
        return True

    @property
    def cardinality(self) -> int | None:
        """How many different configs there are; None for infinitely many."""
        switches = self._switches()

        def count(position: int, config: Config) -> float:
            if position == len(self._order):
                return 1
            name = self._order[position]
            domain = self.hyperparameters[name]
            if isinstance(domain, Derived) or name not in self._possible or not self.active(name, config):
                return count(position + 1, config)
            if isinstance(domain, Fixed):
                return count(position + 1, {**config, name: domain.value})
            assert isinstance(domain, Searched)
            number = math.inf if domain.cardinality is None else domain.cardinality
            listed = switches.get(name, [])
            # Only the values that some `when` lists make a difference; the others count alike.
            total: float = sum(count(position + 1, {**config, name: value}) for value in listed)
            if number > len(listed):
                total += (number - len(listed)) * count(position + 1, {**config, name: _OTHER})
            return total

        total = count(0, {})
        return None if total == math.inf else int(total)

    def grid(self, resolution: int) -> Iterator[Config]:
        """All combinations of at most `resolution` values of each number and of all choices, none twice."""
        names = [name for name in self._order if name in self._column]

        def extend(position: int, chosen: Config) -> Iterator[Config]:
            if position == len(names):
                yield self.complete(chosen)
                return
            name = names[position]
            fixed = {n: d.value for n, d in self.hyperparameters.items() if isinstance(d, Fixed)}
            if not self.active(name, {n: v for n, v in (fixed | chosen).items()}):
                yield from extend(position + 1, chosen)
                return
            for value in self._domain(name).values(resolution):
                yield from extend(position + 1, {**chosen, name: value})

        return extend(0, {})

    def _build(self, pick: Callable[[str, Searched], Any]) -> Config:
        """Values in an order in which conditions and expressions find what they need; the config in the space's."""
        config: Config = {}
        for name in self._order:
            domain = self.hyperparameters[name]
            if name not in self._possible or not self.active(name, config):
                continue
            if isinstance(domain, Derived):
                try:
                    config[name] = domain.evaluate(name, config)
                except Missing:
                    continue
            elif isinstance(domain, Fixed):
                config[name] = domain.value
            else:
                assert isinstance(domain, Searched)
                config[name] = pick(name, domain)
        return {name: config[name] for name in self.hyperparameters if name in config}

    def _domain(self, name: str) -> Searched:
        domain = self.hyperparameters[name]
        assert isinstance(domain, Searched)
        return domain

    def _check_references(self, name: str, domain: Domain) -> None:
        others = [other for other in self.hyperparameters if other != name]
        for parent, values in (domain.when or {}).items():
            at = ("hyperparameters", name, "when", parent)
            if parent not in others:
                hint = nearest(str(parent), others)
                raise SpaceError(
                    f"must be another hyperparameter, but there is no '{parent}'.{hint}", *at, key=True
                )
            switch = self.hyperparameters[parent]
            if isinstance(switch, Derived):
                raise SpaceError("must be searched or fixed, but is derived.", *at, key=True)
            if isinstance(switch, Searched):
                if switch.cardinality is None:
                    raise SpaceError(
                        "must have values that can be listed, but is continuous; give it a step.",
                        *at,
                        key=True,
                    )
                for i, value in enumerate(values):
                    try:
                        switch.check(parent, value)
                    except SpaceError as error:
                        raise SpaceError(
                            f"names a value that {parent} never takes: it {error.message}", *at, i
                        ) from None
        if isinstance(domain, Derived):
            for used in domain.names:
                if used not in others:
                    hint = nearest(used, others)
                    raise SpaceError(
                        f"may use the other hyperparameters, but there is no '{used}'; add a line `{used}: …` for "
                        f"it.{hint}",
                        "hyperparameters",
                        name,
                        "derived",
                    )

    def _sorted(self) -> list[str]:
        graph = {}
        for name, domain in self.hyperparameters.items():
            graph[name] = [*(domain.when or {}), *(domain.names if isinstance(domain, Derived) else [])]
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            cycle = error.args[1]
            raise SpaceError(
                f"must not depend on itself, but {' -> '.join(reversed(cycle))} is a cycle.",
                "hyperparameters",
                cycle[0],
            ) from None

    def _reachable(self) -> set[str]:
        """What can be active at all: `when: {model: [mlp]}` never is where model is fixed at small_cnn."""
        possible: set[str] = set()
        for name in self._order:
            for parent, values in (self.hyperparameters[name].when or {}).items():
                switch = self.hyperparameters[parent]
                if parent not in possible:
                    break
                if isinstance(switch, Fixed) and not any(same(switch.value, value) for value in values):
                    break
            else:
                possible.add(name)
        return possible

    def _switches(self) -> dict[str, list[Any]]:
        """The values of each searched hyperparameter that some condition names."""
        switches: dict[str, list[Any]] = {}
        for domain in self.hyperparameters.values():
            for parent, values in (domain.when or {}).items():
                if isinstance(self.hyperparameters[parent], Searched):
                    listed = switches.setdefault(parent, [])
                    listed += [v for v in values if not any(same(v, known) for known in listed)]
        return switches

    def _probe_derived(self) -> None:
        """A division by zero at an end of a domain shall come out now, not in the middle of a search."""
        if not any(isinstance(domain, Derived) for domain in self.hyperparameters.values()):
            return
        centre = np.full(len(self.searched), 0.5)
        probes = [centre, np.zeros_like(centre), np.ones_like(centre)]
        for column in range(len(self.searched)):
            for end in (0.0, 1.0):
                probe = centre.copy()
                probe[column] = end
                probes.append(probe)
        for probe in probes:
            try:
                self.decode(probe)
            except SpaceError as error:
                raise error.under("hyperparameters") from None

    def _checked_point(self, point: Any, number: int | None = None) -> Config:
        """The values, coerced; raises where one can't be. What it leaves out may be anything."""
        at = () if number is None else ("points", number)
        if not isinstance(point, Mapping):
            raise SpaceError(f"must be a config, a mapping from names to values, but got {point!r:.60}.", *at)
        checked: Config = {}
        for name, value in point.items():
            if name not in self.hyperparameters:
                hint = nearest(str(name), self.hyperparameters)
                raise SpaceError(f"is no hyperparameter of this space.{hint}", *at, str(name), key=True)
            domain = self.hyperparameters[name]
            if not isinstance(domain, Derived):
                try:
                    checked[name] = domain.check(name, value)
                except SpaceError as error:
                    raise error.under(*at) from None
        fixed = {n: d.value for n, d in self.hyperparameters.items() if isinstance(d, Fixed)}
        for name in checked:
            for parent, values in (self.hyperparameters[name].when or {}).items():
                known = {**fixed, **checked}
                if parent in known and not any(same(known[parent], value) for value in values):
                    raise SpaceError(
                        f"is active only when {parent} is {' or '.join(map(str, values))}, but {parent} is "
                        f"{known[parent]}; leave it out.",
                        *at,
                        name,
                        key=True,
                    )
        return checked


_OTHER = object()  # some value that no condition lists


def _domains(hyperparameters: Any) -> dict[str, Domain]:
    if not isinstance(hyperparameters, Mapping):
        raise SpaceError(
            f"must be a mapping from names to domains, but got {hyperparameters!r:.60}.", "hyperparameters"
        )
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


def _without_the_impossible(domains: dict[str, Domain], changed: str) -> dict[str, Domain]:
    """Conditions on `changed` keep the values it can still take; what they leave inactive for ever goes."""
    switch = domains[changed]
    if not isinstance(switch, Searched):
        return domains
    kept = {}
    for name, domain in domains.items():
        if changed in (domain.when or {}):
            assert domain.when is not None
            values = [v for v in domain.when[changed] if _takes(switch, v)]
            domain = dataclasses.replace(domain, when={**domain.when, changed: values}) if values else None
        if domain is not None:
            kept[name] = domain
    return kept


def _takes(domain: Domain, value: Any) -> bool:
    try:
        domain.check("value", value)
    except SpaceError:
        return False
    return True
