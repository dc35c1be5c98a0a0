"""A model as a federation sees it: one flat array of weights, and what lies where in it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneapp.federated.strategies import State

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Entry:
    """A tensor of the model's state dict within the flat state."""

    name: str
    shape: tuple[int, ...]
    start: int
    trained: bool  # False: a buffer, such as batch norm's running mean; averaged with the weights

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)

    def of(self, flat: Any) -> Any:
        """Its view of a flat array or tensor."""
        return flat[self.start : self.stop].reshape(self.shape)


@dataclass(frozen=True)
class Dense:
    """A layer of a plain multilayer perceptron."""

    weight: Entry  # [outputs, inputs]
    bias: Entry | None  # [outputs]


@dataclass(frozen=True)
class Blueprint:
    """What it takes to build the model, in any process. Whole-number counters are no part of the state."""

    model: str
    classes: int
    channels: int
    size: int
    hyperparameters: dict[str, Any]
    entries: tuple[Entry, ...]
    dense: tuple[Dense, ...] | None  # the layers, where the model is Linear, ReLU, Linear … and nothing else
    draws: bool  # it has dropout layers
    buffers: bool  # it has running statistics

    @property
    def num_weights(self) -> int:
        return self.entries[-1].stop

    def build(self) -> "nn.Module":
        from tuneapp import models

        return models.build(
            self.model, classes=self.classes, channels=self.channels, size=self.size, **self.hyperparameters
        )


def draw_up(
    model: str, *, classes: int, channels: int, size: int, hyperparameters: dict[str, Any], seed: int
) -> tuple[Blueprint, State]:
    """The model's blueprint and its first weights, float32 [P], drawn from `seed`."""
    import torch
    from torch import nn

    from tuneapp import models

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = models.build(model, classes=classes, channels=channels, size=size, **hyperparameters)
    trained = {name for name, _ in module.named_parameters()}
    entries: list[Entry] = []
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            start = entries[-1].stop if entries else 0
            entries.append(Entry(name, tuple(tensor.shape), start, name in trained))
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    blueprint = Blueprint(
        model,
        classes,
        channels,
        size,
        hyperparameters,
        tuple(entries),
        dense=_dense_layers(module, {entry.name: entry for entry in entries}),
        draws=any(isinstance(leaf, nn.Dropout | nn.Dropout2d | nn.AlphaDropout) for leaf in leaves),
        buffers=bool(list(module.named_buffers())),
    )
    state = np.empty(blueprint.num_weights, np.float32)
    for entry, tensor in zip(
        entries, (t for t in module.state_dict().values() if t.is_floating_point()), strict=True
    ):
        entry.of(state)[...] = tensor.numpy()
    return blueprint, state


def _dense_layers(module: "nn.Module", entries: dict[str, Entry]) -> tuple[Dense, ...] | None:
    """Only of nn.Sequential, whose modules are run in the order in which they stand."""
    from torch import nn

    named = [(name, leaf) for name, leaf in module.named_modules() if not isinstance(leaf, nn.Sequential)]
    if any(list(leaf.children()) for _, leaf in named) or not isinstance(module, nn.Sequential):
        return None
    kinds = [type(leaf) for _, leaf in named]
    num_layers = kinds.count(nn.Linear)
    if kinds != [nn.Flatten, *[nn.Linear, nn.ReLU] * (num_layers - 1), nn.Linear]:
        return None
    return tuple(
        Dense(entries[f"{name}.weight"], entries.get(f"{name}.bias"))
        for name, leaf in named
        if isinstance(leaf, nn.Linear)
    )
