"""Each strategy's law, by hand or against the paper's own recursion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.federated.strategies import (
    STRATEGIES,
    ServerSettings,
    fedadam,
    fedavg,
    fedavgm,
    fedprox,
    fedyogi,
)

values = st.lists(st.floats(-2, 2, allow_subnormal=False), min_size=3, max_size=3).map(np.array)
STATE = np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_no_update_from_rest_leaves_the_state(name):
    state, _ = STRATEGIES[name](STATE, np.zeros(3), {}, ServerSettings(lr=0.3))
    assert np.array_equal(state, STATE)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_strategy_changes_neither_its_arguments_nor_their_dtype(name):
    state, update, memory = STATE.astype(np.float32), np.ones(3, np.float32), {}
    new, memory = STRATEGIES[name](state, update, memory, ServerSettings())
    held = {key: value.copy() for key, value in memory.items()}
    STRATEGIES[name](new, update, memory, ServerSettings())
    assert new.dtype == np.float32
    assert np.array_equal(state, STATE.astype(np.float32))
    assert np.array_equal(update, np.ones(3))
    assert all(np.array_equal(held[key], memory[key]) for key in held)
    assert all(value.dtype == np.float32 for value in memory.values())


@given(values)
def test_fedavg_at_lr_one_arrives_at_the_clients_mean(mean):
    state, memory = fedavg(STATE, mean - STATE, {}, ServerSettings(lr=1.0))
    np.testing.assert_allclose(state, mean, atol=1e-15)
    assert memory == {}


@given(values)
def test_fedprox_does_on_the_server_what_fedavg_does(update):
    assert np.array_equal(
        fedprox(STATE, update, {}, ServerSettings())[0], fedavg(STATE, update, {}, ServerSettings())[0]
    )


@given(values, st.floats(0, 0.9))
def test_fedavgm_goes_the_geometric_sum_of_a_steady_update(update, momentum):
    state, memory, server = STATE, {}, ServerSettings(lr=1.0, momentum=momentum)
    for _ in range(3):
        state, memory = fedavgm(state, update, memory, server)
    np.testing.assert_allclose(state - STATE, update * (3 + 2 * momentum + momentum**2), atol=1e-12)


def reddi(updates, server, second_moment):
    """Algorithm 2 of Reddi et al. (2021), coordinate by coordinate, in plain Python."""
    state = list(STATE)
    first, second = [0.0] * 3, [server.tau**2] * 3
    for update in updates:
        for i, d in enumerate(update):
            first[i] = server.momentum * first[i] + (1 - server.momentum) * d
            second[i] = second_moment(second[i], d, server.beta2)
            state[i] += server.lr * first[i] / (second[i] ** 0.5 + server.tau)
    return state


def adam(v, d, beta2):
    return beta2 * v + (1 - beta2) * d * d


def yogi(v, d, beta2):
    return v - (1 - beta2) * d * d * np.sign(v - d * d)


@pytest.mark.parametrize(("strategy", "second_moment"), [(fedadam, adam), (fedyogi, yogi)])
@given(updates=st.lists(values, min_size=1, max_size=4))
def test_adaptive_servers_follow_the_papers_recursion(strategy, second_moment, updates):
    server = ServerSettings(lr=0.02, momentum=0.9, beta2=0.99, tau=1e-3)
    state, memory = STATE, {}
    for update in updates:
        state, memory = strategy(state, update, memory, server)
    np.testing.assert_allclose(state, reddi(updates, server, second_moment), rtol=1e-9, atol=1e-12)


@given(values, st.floats(1.0, 100.0))
def test_fedadams_step_is_bounded_by_lr_whatever_the_updates_size(update, scale):
    server = ServerSettings(lr=0.01)
    state, _ = fedadam(STATE, scale * update, {}, server)
    bound = server.lr * (1 - server.momentum) / np.sqrt(1 - server.beta2)
    assert np.all(np.abs(state - STATE) <= bound + 1e-12)


def test_fedyogi_forgets_a_large_update_more_slowly_than_fedadam():
    moments = []
    for strategy in (fedadam, fedyogi):
        state, memory = strategy(STATE, np.full(3, 10.0), {}, ServerSettings())
        for _ in range(20):
            state, memory = strategy(state, np.full(3, 0.01), memory, ServerSettings())
        moments.append(memory["second"])
    assert np.all(moments[0] < 0.9 * moments[1])
