"""Shares of a labelled set that keep its classes. Sizes are exact, and each draw depends on a seed alone."""

import numpy as np
from numpy.typing import NDArray

from tuneapp.errors import UsageError

Indices = NDArray[np.int64]


def stratified_split(labels: NDArray[np.integer], share: float, seed: int) -> tuple[Indices, Indices]:
    """Set a share of the examples aside: (the rest, the share), both in ascending order.

    labels is [N]; the second part has exactly round(share * N) examples. Every class is in both parts, and
    apart from that as near to its share as whole numbers allow. Raises UsageError where that can't be.
    """
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if not 0 < share < 1:
        raise UsageError(f"The share set aside must lie between 0 and 1, but got {share}.")
    aside = round(share * len(labels))
    if len(counts) == 0 or counts.min() < 2:
        raise UsageError(
            "A split needs two examples of every class, but got "
            + (f"one of class {classes[counts.argmin()]}." if len(counts) else "no examples.")
        )
    if not len(classes) <= aside <= len(labels) - len(classes):
        raise UsageError(
            f"Both parts of a split must hold every one of {len(classes)} classes, but a share of {share} of "
            f"{len(labels)} examples is {aside}; take more examples or another share."
        )
    chosen = _draw(labels, _quotas(counts, aside, counts - 1), seed)
    return np.setdiff1d(np.arange(len(labels)), chosen, assume_unique=True), chosen


def stratified_subset(labels: NDArray[np.integer], examples: int, seed: int) -> Indices:
    """Indices, ascending, of exactly so many of the examples, each class by its share and at least once.

    labels is [N]. Raises UsageError where `examples` is below the number of classes or above N.
    """
    labels = np.asarray(labels)
    _, counts = np.unique(labels, return_counts=True)
    if not len(counts) <= examples <= len(labels) or examples < 1:
        raise UsageError(
            f"A subset must hold {len(counts)} examples or more, one of each class, and at most all "
            f"{len(labels)}, but {examples} were asked for."
        )
    return _draw(labels, _quotas(counts, examples, counts), seed)


def _quotas(counts: Indices, total: int, most: Indices) -> Indices:
    """Whole numbers between 1 and `most` that sum to total, in proportion to counts: largest remainders."""
    ideal = counts * (total / counts.sum())
    quotas: Indices = np.clip(np.floor(ideal).astype(np.int64), 1, most)
    while (missing := total - quotas.sum()) != 0:
        step = np.sign(missing)
        free = (quotas < most) if step > 0 else (quotas > 1)
        # Stable: among equals the earlier class, so that the seed decides on examples alone.
        order = np.argsort(np.where(free, step * (quotas - ideal), np.inf), kind="stable")
        quotas[order[: min(abs(missing), free.sum())]] += step
    return quotas


def _draw(labels: NDArray[np.integer], quotas: Indices, seed: int) -> Indices:
    """Draw `quotas[k]` examples of the k-th class, classes in ascending order."""
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(np.flatnonzero(labels == kind), size=quota, replace=False)
        for kind, quota in zip(np.unique(labels), quotas, strict=True)
    ]
    return np.sort(np.concatenate(drawn))
