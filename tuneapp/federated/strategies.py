"""What the server does with the clients' mean update: one function per strategy.

A state is all weights in one flat [P] array; an update is the weighted mean over clients of (their weights
after local training - the state they were sent): the negative pseudo-gradient of Reddi et al. (2021),
"Adaptive Federated Optimization".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[Any]  # float32 [P]; float64 in tests
Memory = dict[str, Weights]  # what a strategy keeps between rounds; empty before the first


@dataclass(frozen=True)
class ServerSettings:
    lr: float = 1.0
    momentum: float = 0.9  # of fedavgm; the first beta of fedadam and fedyogi
    beta2: float = 0.99
    tau: float = 1e-3  # the adaptivity: added to the root of the second moment


Strategy = Callable[[Weights, Weights, Memory, ServerSettings], tuple[Weights, Memory]]


def fedavg(state: Weights, update: Weights, memory: Memory, server: ServerSettings) -> tuple[Weights, Memory]:
    """The clients' weighted mean, at lr 1 (McMahan et al., 2017)."""
    new = server.lr * update
    new += state  # in place: fresh memory costs more than the sum
    return new, memory


def fedprox(
    state: Weights, update: Weights, memory: Memory, server: ServerSettings
) -> tuple[Weights, Memory]:
    """As fedavg; its clients are pulled to the state they were sent, by prox_mu / 2 · |w - state|²
    (Li et al., 2020)."""
    return fedavg(state, update, memory, server)


def fedavgm(
    state: Weights, update: Weights, memory: Memory, server: ServerSettings
) -> tuple[Weights, Memory]:
    """Server momentum: v = momentum · v + update (Hsu et al., 2019)."""
    velocity = server.momentum * memory.get("velocity", np.zeros_like(state)) + update
    return state + server.lr * velocity, {"velocity": velocity}


def fedadam(
    state: Weights, update: Weights, memory: Memory, server: ServerSettings
) -> tuple[Weights, Memory]:
    """Adam without bias correction, the second moment starting at tau² (Reddi et al., 2021, algorithm 2)."""
    second = _second(state, memory, server)
    return _adaptive(state, update, memory, server, server.beta2 * second + (1 - server.beta2) * update**2)


def fedyogi(
    state: Weights, update: Weights, memory: Memory, server: ServerSettings
) -> tuple[Weights, Memory]:
    """As fedadam, but the second moment moves by (1 - beta2) · update² per round (Reddi et al., 2021)."""
    second = _second(state, memory, server)
    square = update**2
    return _adaptive(
        state, update, memory, server, second - (1 - server.beta2) * square * np.sign(second - square)
    )


def _second(state: Weights, memory: Memory, server: ServerSettings) -> Weights:
    return memory["second"] if "second" in memory else np.full_like(state, server.tau**2)


def _adaptive(
    state: Weights, update: Weights, memory: Memory, server: ServerSettings, second: Weights
) -> tuple[Weights, Memory]:
    first = server.momentum * memory.get("first", np.zeros_like(state)) + (1 - server.momentum) * update
    step = server.lr * first / (np.sqrt(second) + server.tau)
    return state + step, {"first": first, "second": second}


STRATEGIES: dict[str, Strategy] = {
    "fedavg": fedavg,
    "fedprox": fedprox,
    "fedavgm": fedavgm,
    "fedadam": fedadam,
    "fedyogi": fedyogi,
}

# Where the config names no server_lr: adaptive steps are about lr in size, whatever the update's.
DEFAULT_SERVER_LR = {"fedadam": 0.01, "fedyogi": 0.01}
