"""The sum over clients, in an order that no number of workers can change.

The positions 0 … n-1 of a round's clients are halved again and again, to a binary tree. A node's sum is the
sum of its two halves' sums, so its bits depend on n alone. A worker that trains a block of neighbours returns
the sums of the largest whole subtrees in its block: one if workers are 1, 2, 4, 8 … and share evenly, else
about 2 log2(n), never one per client. Whole numbers would be associative and need no tree, but they cost one
conversion per client, and diverging weights overflow them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Node = tuple[int, int]  # positions from … to before …
Array = NDArray[Any]


def subtrees(block: Node, node: Node) -> list[Node]:
    """The largest subtrees of `node` that lie within `block`, in order; together they are their overlap."""
    start, stop = node
    if block[0] <= start and stop <= block[1]:
        return [node]
    if stop <= block[0] or block[1] <= start:
        return []
    middle = (start + stop) // 2
    return subtrees(block, (start, middle)) + subtrees(block, (middle, stop))


def tree_sum(node: Node, leaf: Callable[[int], Array], done: Callable[[Array], None]) -> Array:
    """The sum of `leaf(position)` over a subtree; leaves are asked in order, and about log2(n) sums are held.

    A leaf's array is taken over and changed; `done` gets those that are no longer needed, to be used again:
    fresh memory costs more than the sum.
    """
    start, stop = node
    if stop - start == 1:
        return leaf(start)
    middle = (start + stop) // 2
    left = tree_sum((start, middle), leaf, done)
    right = tree_sum((middle, stop), leaf, done)
    np.add(left, right, out=left)
    done(right)
    return left


def combine(node: Node, sums: dict[Node, Array]) -> Array:
    """The sum of `node` from those of subtrees that make it up. Leaves `sums` as they are."""
    if node in sums:
        return sums[node]
    start, stop = node
    middle = (start + stop) // 2
    return np.add(combine((start, middle), sums), combine((middle, stop), sums))
