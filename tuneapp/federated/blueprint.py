"""A model as a federation sees it: one flat array of weights, and the place of each tensor in it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneapp.federated.strategies import Weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Entry:
    """A tensor of the model's state dict within the flat state."""

    name: str
    shape: tuple[int, ...]
    start: int
    trained: bool  # False: a buffer, such as batch norm's running mean; averaged with the weights

    inputs_first: bool = False  # lies in the flat state as [inputs, outputs], not as torch has it

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)

    def of(self, flat: Any) -> Any:
        """Its view of flat arrays or tensors: [..., P] -> [..., *shape]."""
        shape = self.shape[::-1] if self.inputs_first else self.shape
        view = flat[..., self.start : self.stop].reshape(*flat.shape[:-1], *shape)
        return view.mT if self.inputs_first else view

    def flattened(self, values: Any) -> Any:
        """What `of` sees, flat: [M, *shape] -> [M, …]."""
        return (values.mT if self.inputs_first else values).reshape(len(values), -1)


@dataclass(frozen=True)
class Dense:
    """A layer of a plain multilayer perceptron."""

    start: int
    inputs: int
    outputs: int

    @property
    def stop(self) -> int:
        return self.start + (self.inputs + 1) * self.outputs


@dataclass(frozen=True)
class Blueprint:
    """What builds the model in any process. Whole-number counters are no part of its weights."""

    model: str
    classes: int
    channels: int
    size: int
    hyperparameters: dict[str, Any]
    entries: tuple[Entry, ...]
    dense: tuple[Dense, ...] | None  # the layers, where the model is Linear, ReLU, Linear … and nothing else;
    # each lies in the state as one matrix, [inputs + 1, outputs]: its last row is the biases
    has_dropout: bool
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
) -> tuple[Blueprint, Weights]:
    """The model's blueprint and its first weights, float32 [P], drawn from `seed`."""
    import torch
    from torch import nn

    from tuneapp import models

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = models.build(model, classes=classes, channels=channels, size=size, **hyperparameters)
    trained = {name for name, _ in module.named_parameters()}
    linear = _linear_layers(module)
    inputs_first = {f"{name}.weight" for name in linear or ()}
    entries: list[Entry] = []
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            start = entries[-1].stop if entries else 0
            entries.append(Entry(name, tuple(tensor.shape), start, name in trained, name in inputs_first))
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    blueprint = Blueprint(
        model,
        classes,
        channels,
        size,
        hyperparameters,
        tuple(entries),
        dense=tuple(Dense(e.start, *e.shape[::-1]) for e in entries if e.inputs_first) or None,
        has_dropout=any(isinstance(leaf, nn.Dropout | nn.Dropout2d | nn.AlphaDropout) for leaf in leaves),
        buffers=bool(list(module.named_buffers())),
    )
    state = np.empty(blueprint.num_weights, np.float32)
    for entry, tensor in zip(
        entries, (t for t in module.state_dict().values() if t.is_floating_point()), strict=True
    ):
        entry.of(state)[...] = tensor.numpy()
    return blueprint, state


def _linear_layers(module: "nn.Module") -> list[str] | None:
    """Names of the layers, if the model is a plain perceptron: of nn.Sequential, which runs them in order."""
    from torch import nn

    named = [(name, leaf) for name, leaf in module.named_modules() if not isinstance(leaf, nn.Sequential)]
    if any(list(leaf.children()) for _, leaf in named) or not isinstance(module, nn.Sequential):
        return None
    linear = [(name, leaf) for name, leaf in named if isinstance(leaf, nn.Linear)]
    kinds = [nn.Flatten, *[nn.Linear, nn.ReLU] * (len(linear) - 1), nn.Linear]
    if [type(leaf) for _, leaf in named] != kinds or any(leaf.bias is None for _, leaf in linear):
        return None
    return [name for name, _ in linear]
