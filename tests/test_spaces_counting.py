"""Counting configs: as many as listing finds, in a time that grows with the space and not with the count."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneapp import Categorical, Derived, Fixed, Float, Int, Ordinal, SearchSpace
from tuneapp.search.sampling import finest_resolution

ON = [True, False]


@st.composite
def tangled(draw: st.DrawFn) -> SearchSpace:
    """Up to six hyperparameters of few values, each of which may depend on up to three earlier ones."""
    named: dict[str, Any] = {}
    for name in "abcdef"[: draw(st.integers(1, 6))]:
        parents = draw(st.lists(st.sampled_from([*named]), max_size=3, unique=True)) if named else []
        when = {
            parent: draw(st.lists(st.integers(0, 2), min_size=1, unique=True))
            if named[parent].type == "fixed"
            else draw(st.lists(st.sampled_from([*range(named[parent].cardinality)]), min_size=1, unique=True))
            for parent in parents
        }
        if draw(st.integers(0, 4)):
            named[name] = Ordinal(list(range(draw(st.integers(1, 4)))), when=when or None)
        else:
            named[name] = Fixed(draw(st.integers(0, 2)), when=when or None)
    return SearchSpace(named)


@given(tangled())
@settings(max_examples=200, deadline=None)
def test_the_cardinality_is_the_number_of_configs_that_there_are(space: SearchSpace):
    configs = list(space.grid(2))
    assert space.cardinality == len(configs) == len({space.key(config) for config in configs})


@given(st.integers(2, 6), st.integers(1, 9), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_the_size_of_a_grid_is_the_number_of_its_configs(high: int, resolution: int, listed: list[int]):
    space = SearchSpace(
        {
            "n": Int(1, high),
            "m": Int(1, 40, log=True, when={"n": [min(value, high) for value in listed]}),
            "x": Float(0, 1),
            "same": Derived("n + 1"),
        }
    )
    assert space.grid_size(resolution) == len(list(space.grid(resolution)))


@given(tangled(), st.sampled_from(["a", "b", "c"]))
def test_one_continuum_makes_it_infinite_if_it_can_be_active_and_counts_nothing_if_not(
    space: SearchSpace, parent: str
):
    if parent not in space.hyperparameters or isinstance(space.hyperparameters[parent], Fixed):
        return
    wider = space.with_("x", Float(0, 1, when={parent: [0]}))
    active = any("x" in config for config in wider.grid(1))
    assert wider.cardinality == (None if active else space.cardinality)


def test_contradictory_conditions_are_no_continuum():
    space = SearchSpace(
        {
            "k": Categorical([1, 2]),
            "a": Categorical([1, 2], when={"k": [1]}),
            "never": Float(0, 1, when={"a": [1], "k": [2]}),
        }
    )
    assert space.cardinality == 3


def switches(count: int) -> dict[str, Any]:
    return {f"use{k}": Categorical(ON) for k in range(count)}


def chain(length: int) -> dict[str, Any]:
    links = {f"s{k}": Categorical(ON, when={f"s{k - 1}": [True]}) for k in range(1, length)}
    return {"s0": Categorical(ON), **links}


def nested(length: int) -> dict[str, Any]:
    """Each link names all before it."""
    links = {f"s{k}": Categorical(ON, when={f"s{j}": [True] for j in range(k)}) for k in range(1, length)}
    return {"s0": Categorical(ON), **links}


def pairs(count: int) -> dict[str, Any]:
    """A setting between every two neighbouring switches, active where both are on."""
    both = {f"p{k}": Int(1, 3, when={f"use{k}": [True], f"use{k + 1}": [True]}) for k in range(count - 1)}
    return {**switches(count), **both}


def path_count(count: int) -> int:
    off, on = 1, 1  # configs whose last switch is off, on
    for _ in range(count - 1):
        off, on = off + on, off + 3 * on
    return off + on


LARGE = {
    "switches with a setting each": (
        {**switches(100), **{f"p{k}": Int(1, 9, when={f"use{k}": [True]}) for k in range(100)}},
        10**100,
    ),
    "one setting of all switches": (
        {**switches(100), "p": Int(1, 9, when={f"use{k}": [True] for k in range(100)})},
        2**100 + 8,
    ),
    "a chain of conditions": (chain(300), 301),
    "conditions on all before": (nested(60), 61),
    "settings of two switches": (pairs(100), path_count(100)),
    "a list with a setting per choice": (
        {"o": Ordinal(range(3000)), **{f"p{k}": Int(1, 3, when={"o": [k]}) for k in range(3000)}},
        9000,
    ),
    "one continuum among them": (
        {**switches(100), **{f"p{k}": Float(0, 1, when={f"use{k}": [True]}) for k in range(100)}},
        None,
    ),
    "a long list": ({"o": Ordinal(range(10_000))}, 10_000),
    "many floats and what is derived from some": (
        {**{f"x{k}": Float(0, 1) for k in range(1000)}, "d": Derived("x0 + x1"), "e": Derived("d * x2")},
        None,
    ),
    "derived in a chain": (
        {"x": Int(1, 2), **{f"d{k}": Derived(f"d{k - 1} + 1" if k else "x") for k in range(400)}},
        2,
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_space_is_made_counted_and_written_at_once(name: str):
    hyperparameters, configs = LARGE[name]
    start = time.process_time()
    space = SearchSpace(hyperparameters)
    assert space.cardinality == configs
    assert SearchSpace.from_dict(space.to_dict()) == space
    assert finest_resolution(space, 50) is not None or (configs or 10**9) > 50
    next(space.grid(2))
    # It takes a tenth of that; what was exponential took minutes, or for ever.
    assert time.process_time() - start < 5


def test_conditions_too_entangled_to_count_are_given_up_soon():
    def parents(k: int) -> list[int]:
        return sorted({(k * step + step) % 40 for step in range(3, 17)})

    start = time.process_time()
    settings = {f"p{k}": Int(1, 3, when={f"use{j}": [True] for j in parents(k)}) for k in range(40)}
    assert SearchSpace({**switches(40), **settings}).cardinality is None
    assert time.process_time() - start < 10


def test_a_thousand_points_are_read_and_outlive_a_change():
    names = [f"x{k}" for k in range(20)]
    points = [dict.fromkeys(names, k / 1000) for k in range(1000)]
    start = time.process_time()
    space = SearchSpace({name: Float(0, 1) for name in names}, points)
    assert len(space.replace("x3", Float(0, 0.5)).points) == 501
    assert time.process_time() - start < 5


def test_a_value_of_a_long_list_is_found_without_walking_it():
    space = SearchSpace({"o": Ordinal(range(10_000))})
    start = time.process_time()
    points = [space.encode({"o": value}) for value in range(10_000)]
    assert time.process_time() - start < 2
    assert [space.decode(point)["o"] for point in points[::1000]] == list(range(0, 10_000, 1000))
