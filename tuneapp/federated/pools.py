"""Where clients train: train(state, orders) -> the sum of their updates. LocalPool trains them in this
process, tuneapp/backends/ray/client_actors.py on Ray actors. Both give the same bits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tuneapp.federated import boards
from tuneapp.federated.client_sgd import CLIENT_SGD, ClientSGD, Images, Job, one_thread
from tuneapp.federated.clients import Federation, Orders, batches
from tuneapp.federated.partitions import Labels
from tuneapp.federated.reduction import Node, subtrees, tree_sum
from tuneapp.federated.rng import Purpose, generator
from tuneapp.federated.strategies import Weights


@dataclass(frozen=True)
class BlockUpdate:
    """What a worker returns for a block of neighbouring clients."""

    sums: dict[Node, Weights]  # of weight · (trained - sent) over the subtrees that make up the block
    losses: NDArray[Any]  # float64, one per client, summed over its steps


@dataclass(frozen=True)
class Update:
    """What a pool returns for a round."""

    total: Weights  # sum over clients of weight · (trained - sent); the caller's to change
    losses: NDArray[Any]  # float64, one per client
    restarts: int = 0  # workers that died in this round and were started again


def blocks(steps: Sequence[int], workers: int) -> list[Node]:
    """Cut the positions of a round's clients into neighbours of about equal work, one block per worker.

    No block is empty: there are fewer blocks than workers where there are fewer clients.
    """
    done = np.concatenate([[0], np.cumsum(steps)])
    ideal = done[-1] * np.arange(1, workers) / workers
    cuts = [0, *np.searchsorted(done, ideal).tolist(), len(steps)]
    return [(start, stop) for start, stop in pairwise(cuts) if start < stop]


class ClientPool(Protocol):
    def host(self, federation: Federation, images: Images, labels: Labels) -> None:
        """Prepare for this federation's rounds. A pool hosts one federation after the other."""

    def train(self, state: Weights, orders: Orders) -> Update:
        """Let the round's clients train from `state`."""

    def close(self) -> None:
        """Release the workers. `host` may be called again."""


class LocalPool:
    """All clients in this process, one after the other."""

    def host(self, federation: Federation, images: Images, labels: Labels) -> None:
        self.worker = ClientWorker(federation, images, labels)

    def train(self, state: Weights, orders: Orders) -> Update:
        everyone = (0, len(orders.clients))
        update = self.worker.train(state, orders, everyone)
        return Update(update.sums[everyone], update.losses)

    def close(self) -> None:
        """Nothing is held."""


class ClientWorker:
    """Trains blocks of a federation's clients. A pool consists of such workers."""

    def __init__(self, federation: Federation, images: Images, labels: Labels) -> None:
        self.federation = federation
        self.client_sgd: ClientSGD = CLIENT_SGD[federation.client_sgd](federation, images, labels)
        self.spare: list[Weights] = []  # arrays that no sum holds

    def train(self, state: Weights, orders: Orders, block: Node) -> BlockUpdate:
        """The clients at positions block[0] to before block[1] of the orders."""
        positions = range(*block)
        losses = np.zeros(len(positions))
        with one_thread(), np.errstate(all="ignore"):  # the server looks for inf and nan once per round
            trained = self.client_sgd.train(state, orders.lr, self._jobs(orders, positions))

            def weighted_update(position: int) -> Weights:
                client = next(trained)
                losses[position - block[0]] = client.loss
                change = self.spare.pop() if self.spare else np.empty_like(state)
                np.subtract(client.state, state, out=change)
                weight = self.federation.weight(orders.clients[position])
                if weight != 1.0:
                    change *= change.dtype.type(weight)
                return change

            nodes = subtrees(block, (0, len(orders.clients)))
            sums = {node: tree_sum(node, weighted_update, self.spare.append) for node in nodes}
            return BlockUpdate(sums, losses)

    def _jobs(self, orders: Orders, positions: range) -> Iterator[Job]:
        federation = self.federation
        for position in positions:
            client, steps = orders.clients[position], orders.steps[position]
            seed = 0
            if federation.blueprint.has_dropout:
                seed = int(generator(federation.seed, Purpose.LAYERS, orders.round, client).integers(2**62))
            yield Job(batches(federation, orders, client, steps), seed)


class ClientHost:
    """A worker in a process of its own, which stays while federations come and go."""

    board: NDArray[Any] | None = None

    def host(self, federation: Federation, images: Images, labels: Labels) -> None:
        self.worker = ClientWorker(federation, images, labels)

    def ready(self) -> None:
        """Returns once all earlier calls are done."""

    def share(self, address: tuple[str, tuple[int, int], str]) -> bool:
        """Find the board. False where this is another machine than the pool's."""
        self.board = boards.find(*address)
        return self.board is not None

    def train(self, state: Weights, orders: Orders, block: Node) -> BlockUpdate:
        return self.worker.train(state, orders, block)

    def train_on_board(self, orders: Orders, block: Node, row: int) -> BlockUpdate:
        """From the weights in the board's first row. A block of one sum leaves it in its own `row`."""
        assert self.board is not None
        update = self.worker.train(self.board[0], orders, block)
        if len(update.sums) > 1:
            return update
        (total,) = update.sums.values()
        np.copyto(self.board[row], total)
        self.worker.spare.append(total)
        return BlockUpdate({}, update.losses)
