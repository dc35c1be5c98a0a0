"""Optimisers on torch's functional, fused forms.

Building a `torch.optim` object imports torch._dynamo: 909 modules, 1.4-2 s and 160 MB in each worker.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam as adam_step
from torch.optim.sgd import sgd as sgd_step

OptimizerState = dict[str, list[Tensor]]


class Optimizer(Protocol):
    """Holds a model's weights. `step` uses the gradients of the last backward pass and frees them."""

    def step(self, lr: float) -> None: ...

    def state(self) -> OptimizerState:
        """The optimiser's own tensors, not copies. A checkpoint stores them; `copy_` fills them from one."""
        ...


class _Group:
    """The weights that share one weight decay."""

    def __init__(self, weights: list[nn.Parameter], weight_decay: float) -> None:
        self.weights = weights
        self.weight_decay = weight_decay

    def zeros(self) -> list[Tensor]:
        return [torch.zeros_like(weight, memory_format=torch.preserve_format) for weight in self.weights]

    def gradients(self) -> list[Tensor]:
        """Taken off the weights, so that the next backward pass sets new ones instead of adding to these."""
        gradients = []
        for weight in self.weights:
            assert weight.grad is not None
            gradients.append(weight.grad)
            weight.grad = None
        return gradients


def _groups(model: nn.Module, weight_decay: float) -> list[_Group]:
    """Matrices and kernels decay; biases and the scales and shifts of norms, all of one dimension, do not."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    decaying = [weight for weight in weights if weight.ndim > 1]
    others = [weight for weight in weights if weight.ndim <= 1]
    return [_Group(group, decay) for group, decay in ((decaying, weight_decay), (others, 0.0)) if group]


class SGD:
    """Stochastic gradient descent; the momentum's buffers start at zero."""

    def __init__(self, model: nn.Module, *, momentum: float, nesterov: bool, weight_decay: float) -> None:
        self.momentum = momentum
        self.nesterov = nesterov and momentum > 0
        self.groups = _groups(model, weight_decay)
        self.velocity = [group.zeros() if momentum else [] for group in self.groups]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for group, velocity in zip(self.groups, self.velocity, strict=True):
            sgd_step(
                list(group.weights),
                group.gradients(),
                list(velocity) if velocity else [None] * len(group.weights),
                fused=True,
                weight_decay=group.weight_decay,
                momentum=self.momentum,
                lr=lr,
                dampening=0.0,
                nesterov=self.nesterov,
                maximize=False,
            )

    def state(self) -> OptimizerState:
        return {"velocity": [tensor for group in self.velocity for tensor in group]}


class Adam:
    """Adam (Kingma and Ba, 2015): decay is part of the gradient. AdamW (Loshchilov and Hutter, 2019) with
    `decoupled`: decay shrinks the weights by lr·weight_decay per step."""

    def __init__(self, model: nn.Module, *, momentum: float, weight_decay: float, decoupled: bool) -> None:
        self.betas = (momentum, 0.999)
        self.decoupled = decoupled
        self.groups = _groups(model, weight_decay)
        self.means = [group.zeros() for group in self.groups]
        self.squares = [group.zeros() for group in self.groups]
        self.steps = [
            [torch.zeros((), dtype=torch.float32, device=weight.device) for weight in group.weights]
            for group in self.groups
        ]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for group, means, squares, steps in zip(
            self.groups, self.means, self.squares, self.steps, strict=True
        ):
            adam_step(
                list(group.weights),
                group.gradients(),
                means,
                squares,
                [],
                steps,
                fused=True,
                decoupled_weight_decay=self.decoupled,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=lr,
                weight_decay=group.weight_decay,
                eps=1e-8,
                maximize=False,
            )

    def state(self) -> OptimizerState:
        named = {"means": self.means, "squares": self.squares, "steps": self.steps}
        return {name: [tensor for group in groups for tensor in group] for name, groups in named.items()}


def _sgd(model: nn.Module, *, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    return SGD(model, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def _adam(model: nn.Module, *, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    return Adam(model, momentum=momentum, weight_decay=weight_decay, decoupled=False)


def _adamw(model: nn.Module, *, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    return Adam(model, momentum=momentum, weight_decay=weight_decay, decoupled=True)


OPTIMIZERS: dict[str, Callable[..., Any]] = {"sgd": _sgd, "adam": _adam, "adamw": _adamw}
