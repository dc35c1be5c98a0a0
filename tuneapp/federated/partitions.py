"""How the training examples are dealt to clients."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tuneapp.errors import UsageError, lookup
from tuneapp.federated.rng import Purpose, generator

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Skew:
    """How unequal the clients are. Raises UsageError out of range."""

    alpha: float = 0.5  # of dirichlet and quantity: near 0 extreme, large equal
    shards: int = 2  # per client, of shards: each client has about so many classes

    def __post_init__(self) -> None:
        if not 0 < self.alpha < np.inf:
            raise UsageError(
                f"`alpha` must be above 0, but got {self.alpha:g}; 0.1 is extreme, 100 is equal."
            )
        if self.shards < 1:
            raise UsageError(f"`shards` must be at least 1 per client, but got {self.shards}.")


def partition(
    labels: Labels, clients: int, seed: int, kind: str = "iid", skew: Skew | None = None
) -> list[Indices]:
    """Deal the examples to clients: one sorted [n_i] int64 array of positions in `labels` each, n_i >= 1.

    Every example goes to exactly one client, but for `shared`, where everyone has all. Raises UsageError for
    no client, for more clients than examples, and for an unknown kind.
    """
    deal = lookup(kind, PARTITIONS, "partition")
    check_sizes(len(labels), clients, kind, skew or Skew())
    shares = deal(labels, clients, generator(seed, Purpose.PARTITION), skew or Skew())
    return [np.sort(share) for share in shares]


def check_sizes(num_examples: int, clients: int, kind: str, skew: Skew) -> None:
    """Raises UsageError where so many examples can't be dealt."""
    if clients < 1:
        raise UsageError(f"`clients` must be at least 1, but got {clients}.")
    if clients > num_examples:
        raise UsageError(
            f"Every client needs an example of its own, but there are {clients} clients and {num_examples} "
            "training examples; ask for fewer --clients."
        )
    if kind == "shards" and clients * skew.shards > num_examples:
        raise UsageError(
            f"Every shard needs an example, but there are {clients * skew.shards} shards and {num_examples} "
            "training examples; take fewer `shards` per client."
        )


def shared(labels: Labels, clients: int, draw: Generator, skew: Skew) -> list[Indices]:
    """Everyone draws from the whole training set, as in Qian's study of federated MNIST."""
    return [np.arange(len(labels))] * clients


def iid(labels: Labels, clients: int, draw: Generator, skew: Skew) -> list[Indices]:
    """Shuffled and cut into equal shares; sizes differ by one at most."""
    return np.array_split(draw.permutation(len(labels)), clients)


def dirichlet(labels: Labels, clients: int, draw: Generator, skew: Skew) -> list[Indices]:
    """Equal sizes; each client's classes are mixed by a draw from Dirichlet(alpha) (Hsu et al., 2019).

    alpha -> 0 gives one class per client, alpha -> inf equal mixes. A class that runs out is left out of the
    later clients' mixes, so that every example is dealt.
    """
    num_classes = int(labels.max()) + 1
    left = [list(draw.permutation(np.flatnonzero(labels == label))) for label in range(num_classes)]
    shares = []
    for client, size in enumerate(len(part) for part in np.array_split(labels, clients)):
        mix = draw.dirichlet(np.full(num_classes, skew.alpha))
        share: list[int] = []
        while len(share) < size:
            there = np.array([len(examples) for examples in left])
            chances = np.where(there > 0, mix, 0.0)
            if client == clients - 1 or not chances.sum() > 0:
                chances = there.astype(float)  # the mix names only classes that are gone
            for label, count in enumerate(draw.multinomial(size - len(share), chances / chances.sum())):
                taken = min(count, there[label])
                share += left[label][:taken]
                left[label] = left[label][taken:]
        shares.append(np.array(share))
    return shares


def shards(labels: Labels, clients: int, draw: Generator, skew: Skew) -> list[Indices]:
    """Sorted by class, cut into `skew.shards` pieces per client, dealt at random (McMahan et al., 2017)."""
    count = clients * skew.shards
    by_class = draw.permutation(len(labels))
    by_class = by_class[np.argsort(labels[by_class], kind="stable")]
    pieces = np.array_split(by_class, count)
    order = draw.permutation(count).reshape(clients, skew.shards)
    return [np.concatenate([pieces[piece] for piece in mine]) for mine in order]


def quantity(labels: Labels, clients: int, draw: Generator, skew: Skew) -> list[Indices]:
    """Equal mixes, unequal sizes: shares by Dirichlet(alpha) over clients (Li et al., 2022)."""
    spare = len(labels) - clients  # everyone keeps one
    cuts = np.cumsum(draw.dirichlet(np.full(clients, skew.alpha)))[:-1]
    stops = np.round(cuts * spare).astype(np.int64) + np.arange(1, clients)
    return np.split(draw.permutation(len(labels)), stops)


PARTITIONS: dict[str, Callable[[Labels, int, Generator, Skew], list[Indices]]] = {
    "shared": shared,
    "iid": iid,
    "dirichlet": dirichlet,
    "shards": shards,
    "quantity": quantity,
}
