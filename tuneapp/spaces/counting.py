"""How many configs a space has, without listing them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuneapp.spaces.base import Domain, same
from tuneapp.spaces.domains import Derived, Fixed

MOST_STATES = 10_000  # of entangled hyperparameters: counting takes a second at most

Numbers = Mapping[str, int | None]  # hyperparameter -> how many values it has; None: a continuum


def count(domains: Mapping[str, Domain], numbers: Numbers, ends: Mapping[str, Sequence[Any]]) -> int | None:
    """The number of different configs; None where a continuum can be active in one of them, or where
    conditions are too entangled to be counted.

    domains are in an order in which each stands after those that it depends on. ends: the only values that
    a hyperparameter takes, where they are fewer than its domain's (a grid's).

    The time is linear in the hyperparameters and the values that conditions list, but where a hyperparameter
    depends on several others. There it grows with how many of those are open at once.
    """
    switches = {
        name: _accepted(domain.when or {}, domains, ends)
        for name, domain in domains.items()
        if not isinstance(domain, Derived)
    }
    if any(numbers[name] is None and _can_be_active(name, switches) for name in numbers):
        return None
    listed: dict[str, dict[Any, int]] = defaultdict(dict)  # parent -> value -> configs below it
    for conditions in switches.values():
        for parent, values in conditions.items():
            listed[parent] |= dict.fromkeys(values, 1)
    others = {name: (numbers.get(name) or 1) - len(listed[name]) for name in switches}
    configs = 1
    for name in reversed(_leaves_last(switches)):
        # Nothing depends on it any more: each value of its parent has so many configs more below it.
        below = sum(listed[name].values()) + others[name]
        conditions = switches.pop(name)
        for parent, values in conditions.items():
            for value in values:
                listed[parent][value] *= below
        configs *= 1 if conditions else below
    entangled = _entangled(switches, listed, others)
    return None if entangled is None else configs * entangled


def _accepted(
    when: Mapping[str, Iterable[Any]], domains: Mapping[str, Domain], ends: Mapping[str, Sequence[Any]]
) -> dict[str, list[Any]]:
    """The conditions, each with those of its values that its parent can take."""
    accepted = {}
    for parent, values in when.items():
        domain = domains[parent]
        if isinstance(domain, Fixed):
            accepted[parent] = [domain.value] if any(same(domain.value, value) for value in values) else []
        elif parent in ends:
            takes = set(ends[parent])
            accepted[parent] = [value for value in dict.fromkeys(values) if value in takes]
        else:
            accepted[parent] = list(dict.fromkeys(values))
    return accepted


def _can_be_active(name: str, switches: Mapping[str, Mapping[str, list[Any]]]) -> bool:
    """Whether all conditions on it, and on what it depends on, can hold together."""
    allowed: dict[str, set[Any]] = {}
    waiting = [name]
    while waiting:
        for parent, values in switches[waiting.pop()].items():
            if parent not in allowed:
                waiting.append(parent)
            allowed[parent] = allowed.get(parent, set(values)).intersection(values)
            if not allowed[parent]:
                return False
    return True


def _leaves_last(switches: Mapping[str, Mapping[str, list[Any]]]) -> list[str]:
    """In order, the hyperparameters that depend on one other at most, as all do that depend on them."""
    tangled = {name for name, conditions in switches.items() if len(conditions) > 1}
    for name in reversed([*switches]):
        if name in tangled:
            tangled.update(switches[name])
    return [name for name in switches if name not in tangled]


def _entangled(
    switches: Mapping[str, Mapping[str, list[Any]]],
    listed: Mapping[str, Mapping[Any, int]],
    others: Mapping[str, int],
) -> int | None:
    """The number of configs of hyperparameters some of which depend on several others.

    They are decided one after the other. What has been decided matters only by which of the open ones,
    those that wait for other parents, it has made inactive: so many states there are, not so many configs.
    None beyond MOST_STATES, each of which stands for a config at least.
    """
    children: dict[str, list[str]] = defaultdict(list)
    for name, conditions in switches.items():
        for parent in conditions:
            children[parent].append(name)
    ways: Counter[frozenset[str]] = Counter({frozenset[str](): 1})  # the inactive ones -> number of configs
    for name in _narrow_order(switches, children):
        branches: Counter[frozenset[str]] = Counter({frozenset(children[name]): others[name]})
        for value, below in listed[name].items():
            branches[frozenset(c for c in children[name] if value not in switches[c][name])] += below
        after: Counter[frozenset[str]] = Counter()
        for inactive, number in ways.items():
            if name in inactive:
                after[inactive - {name} | set(children[name])] += number
                continue
            for made_inactive, below in branches.items():
                if below:
                    after[inactive | made_inactive] += number * below
        ways = after
        if len(ways) > MOST_STATES:
            return None
    return sum(ways.values())


def _narrow_order(
    switches: Mapping[str, Mapping[str, list[Any]]], children: Mapping[str, list[str]]
) -> list[str]:
    """Each after its parents, so that few are open at a time: those whose parents are decided in part."""
    waiting = {name: len(conditions) for name, conditions in switches.items()}  # for so many parents
    ready = [name for name, parents in waiting.items() if not parents]
    begun: set[str] = set()
    order = []
    while ready:
        name = min(ready, key=lambda name: len(set(children[name]) - begun) - (name in begun))
        ready.remove(name)
        order.append(name)
        begun.update(children[name])
        for child in children[name]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    return order
