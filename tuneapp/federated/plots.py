"""Plots of a federation: its loss over rounds, and which client has which classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tuneapp.federated.partitions import Indices, Labels
from tuneapp.settings import Metrics

MOST_CLIENTS = 100  # in the plot of clients and classes


def loss_curves(histories: Mapping[str, Sequence[Metrics]], path: Path) -> None:
    """Training loss, summed over local steps, after each round: one line per federation."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, history in histories.items():
        axes.plot(range(1, len(history) + 1), [metrics["train_loss"] for metrics in history], label=name)
    axes.set(xlabel="round", ylabel="training loss, summed over local steps", ylim=(0, None))
    axes.grid(alpha=0.3)
    if len(histories) > 1:
        axes.legend()
    _save(figure, path)


def clients_and_classes(
    shares: Sequence[Indices], labels: Labels, classes: Sequence[str], path: Path
) -> None:
    """How many examples of each class each client has; of the first MOST_CLIENTS clients."""
    shown = shares[:MOST_CLIENTS]
    counts = np.array([np.bincount(labels[share], minlength=len(classes)) for share in shown])  # [M, K]
    figure = Figure(figsize=(max(4, min(12, 0.25 * len(shown))), 4), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(counts.T, aspect="auto", cmap="viridis", vmin=0)
    of_all = f" (of {len(shares)})" if len(shares) > len(shown) else ""
    axes.set(xlabel=f"client{of_all}", ylabel="class")
    if len(classes) <= 20:
        axes.set_yticks(range(len(classes)), classes)
    figure.colorbar(drawn, label="examples")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
