"""Domains, conditions, derived values, and the laws between configs and the unit cube."""

import copy
import json
import math
import pickle
import time
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuneapp.errors import UsageError
from tuneapp.spaces import (
    Categorical,
    Derived,
    Domain,
    Fixed,
    Float,
    Int,
    Normal,
    Ordinal,
    Searched,
    SearchSpace,
    SpaceError,
)

units = st.floats(0, 1)
sizes = st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12)
positive = st.floats(1e-12, 1e12)
scalars = st.one_of(st.text(max_size=6), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.none())


@st.composite
def floats(draw: st.DrawFn) -> Float:
    log = draw(st.booleans())
    low, high = sorted((draw(positive if log else sizes), draw(positive if log else sizes)))
    assume(high > low)
    step = draw(st.none() | st.integers(1, 300).map(lambda parts: (high - low) / parts))
    try:
        return Float(low, high, log=log, step=step)
    except UsageError:
        assume(False)
        raise


@st.composite
def ints(draw: st.DrawFn) -> Int:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -(10**9), 10**9))
    width = draw(st.integers(1, 300) | st.integers(1, 10**9))
    return Int(low, low + width, log=log, step=draw(st.integers(1, width)))


choices = st.lists(scalars, min_size=1, max_size=6, unique=True) | st.just([True, False])
domains: st.SearchStrategy[Searched] = st.one_of(
    floats(),
    ints(),
    st.builds(Categorical, choices),
    st.builds(Ordinal, choices),
    st.builds(Normal, st.floats(-1e6, 1e6), st.floats(1e-2, 1e6)),
)


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Up to six hyperparameters; later ones may depend on earlier ones, also over a chain."""
    named: dict[str, Domain] = {}
    for name in "abcdef"[: draw(st.integers(0, 6))]:
        switches = [n for n, d in named.items() if isinstance(d, Categorical | Ordinal | Fixed)]
        when = None
        if switches and draw(st.booleans()):
            parent = draw(st.sampled_from(switches))
            switch = named[parent]
            values = (
                list(switch.choices) if isinstance(switch, Categorical | Ordinal) else [switch.value, "other"]
            )
            when = {parent: draw(st.lists(st.sampled_from(values), min_size=1, unique=True))}
        kind = draw(st.sampled_from(["searched", "searched", "fixed", "derived"]))
        if kind == "derived" and named:
            named[name] = Derived(f"1 if {draw(st.sampled_from(list(named)))} == 0 else 2", when=when)
        elif kind == "fixed":
            named[name] = Fixed(draw(scalars), when=when)
        else:
            domain = draw(domains)
            named[name] = SearchSpace({**named, name: domain}).hyperparameters[name]
            if when:
                spec = domain.to_dict()
                named[name] = SearchSpace({**named, name: {**spec, "when": when}}).hyperparameters[name]
    return SearchSpace(named)


def points_of(space: SearchSpace) -> st.SearchStrategy[list[float]]:
    return st.lists(units, min_size=len(space.searched), max_size=len(space.searched))


# --- one domain


@given(domains, units)
def test_what_a_domain_gives_comes_back_from_its_coordinate(domain, u):
    value = domain.value(u)
    assert 0 <= domain.unit(value) <= 1
    assert domain.value(domain.unit(value)) == value
    assert type(domain.value(domain.unit(value))) is type(value)


@given(domains, units)
def test_what_a_domain_gives_it_takes_and_json_keeps(domain, u):
    value = domain.value(u)
    assert domain.check("x", value) == value
    assert domain.check("x", json.loads(json.dumps(value))) == value


@given(
    st.one_of(floats(), ints(), st.builds(Normal, st.floats(-1e6, 1e6), st.floats(1e-2, 1e6))), units, units
)
def test_numbers_rise_with_their_coordinate(domain, u, v):
    low, high = sorted((u, v))
    assert domain.low <= domain.value(low) <= domain.value(high) <= domain.high


@given(floats() | ints())
def test_the_ends_of_the_unit_interval_are_the_ends_of_the_domain(domain):
    assert domain.value(0.0) == domain.low
    last = domain.high
    if domain.step is not None:
        last = domain.low + (domain.cardinality - 1) * domain.step
    assert domain.value(1.0) == pytest.approx(last, abs=1e-9 * (domain.high - domain.low))
    assert domain.value(-0.1) == domain.value(0.0)
    assert domain.value(1.1) == domain.value(1.0)


@given(domains)
def test_a_domain_comes_back_from_json(domain):
    space = SearchSpace({"x": domain})
    read = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert read == space
    assert read.hyperparameters["x"] == domain


@given(domains, st.integers(1, 7))
def test_grid_values_are_different_values_of_the_domain(domain, resolution):
    values = domain.values(resolution)
    assert len(values) == len({repr(v) for v in values}) >= 1
    assert all(domain.check("x", value) == value for value in values)
    if not isinstance(domain, Categorical | Ordinal):
        assert len(values) <= resolution


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_every_value_of_an_int_has_its_share_of_the_unit_interval(log, step):
    domain = Int(1, 9, log=log, step=step)
    values = list(range(1, 10, step))
    drawn = Counter(domain.value((k + 0.5) / 100_000) for k in range(100_000))
    assert sorted(drawn) == values
    beyond = 1 + len(values) * step
    for value in values:
        share = math.log((value + step) / value) / math.log(beyond) if log else 1 / len(values)
        assert drawn[value] / 100_000 == pytest.approx(share, abs=2e-5)


def test_an_int_on_a_log_scale_follows_benford():
    domain = Int(1, 9, log=True)
    assert domain.value(math.log10(2) - 1e-9) == 1
    assert domain.value(math.log10(2) + 1e-9) == 2
    assert domain.unit(1) == pytest.approx(math.log10(math.sqrt(2)))


@given(st.integers(2, 30), st.integers(1, 1000))
def test_each_of_k_choices_has_a_kth_of_the_unit_interval(K, parts):
    domain = Categorical([f"choice {k}" for k in range(K)])
    for k in range(K):
        inside = Fraction(k, K) + Fraction(1, K) * Fraction(2 * parts - 1, 2000)
        assert domain.value(float(inside)) == f"choice {k}"


def test_a_float_on_a_log_scale_is_uniform_in_its_exponent():
    domain = Float(1e-4, 1.0, log=True)
    assert [domain.value(u) for u in (0, 0.25, 0.5, 0.75, 1)] == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert domain.unit(1e-3) == pytest.approx(0.25)


def test_steps_are_the_decimals_one_would_write():
    domain = Float(0.1, 0.75, step=0.1)
    assert domain.values(99) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert domain.cardinality == 7
    assert domain.check("x", 0.30000000000000004) == 0.3


def test_a_normal_hyperparameter_has_the_quantiles_of_a_normal_distribution():
    domain = Normal(10, 2)
    assert domain.value(0.5) == 10
    assert domain.value(0.8413447) == pytest.approx(12, abs=1e-3)
    assert (domain.value(0.0), domain.value(1.0)) == (2.0, 18.0)


@given(st.integers(10**11, 10**12), st.integers(1, 10**12 - 1), units)
def test_the_widest_ints_still_come_back(low, width, u):
    for domain in (Int(low, low + width // 2 + 1), Int(1, low, log=True)):
        value = domain.value(u)
        assert domain.value(domain.unit(value)) == value


def test_the_widest_float_does_not_overflow():
    domain = Float(-1e300, 1e300)
    assert domain.value(0.5) == 0.0
    assert domain.unit(domain.value(0.75)) == pytest.approx(0.75)
    tiny = Float(1e-300, 1e300, log=True)
    assert tiny.value(tiny.unit(1e-200)) == pytest.approx(1e-200)


@given(domains)
def test_a_coordinate_that_is_no_number_is_refused(domain):
    with pytest.raises(ValueError, match="nan"):
        domain.value(math.nan)


def test_numpy_scalars_become_plain_values():
    space = SearchSpace(
        {
            "lr": Float(np.float32(0.5), np.float64(2)),
            "n": Int(np.int64(1), np.int32(3)),
            "c": Categorical(np.array([1, 2])),
            "f": np.float64(3),
        }
    )
    config = space.decode(np.array([0.1, 0.2, 0.3]))
    assert [type(value) for value in config.values()] == [float, int, int, float]
    assert type(space.hyperparameters["n"].check("n", np.int64(2))) is int


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(1, 1), "`low` must be below high, but got low=1.0, high=1.0"),
        (lambda: Float(2, 1), "`low` must be below high"),
        (lambda: Int(5, 3), "`low` must be below high"),
        (lambda: Float(0, 1, log=True), "`low` must be above 0 with log: true"),
        (lambda: Int(0, 9, log=True), "`low` must be above 0 with log: true"),
        (lambda: Float(0, 1, step=0), "`step` must be above 0"),
        (lambda: Int(0, 9, step=-2), "`step` must be above 0"),
        (lambda: Float(0, 1, step=2), "`step` must be at most high - low = 1.0"),
        (lambda: Int(0, 2**41), "`step` must be larger"),
        (lambda: Int(0, 10**400), "`step` must be larger"),
        (lambda: Float(1e9, 1e9 + 1, step=1e-6), "`step` must be larger"),
        (lambda: Int(0, 9.5), "`high` must be a whole number, but got 9.5; take type: float"),
        (lambda: Int(0, 9.0), "`high` must be a whole number, but got 9.0; take type: float"),
        (lambda: Int(True, 9), "`low` must be a whole number, but got True"),
        (lambda: Float("low", 9), "`low` must be a finite number, but got 'low'"),
        (lambda: Float(0, math.inf), "`high` must be a finite number"),
        (lambda: Float(math.nan, 1), "`low` must be a finite number"),
        (lambda: Float(False, 1), "`low` must be a finite number, but got False"),
        (lambda: Float(0, 10**400), "`high` must be a finite number"),
        (lambda: Float(0, 1e301), "`high` must be at most 1e+300 in size"),
        (lambda: Float(0, 1, log="yes"), "`log` must be true or false, but got 'yes'"),
        (lambda: Float(0, 1, sampling="randon"), "Did you mean 'random'?"),
        (lambda: Float(0, 1, when=[]), "`when` must be a mapping"),
        (lambda: Float(0, 1, when={"a": []}), "`when.a` must list at least one value"),
        (lambda: Normal(0, 0), "`sd` must be above 0"),
        (lambda: Normal(1e12, 1e-12), "`sd` must be above 0 and of a size with the mean"),
        (lambda: Categorical([]), "`choices` must hold at least one value"),
        (lambda: Categorical("abc"), "`choices` must be a list, but got 'abc'"),
        (lambda: Categorical(3), "`choices` must be a list"),
        (lambda: Categorical(["a", "b", "a"]), "`choices[2]` must differ, but 'a' comes twice"),
        (lambda: Categorical(["on", True]), "`choices[1]` must all be booleans or none"),
        (lambda: Ordinal([False, 1]), "quote the word"),
        (
            lambda: Categorical([[1, 2]]),
            "`choices[0]` must be a number, a string, a boolean or null, but got list",
        ),
        (lambda: Categorical([math.nan]), "`choices[0]` must be finite"),
        (lambda: Fixed(object()), "`value` must be a number, a string"),
        (lambda: Fixed(1, sampling="random"), "`sampling` is for what is searched"),
        (lambda: Derived("1 +"), "`derived` must be an arithmetic expression"),
    ],
)
def test_a_domain_that_cannot_be_says_what_must_hold(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("domain", "value", "message"),
    [
        (Float(0, 1), 1.5, "`x` must lie from 0.0 to 1.0, but got 1.5"),
        (Float(0, 1), "much", "`x` must be a finite number, but got 'much'"),
        (Float(0, 1), math.nan, "`x` must be a finite number"),
        (
            Float(0, 1, step=0.25),
            0.3,
            "`x` must be 0.0 plus a multiple of 0.25, but got 0.3; 0.25 is nearest",
        ),
        (Int(1, 9), 0, "`x` must lie from 1 to 9, but got 0"),
        (Int(1, 9), 2.5, "`x` must be a whole number, but got 2.5"),
        (Int(1, 9), True, "`x` must be a whole number, but got True"),
        (Int(1, 9, step=4), 4, "5 is nearest"),
        (
            Categorical(["sgd", "adam"]),
            "adma",
            "`x` must be one of sgd, adam, but got 'adma'. Did you mean 'adam'?",
        ),
        (Ordinal([1, 2]), True, "`x` must be one of 1, 2, but got True"),
        (Normal(0, 1), 5, "`x` must lie from -4 to 4"),
        (Fixed("a"), "b", "`x` is fixed at 'a', but got 'b'"),
    ],
)
def test_a_value_that_is_never_taken_is_refused_by_name(domain, value, message):
    with pytest.raises(UsageError) as caught:
        domain.check("x", value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("domain", "given", "value"),
    [
        (Float(0, 1), "1e-4", 1e-4),
        (Float(0, 1), 1, 1.0),
        (Int(1, 9), "3", 3),
        (Int(1, 9), 3.0, 3),
        (Ordinal([32, 64]), "64", 64),
        (Categorical([1e-4, 1e-3]), "1e-4", 1e-4),
        (Categorical(["32", 32]), "32", "32"),
        (Categorical([True, False]), "true", True),
        (Fixed(0.5), "0.5", 0.5),
    ],
)
def test_values_from_yaml_and_flags_are_taken_by_the_kind_of_the_domain(domain, given, value):
    assert domain.check("x", given) == value
    assert type(domain.check("x", given)) is type(value)


# --- a space


def example() -> SearchSpace:
    return SearchSpace(
        {
            "lr": Float(1e-4, 0.3, log=True),
            "batch_size": Ordinal([32, 64, 128, 256]),
            "optimizer": Categorical(["sgd", "adam"]),
            "momentum": Float(0.8, 0.99, when={"optimizer": ["sgd"]}),
            "model": "small_cnn",
            "depth": Int(1, 3, when={"model": ["small_cnn"]}),
            "hidden": Int(16, 512, log=True, when={"model": ["mlp"]}),
            "epochs": 30,
            "steps": Derived("epochs * 50000 // batch_size"),
        },
        points=[{"lr": 0.05, "batch_size": 128, "optimizer": "sgd", "momentum": 0.9, "depth": 2}],
    )


def test_a_config_holds_what_is_active_in_the_order_of_the_space():
    space = example()
    assert space.searched == ("lr", "batch_size", "optimizer", "momentum", "depth")
    assert space.decode([1.0, 0.0, 0.0, 1.0, 0.5]) == {
        "lr": 0.3,
        "batch_size": 32,
        "optimizer": "sgd",
        "momentum": 0.99,
        "model": "small_cnn",
        "depth": 2,
        "epochs": 30,
        "steps": 46875,
    }
    without = space.decode([1.0, 0.0, 1.0, math.nan, 0.5])
    assert without["optimizer"] == "adam"
    assert "momentum" not in without
    assert list(without) == ["lr", "batch_size", "optimizer", "model", "depth", "epochs", "steps"]


def test_the_flag_for_another_model_brings_in_its_hyperparameters():
    space = example().replace("model", "mlp")
    assert space.searched == ("lr", "batch_size", "optimizer", "momentum", "hidden")
    config = space.decode([0.5] * 5)
    assert config["model"] == "mlp"
    assert "depth" not in config
    assert 16 <= config["hidden"] <= 512
    assert space.replace("model", "small_cnn").searched == example().searched
    assert space.points == ()  # the point names depth, which this space never has


@settings(max_examples=200)
@given(st.data())
def test_configs_come_back_from_the_unit_cube(data):
    space = data.draw(spaces())
    config = space.decode(data.draw(points_of(space)))
    point = space.encode(config)
    assert [math.isnan(u) for u in point] == [name not in config for name in space.searched]
    assert space.decode(point) == config
    assert space.decode(np.nan_to_num(point, nan=0.123)) == config
    assert json.loads(json.dumps(config)) == config
    space.check(config)


@given(st.floats(1e-12, 1e12), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_a_range_of_two_neighbouring_numbers_is_one_too(low, u, log):
    high = math.nextafter(low, math.inf)
    space = SearchSpace({"a": {"type": "float", "low": low, "high": high, "log": log}})
    config = space.decode([u])
    assert config["a"] in (low, high)
    assert space.decode(space.encode(config)) == config


@settings(max_examples=200)
@given(st.data())
def test_searched_values_alone_make_the_config(data):
    space = data.draw(spaces())
    config = space.decode(data.draw(points_of(space)))
    searched = {name: config[name] for name in space.searched if name in config}
    assert space.complete(searched) == config
    assert space.complete({}, space.encode(config)) == config
    assert space.allows(searched)


@settings(max_examples=200)
@given(st.data())
def test_a_space_comes_back_from_json_with_its_points(data):
    space = data.draw(spaces())
    points = [space.decode(data.draw(points_of(space))) for _ in range(2)]
    space = SearchSpace(space.hyperparameters, points)
    read = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert read == space
    assert read.searched == space.searched
    assert [read.complete(point) for point in read.points] == points


@settings(max_examples=100)
@given(st.data())
def test_the_cardinality_counts_the_configs_of_the_finest_grid(data):
    space = data.draw(spaces())
    grid = []
    for config in space.grid(300):
        grid.append(config)
        if len(grid) > 3000:
            break
    if space.cardinality is None:
        assert any(domain.cardinality is None for domain in searched_domains(space))
    elif len(grid) <= 3000 and all((domain.cardinality or 0) <= 300 for domain in searched_domains(space)):
        assert len(grid) == space.cardinality
    keys = {space.key(config) for config in grid}
    assert len(keys) == len(grid)
    for config in grid[:20]:
        space.check(config)


def searched_domains(space: SearchSpace) -> list[Searched]:
    return [domain for name in space.searched if isinstance(domain := space.hyperparameters[name], Searched)]


@settings(max_examples=50)
@given(st.data())
def test_equal_configs_and_only_those_have_equal_keys(data):
    space = data.draw(spaces())
    one = space.decode(data.draw(points_of(space)))
    other = space.decode(data.draw(points_of(space)))
    assert (space.key(one) == space.key(other)) == (one == other)
    assert hash(space.key(one)) == hash(space.key(dict(reversed(one.items()))))


def test_the_cardinality_counts_only_what_is_active():
    space = SearchSpace(
        {
            "kind": Categorical(["a", "b", "c"]),
            "n": Int(1, 4, when={"kind": ["a", "b"]}),
            "m": Ordinal([10, 20], when={"n": [4]}),
            "fixed": 3,
        }
    )
    # c alone; a and b with n of 1, 2, 3, and with n = 4 twice over
    assert space.cardinality == 1 + 2 * (3 + 2)
    assert len(list(space.grid(100))) == 11
    assert SearchSpace({"x": 1}).cardinality == 1
    assert SearchSpace({}).cardinality == 1
    assert example().cardinality is None
    assert SearchSpace({"a": Int(1, 10**12), "b": Int(1, 10**12)}).cardinality == 10**24


def test_a_grid_takes_both_ends_of_numbers_and_all_choices():
    space = SearchSpace({"x": Float(0, 1), "kind": Categorical(["a", "b", "c"])})
    assert list(space.grid(2)) == [{"x": x, "kind": kind} for x in (0.0, 1.0) for kind in "abc"]
    assert [config["x"] for config in SearchSpace({"x": Float(0, 1)}).grid(1)] == [0.5]
    with pytest.raises(UsageError, match="resolution"):
        next(space.grid(0))


def test_a_chain_of_conditions_goes_inactive_with_its_head():
    space = SearchSpace(
        {  # in any order: each is settled after what it depends on
            "beta": Float(0, 1, when={"nesterov": [True]}),
            "nesterov": Categorical([True, False], when={"optimizer": ["sgd"]}),
            "optimizer": Categorical(["adam", "sgd"]),
        }
    )
    assert space.searched == ("beta", "nesterov", "optimizer")
    assert space.decode([0.5, 0.1, 0.1]) == {"optimizer": "adam"}
    assert space.decode([0.5, 0.9, 0.9]) == {"nesterov": False, "optimizer": "sgd"}
    assert space.decode([0.5, 0.1, 0.9]) == {"beta": 0.5, "nesterov": True, "optimizer": "sgd"}
    with pytest.raises(UsageError, match=r"`beta` is active only when nesterov is True"):
        space.complete({"beta": 0.5, "optimizer": "adam"})


def test_all_conditions_must_hold_and_true_is_not_one():
    space = SearchSpace(
        {
            "a": Int(0, 1),
            "b": Categorical([True, False]),
            "both": Float(0, 1, when={"a": [1], "b": [True]}),
            "flag": True,
            "never": Float(0, 1, when={"flag": [1]}),
        }
    )
    assert "both" in space.decode([1, 0, 0.5])
    assert "both" not in space.decode([0, 0, 0.5])
    assert "both" not in space.decode([1, 1, 0.5])
    assert "never" not in space.searched


def test_conditions_are_coerced_like_values():
    space = SearchSpace({"n": Int(1, 3), "x": Float(0, 1, when={"n": ["2", 3.0]})})
    assert space.hyperparameters["x"].when == {"n": [2, 3]}
    assert "x" in space.decode([0.5, 0.5])


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"a": Float(0, 1, when={"bb": [1]}), "b": Int(1, 2)}, "`a.when.bb` must be another hyperparameter"),
        ({"a": Float(0, 1, when={"bb": [1]}), "b": Int(1, 2)}, "Did you mean 'b'?"),
        ({"a": Int(0, 1, when={"a": [1]})}, "`a.when.a` must be another hyperparameter"),
        ({"a": Float(0, 1, when={"b": [3]}), "b": Int(1, 2)}, "`a.when.b[0]` is a value that b never takes"),
        (
            {"a": Float(0, 1, when={"b": ["sdg"]}), "b": Categorical(["sgd"])},
            "it must be one of sgd, but got 'sdg'. Did you mean 'sgd'?",
        ),
        (
            {"a": Float(0, 1, when={"b": [0.5]}), "b": Float(0, 1)},
            "`a.when.b` must have values that can be listed",
        ),
        ({"a": Float(0, 1, when={"b": [1]}), "b": Derived("1")}, "`a.when.b` must be searched or fixed"),
        ({"a": Int(0, 1, when={"b": [1]}), "b": Int(0, 1, when={"a": [1]})}, "a -> b -> a"),
        ({"a": Derived("b"), "b": Derived("a")}, "must not depend on itself"),
        (
            {"a": Derived("b"), "b": Int(1, 2, when={"c": [1]}), "c": Derived("a")},
            "must be searched or fixed",
        ),
        ({"a": Derived("c + 1"), "b": 3}, "`a.derived` must use other hyperparameters, but there is no 'c'"),
        ({"a": Derived("a + 1")}, "there is no 'a'"),
        (
            {"a": Derived("1 / n"), "n": Int(0, 3)},
            "`a.derived` '1 / n' has no value at n=0: division by zero",
        ),
        ({"a-b": 1}, "must be a name of letters, digits and '_', but got 'a-b'"),
        ({3: 1}, "must be a name of letters"),
        ({"a": [1, 2]}, "{type: categorical, choices: [1, 2]}"),
        ({"a": None}, "`a` must have a value"),
        ({"a": object()}, "`a` must be a number, a string"),
        ({"a": {"type": "flaot", "low": 0, "high": 1}}, "Did you mean 'float'?"),
        ({"a": {"type": "float", "low": 0}}, "`a` must have `high`"),
        (
            {"a": {"type": "float", "low": 0, "hihg": 1}},
            "`a.hihg` is no key of a hyperparameter of type float",
        ),
        ({"a": {"typ": "float", "low": 0}}, "Did you mean 'type'?"),
        ({"a": {"low": 0}}, "`a` must have a `type`"),
        ({"a": {"derived": "1", "low": 0}}, "`a.low` is no key of a derived hyperparameter"),
        ([1], "`hyperparameters` must map names to domains"),
    ],
)
def test_a_space_that_cannot_be_says_what_must_hold(hyperparameters, message):
    with pytest.raises(UsageError) as caught:
        SearchSpace(hyperparameters)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"lr": 3}, "`points[0].lr` must lie from 0.0001 to 0.3, but got 3.0"),
        ({"lrr": 0.1}, "`points[0].lrr` is no hyperparameter of this space. Did you mean 'lr'?"),
        (
            {"optimizer": "adam", "momentum": 0.9},
            "`points[0].momentum` is active only when optimizer is sgd; leave it out.",
        ),
        ({"hidden": 32}, "`points[0].hidden` is active only when model is mlp"),
        ({"model": "mlp"}, "`points[0].model` is fixed at 'small_cnn', but got 'mlp'"),
        (3, "`points[0]` must map names to values"),
    ],
)
def test_a_point_outside_the_space_is_refused(point, message):
    with pytest.raises(UsageError) as caught:
        SearchSpace(example().hyperparameters, [point])
    assert message in str(caught.value)


def test_points_must_be_a_list():
    with pytest.raises(UsageError, match="`points` must be a list"):
        SearchSpace({"x": Int(1, 2)}, {"x": 1})


def test_a_point_may_leave_hyperparameters_to_the_search():
    space = SearchSpace(example().hyperparameters, [{"lr": "0.01", "momentum": 0.9}])
    assert space.points == ({"lr": 0.01, "momentum": 0.9},)
    drawn = space.complete(space.points[0], [0.5, 0.9, 0.9, 0.5, 0.9])
    assert drawn["lr"] == 0.01
    assert drawn["batch_size"] == 256
    assert "momentum" not in drawn  # the optimizer was drawn to be adam
    with pytest.raises(UsageError, match="`batch_size` must have a value"):
        space.complete(space.points[0])


def test_a_complete_config_is_checked_to_its_derived_values():
    space = example()
    config = space.decode([0.5] * 5)
    space.check(config)
    with pytest.raises(UsageError, match="`steps` must be 11718, but got 1"):
        space.check({**config, "steps": 1})
    with pytest.raises(UsageError, match="`epochs` must have a value"):
        space.check({name: value for name, value in config.items() if name != "epochs"})


def test_a_flag_may_bring_in_a_hyperparameter_or_change_one():
    space = SearchSpace({"x": Float(0, 1)}, points=[{"x": 0.5}])
    assert space.with_("y", Int(1, 3)).searched == ("x", "y")
    assert space.with_("y", Int(1, 3)).points == space.points
    assert space.with_("x", 0.25).decode([]) == {"x": 0.25}


def test_replacing_keeps_the_condition_and_the_sampling():
    space = SearchSpace(
        {
            "optimizer": Categorical(["sgd", "adam"]),
            "momentum": Float(0.8, 0.99, when={"optimizer": ["sgd"]}, sampling="random"),
        }
    )
    fixed = space.replace("momentum", "0.9")
    assert fixed.hyperparameters["momentum"] == Fixed(0.9, when={"optimizer": ["sgd"]})
    assert fixed.decode([0.9]) == {"optimizer": "adam"}
    narrowed = space.replace("momentum", Float(0.5, 0.6))
    assert narrowed.hyperparameters["momentum"] == Float(
        0.5, 0.6, when={"optimizer": ["sgd"]}, sampling="random"
    )


def test_replacing_by_fewer_choices_leaves_out_what_can_never_be_active():
    space = SearchSpace(
        {
            "optimizer": Categorical(["sgd", "rmsprop", "adam"]),
            "momentum": Float(0.8, 0.99, when={"optimizer": ["sgd", "rmsprop"]}),
            "nesterov": Categorical([True, False], when={"optimizer": ["sgd"]}),
            "beta": Float(0, 1, when={"nesterov": [True]}),
        },
        points=[{"optimizer": "sgd", "nesterov": True}, {"optimizer": "adam"}],
    )
    without = space.replace("optimizer", Categorical(["rmsprop", "adam"]))
    assert list(without.hyperparameters) == ["optimizer", "momentum"]
    assert without.hyperparameters["momentum"].when == {"optimizer": ["rmsprop"]}
    assert without.points == ({"optimizer": "adam"},)
    assert SearchSpace.from_dict(without.to_dict()) == without


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lrr", 1, "`lrr` is no hyperparameter of this space; it has lr, batch_size"),
        ("optimizer", "adma", "`optimizer` must be one of sgd, adam, but got 'adma'. Did you mean 'adam'?"),
        ("lr", "fast", "`lr` must be a finite number, but got 'fast'"),
        ("depth", 2.5, "`depth` must be a whole number"),
        ("batch_size", "many", "`batch_size` must be one of"),
        ("lr", {"type": "float", "low": 1, "high": 0}, "`lr.low` must be below high"),
    ],
)
def test_replacing_by_something_of_another_kind_is_refused(name, value, message):
    with pytest.raises(UsageError) as caught:
        example().replace(name, value)
    assert message in str(caught.value)


def test_a_bare_value_may_leave_the_range_of_what_was_searched():
    space = example().replace("lr", 1).replace("batch_size", 48).replace("depth", 7)
    config = space.decode([0.5, 0.5])
    assert (config["lr"], config["batch_size"], config["depth"]) == (1.0, 48, 7)
    assert example().replace("model", None).hyperparameters["model"] == Fixed(None)


def test_replacing_changes_nothing_in_the_space_itself():
    space = example()
    before = copy.deepcopy(space.to_dict())
    space.replace("model", "mlp").replace("lr", 0.1)
    assert space.to_dict() == before


def test_a_space_travels_to_another_process():
    space = example()
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert again.decode([0.3] * 5) == space.decode([0.3] * 5)


def test_a_point_of_the_wrong_length_is_a_bug_of_the_caller():
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        example().decode([0.5] * 4)


def test_encoding_checks_its_values():
    with pytest.raises(SpaceError, match="`lr` must lie"):
        example().encode({"lr": 9})


# --- derived hyperparameters


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("epochs * 50000 // batch_size", 11718),
        ("2 + 3 * 4 - 10 / 4", 11.5),
        ("-7 % 3 + 2 ** 3 ** 2", 514),
        ("min(batch_size, 64) + max(1, 2.5)", 66.5),
        ("round(lr, 1) + round(2.6)", 3.1),
        ("int(7.9) + float(1) + abs(-2)", 10.0),
        ("sqrt(16) + log2(8) + log10(100) + log(exp(1)) + floor(1.5) + ceil(1.5)", 13.0),
        ("1 if optimizer == 'sgd' else 2", 1),
        ("0 < lr <= 0.1 and not epochs == 3", True),
        ("lr > 1 or 'big' if batch_size >= 128 else 'small'", "big"),
        (" batch_size ", 128),
        (7, 7),
    ],
)
def test_derived_values_are_computed_as_python_would(expression, value):
    space = SearchSpace(
        {"lr": 0.1, "batch_size": 128, "epochs": 30, "optimizer": "sgd", "x": {"derived": expression}}
    )
    assert space.decode([])["x"] == pytest.approx(value)


@given(st.integers(-50, 50), st.integers(-50, 50), st.floats(-9, 9))
def test_arithmetic_agrees_with_python(a, b, c):
    for expression in (
        "a + b * c",
        "a - -b",
        "a // b",
        "a % b",
        "a / b",
        "(a + c) ** 2",
        "a if a < b else c",
    ):
        space_of = {"a": a, "b": b, "c": c, "x": {"derived": expression}}
        if b == 0 and expression[2] in "/%":
            with pytest.raises(UsageError, match="zero"):
                SearchSpace(space_of)
        else:
            expected = eval(expression, {}, {"a": a, "b": b, "c": c})
            assert SearchSpace(space_of).decode([])["x"] == expected


def test_derived_values_may_use_derived_ones_in_any_order():
    space = SearchSpace({"c": Derived("b * 2"), "b": Derived("a + 1"), "a": Int(1, 3)})
    assert space.decode([0.5]) == {"c": 6, "b": 3, "a": 2}


def test_a_derived_value_is_absent_where_it_needs_what_is_inactive():
    space = SearchSpace(
        {
            "optimizer": Categorical(["sgd", "adam"]),
            "momentum": Float(0.5, 1, when={"optimizer": ["sgd"]}),
            "effective": Derived("1 / momentum"),
            "twice": Derived("2 * effective"),
            "safe": Derived("momentum if optimizer == 'sgd' else 0"),
            "extra": Derived("3", when={"optimizer": ["adam"]}),
        }
    )
    assert space.decode([0, 0]) == {
        "optimizer": "sgd",
        "momentum": 0.5,
        "effective": 2.0,
        "twice": 4.0,
        "safe": 0.5,
    }
    assert space.decode([1, 0]) == {"optimizer": "adam", "safe": 0, "extra": 3}


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "().__class__",
        "lr.real",
        "open('/etc/passwd')",
        "eval('1')",
        "[1, 2]",
        "(1, 2)",
        "{}",
        "lr[0]",
        "lambda: 1",
        "[x for x in lr]",
        "f'{lr}'",
        "lr if lr else (yield)",
        "(y := 3)",
        "1j",
        "b'a'",
        "...",
        "None",
        "1 << 3",
        "~1",
        "3 & 1",
        "lr is lr",
        "lr in lr",
        "round(lr, ndigits=2)",
        "max(*lr)",
        "print(lr)",
        "import os",
        "x = 3",
        "1; 2",
        "",
        "1 +",
        "\x00",
        "(" * 300 + "1" + ")" * 300,
        "-" * 400 + "1",
        "1" + "+1" * 249,
        "1" * 501,
    ],
)
def test_an_expression_that_is_not_plain_arithmetic_is_refused(expression):
    with pytest.raises(UsageError) as caught:
        SearchSpace({"lr": 0.1, "x": {"derived": expression}})
    assert str(caught.value).startswith("`x.derived` m")


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "10 ** 400 * n",
        "2.0 ** 5000",
        "(-8) ** 0.5",
        "sqrt(-1)",
        "log(0)",
        "exp(1000)",
        "round(n, 10 ** 9)",
        "round(n, -(10 ** 9))",
        "1e308 * 10",
        "1e999",
        "int(1e308 * 10)",
        "'a' + 'b'",
        "'a' * 3",
        "n * 'a'",
        "n < 'a'",
        "min()",
        "abs(1, 2)",
        "n % 0",
        "float(10 ** 300 * 10 ** 300)",
    ],
)
def test_an_expression_without_a_value_is_found_before_anything_starts(expression):
    start = time.perf_counter()
    with pytest.raises(UsageError, match=r"`x\.derived` '.*' (has no value|must be finite)"):
        SearchSpace({"n": 5, "x": {"derived": expression}})
    assert time.perf_counter() - start < 1


def test_a_warning_of_pythons_parser_is_no_error():
    assert SearchSpace({"n": 5, "x": {"derived": "1if n else 2"}}).decode([])["x"] == 1
