"""What the server asks of clients: who takes part in a round, with how many steps, on which examples."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tuneapp.federated.blueprint import Blueprint
from tuneapp.federated.partitions import Indices
from tuneapp.federated.rng import Purpose, generator

if TYPE_CHECKING:
    from tuneapp.federated.fed_config import FedConfig  # imports torch, which client actors may do without


@dataclass(frozen=True)
class Federation:
    """All that stays the same from round to round; sent to each client actor once."""

    blueprint: Blueprint
    shares: list[Indices]  # each client's rows of the training set
    seed: int
    batch_size: int
    local_steps: int
    local_epochs: int
    momentum: float
    proximal_mu: float
    by_examples: bool  # clients' updates count by their examples
    client_sgd: str  # one of CLIENT_SGD
    device: str = "cpu"
    dtype: str = "float32"  # float64 for tests

    def planned_steps(self, client: int) -> int:
        """A client's steps in a round, unless it is a straggler."""
        batches_per_epoch = -(-len(self.shares[client]) // self.batch_size)
        return self.local_epochs * batches_per_epoch if self.local_epochs else self.local_steps

    def weight(self, client: int) -> float:
        """Its share of the largest client's examples; 1 where all clients count alike."""
        return len(self.shares[client]) / self.most_examples if self.by_examples else 1.0

    @cached_property
    def most_examples(self) -> int:
        return max(len(share) for share in self.shares)


@dataclass(frozen=True)
class Orders:
    """One round: what goes out beside the weights."""

    round: int  # from 0
    lr: float
    clients: tuple[int, ...]  # those that will answer, ascending
    steps: tuple[int, ...]  # of each of these clients


def draw_orders(config: "FedConfig", federation: Federation, round_number: int) -> Orders:
    """The round's cohort, less those that drop out; stragglers do 1 to all but one of their steps.

    All draws depend on (seed, round, client) alone, so that it doesn't matter which process asks, or in which
    order. Where all clients would drop out, the one with the largest draw stays.
    """
    seed = federation.seed
    size = max(1, round(config.fraction * config.clients))
    draw = generator(seed, Purpose.COHORT, round_number)
    cohort = (
        np.sort(draw.choice(config.clients, size, replace=False)) if size < config.clients else range(size)
    )
    answers = [int(client) for client in cohort]
    if config.client_dropout > 0:
        lots = {client: generator(seed, Purpose.DROPOUT, round_number, client).random() for client in answers}
        steadiest = max(answers, key=lots.__getitem__)
        answers = [
            client for client in answers if lots[client] >= config.client_dropout or client == steadiest
        ]
    steps = [federation.planned_steps(client) for client in answers]
    if config.stragglers > 0:
        for position, client in enumerate(answers):
            draw = generator(seed, Purpose.STRAGGLERS, round_number, client)
            if draw.random() < config.stragglers and steps[position] > 1:
                steps[position] = int(draw.integers(1, steps[position]))
    return Orders(round_number, config.lr * config.lr_decay**round_number, tuple(answers), tuple(steps))


def batches(federation: Federation, orders: Orders, client: int, steps: int) -> Iterator[Indices]:
    """The rows of the client's batches, step by step.

    With local steps each batch is drawn with replacement; with local epochs the client's examples are
    shuffled anew each epoch and the last batch may be smaller. A straggler's batches are the first of those
    it would have had.
    """
    share = federation.shares[client]
    draw = generator(federation.seed, Purpose.BATCHES, orders.round, client)
    if not federation.local_epochs:
        yield from share[
            draw.integers(0, len(share), size=(federation.local_steps, federation.batch_size))[:steps]
        ]
        return
    for first_step in range(0, steps, per_epoch := -(-len(share) // federation.batch_size)):
        order = draw.permutation(share)
        for step in range(min(per_epoch, steps - first_step)):
            yield order[step * federation.batch_size : (step + 1) * federation.batch_size]
