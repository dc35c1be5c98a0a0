"""How one client's local SGD is computed. All do the same arithmetic; `choose` says which is fastest.

A step is w <- w - lr · v, v <- momentum · v + gradient + mu · (w - w_sent), with v at rest when a round
begins and the gradient of the batch's mean cross-entropy. Pictures are divided by 255, as by
ToTensor, no more.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs
from threadpoolctl import ThreadpoolController

from tuneapp.federated.blueprint import Blueprint
from tuneapp.federated.clients import Federation
from tuneapp.federated.partitions import Indices, Labels
from tuneapp.federated.strategies import State

if TYPE_CHECKING:
    import torch

Images = NDArray[np.uint8]  # [N, H, W, C]
Array = NDArray[Any]  # of the federation's dtype


@dataclass(frozen=True)
class Job:
    """One client's part of a round."""

    batches: Iterable[Indices]  # rows of the training set, one item a step
    seed: int  # of the dropout layers


@dataclass(frozen=True)
class Trained:
    state: State  # after the client's last step; overwritten by the engine's next client
    loss: float  # summed over steps, each its batch's mean


class ClientEngine(Protocol):
    def train(self, state: State, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        """Each client from `state`, in order."""

    def logits(self, state: State, pictures: Images) -> Array:
        """[B, K], as an evaluation sees them."""


def choose(blueprint: Blueprint, device: str) -> str:
    """A plain perceptron on a CPU: blas. On a GPU: batched, if no layer keeps statistics or draws numbers,
    which clients side by side would share. All else: autograd."""
    if device == "cpu":
        return "blas" if blueprint.dense is not None else "autograd"
    return "autograd" if blueprint.buffers or blueprint.draws else "batched"


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Products this small stall on two threads, and their bits must not depend on how many a machine has."""
    import sys

    torch = sys.modules.get("torch")  # the blas engine's actors never import it
    before = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    try:
        with _threadpools().limit(limits=1, user_api="blas"):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)


def scaled(pictures: Images, dtype: Any) -> Array:
    """uint8 [B, H, W, C] -> [B, C, H, W] of 0 to 1."""
    if pictures.shape[3] == 1:  # the same bytes; a transposed view would take numpy six times as long
        first = pictures.reshape(len(pictures), 1, *pictures.shape[1:3])
    else:
        first = pictures.transpose(0, 3, 1, 2)
    divided: Array = np.divide(first, dtype(255), dtype=dtype, order="C")
    return divided


class BlasEngine:
    """A perceptron by bare matrix products, its backward pass written out.

    Activations stand feature-major, [features, B], so that the weight gradient is one BLAS call that adds
    itself to the weights (beta = 1) in place: no gradient is stored, and no autograd graph is made. One
    client trains after the other on one set of weights, which stays in the core's cache; side by side they
    would not.
    """

    def __init__(self, federation: Federation, images: Images, labels: Labels) -> None:
        assert federation.blueprint.dense is not None
        # As a plain array: numpy.memmap would make a memmap of every batch.
        self.federation, self.images, self.labels = federation, np.asarray(images), labels
        self.dtype = np.dtype(federation.dtype).type
        self.flat = np.empty(federation.blueprint.num_weights, self.dtype)
        self.velocity = np.empty_like(self.flat) if federation.momentum else None
        self.gemm: Callable[..., Array] = get_blas_funcs("gemm", dtype=self.dtype)
        self.layers = federation.blueprint.dense

    def train(self, state: State, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        for job in jobs:
            np.copyto(self.flat, state)
            if self.velocity is not None:
                self.velocity[:] = 0
            # A lr too large ends in inf and nan, which the caller looks for; numpy need not say so too.
            with np.errstate(all="ignore"):
                loss = sum(self._step(state, lr, rows) for rows in job.batches)
            yield Trained(self.flat, loss)

    def logits(self, state: State, pictures: Images) -> Array:
        with np.errstate(all="ignore"):
            return self._forward(state, self._flattened(pictures))[-1].T

    def _flattened(self, pictures: Images) -> Array:
        return scaled(pictures, self.dtype).reshape(len(pictures), -1)

    def _forward(self, flat: Array, x: Array) -> list[Array]:
        """Each layer's output, [features, B], after its ReLU but for the last, the logits."""
        outputs: list[Array] = []
        features = x.T
        for layer in self.layers:
            if outputs:
                features = np.maximum(outputs[-1], 0, out=outputs[-1])
            output = layer.weight.of(flat) @ features
            if layer.bias is not None:
                output += layer.bias.of(flat)[:, None]
            outputs.append(output)
        return outputs

    def _step(self, sent: State, lr: float, rows: Indices) -> float:
        federation = self.federation
        x, y = self._flattened(self.images[rows]), self.labels[rows]
        outputs = self._forward(self.flat, x)
        examples = np.arange(len(rows))
        shifted = outputs[-1] - outputs[-1].max(axis=0)
        delta = np.exp(shifted)  # becomes d loss / d logits
        sums = delta.sum(axis=0)
        loss = float((np.log(sums) - shifted[y, examples]).mean())
        delta /= sums
        delta[y, examples] -= 1
        delta /= self.dtype(len(rows))

        if federation.proximal_mu:
            pull = self.flat - sent
        if self.velocity is None:
            into, factor, keep = self.flat, -lr, 1.0
        else:
            into, factor, keep = self.velocity, 1.0, federation.momentum
        ones = np.ones(len(rows), self.dtype)
        for position in reversed(range(len(self.layers))):
            layer = self.layers[position]
            below = outputs[position - 1] if position else x.T
            passed_on = delta
            if position:
                delta = layer.weight.of(self.flat).T @ passed_on
                delta *= below > 0
            if layer.bias is not None:
                bias = layer.bias.of(into)
                bias *= self.dtype(keep)
                bias += self.dtype(factor) * (passed_on @ ones)
            # Row-major [outputs, inputs] is BLAS's column-major [inputs, outputs]: no operand is copied.
            self._add_product(below, passed_on.T, layer.weight.of(into).T, factor, keep)
        if federation.proximal_mu:
            into += self.dtype(factor * federation.proximal_mu) * pull
        if self.velocity is not None:
            self.flat -= self.dtype(lr) * self.velocity
        return loss

    def _add_product(self, below: Array, delta: Array, into: Array, factor: float, keep: float) -> None:
        """into <- keep · into + factor · below @ delta, in place; into is column-major."""
        if below.flags.f_contiguous:
            self.gemm(factor, below, delta, beta=keep, c=into, overwrite_c=1)
        else:
            self.gemm(factor, below.T, delta, beta=keep, c=into, overwrite_c=1, trans_a=1)


class AutogradEngine:
    """Any model, by torch's autograd, without optimiser objects: their first import costs seconds."""

    def __init__(self, federation: Federation, images: Images, labels: Labels) -> None:
        import torch

        self.federation, self.images, self.labels = federation, np.asarray(images), labels
        self.device = torch.device(federation.device)
        self.dtype = getattr(torch, federation.dtype)
        blueprint = federation.blueprint
        self.model = blueprint.build().to(self.device, self.dtype)
        self.flat = torch.empty(blueprint.num_weights, dtype=self.dtype, device=self.device)
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        for entry in blueprint.entries:
            tensors[entry.name].data = entry.of(self.flat)
        self.weights = [tensors[entry.name] for entry in blueprint.entries if entry.trained]
        self.model.requires_grad_()

    def train(self, state: State, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        import torch

        self.model.train()
        for job in jobs:
            self._load(state)
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(job.seed)
                loss = self._client(lr, job)
            yield Trained(self.flat.detach().cpu().numpy(), loss)

    def logits(self, state: State, pictures: Images) -> Array:
        import torch

        self.model.eval()
        self._load(state)
        with torch.inference_mode():
            return np.asarray(self.model(self._input(pictures)).cpu().numpy())

    def _load(self, state: State) -> None:
        import torch

        with torch.no_grad():
            self.flat.copy_(torch.tensor(state))

    def _input(self, pictures: Images) -> "torch.Tensor":
        import torch

        # Scaled before the transfer, so that every device sees the very same numbers.
        return torch.from_numpy(scaled(pictures, np.dtype(self.federation.dtype).type)).to(self.device)

    def _client(self, lr: float, job: Job) -> float:
        import torch
        from torch.nn.functional import cross_entropy

        federation = self.federation
        sent = [weight.detach().clone() for weight in self.weights] if federation.proximal_mu else []
        velocity: list[torch.Tensor] = []
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for rows in job.batches:
            y = torch.from_numpy(self.labels[rows]).to(self.device)
            loss = cross_entropy(self.model(self._input(self.images[rows])), y)
            change = list(torch.autograd.grad(loss, self.weights))
            with torch.no_grad():
                if sent:
                    torch._foreach_add_(
                        change, torch._foreach_sub(self.weights, sent), alpha=federation.proximal_mu
                    )
                if federation.momentum and velocity:
                    torch._foreach_add_(change, velocity, alpha=federation.momentum)
                velocity = change
                torch._foreach_add_(self.weights, change, alpha=-lr)
                total += loss
        return float(total)


class BatchedEngine:
    """Clients side by side, by torch.func.vmap: on a GPU one client's products are too small to fill it.

    Clients that have fewer steps, and batches that have fewer examples, are filled up and masked.
    """

    MOST_WEIGHTS = 2**27  # of all clients side by side; their activations take about as much again
    MOST_CLIENTS = 128

    def __init__(self, federation: Federation, images: Images, labels: Labels) -> None:
        import torch

        self.federation = federation
        self.device = torch.device(federation.device)
        self.dtype = getattr(torch, federation.dtype)
        blueprint = federation.blueprint
        self.model = blueprint.build().to(self.device, self.dtype)
        self.images = torch.from_numpy(np.array(images)).to(self.device)  # resident: uint8 is small
        self.labels = torch.from_numpy(np.array(labels)).to(self.device)
        self.at_once = max(1, min(self.MOST_CLIENTS, self.MOST_WEIGHTS // blueprint.num_weights))

    def train(self, state: State, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        waiting = list(jobs)
        for first in range(0, len(waiting), self.at_once):
            yield from self._side_by_side(state, lr, waiting[first : first + self.at_once])

    def logits(self, state: State, pictures: Images) -> Array:
        import torch
        from torch.func import functional_call

        flat = torch.tensor(state, device=self.device)
        weights = {entry.name: entry.of(flat) for entry in self.federation.blueprint.entries}
        self.model.eval()
        with torch.inference_mode():
            x = self._input(torch.from_numpy(np.array(pictures)).to(self.device))
            return np.asarray(functional_call(self.model, weights, (x,)).cpu().numpy())

    def _input(self, pictures: "torch.Tensor") -> "torch.Tensor":
        """uint8 [..., H, W, C] -> [..., C, H, W] of 0 to 1."""
        return pictures.movedim(-1, -3).to(self.dtype) / 255

    def _side_by_side(self, state: State, lr: float, jobs: list[Job]) -> Iterator[Trained]:
        import torch
        from torch.func import functional_call, grad_and_value, vmap
        from torch.nn.functional import cross_entropy

        federation, entries = self.federation, self.federation.blueprint.entries
        sent = torch.tensor(state, device=self.device)
        flat = sent.repeat(len(jobs), 1)  # [M, P]
        rows, present = _filled_up([list(job.batches) for job in jobs])

        def batch_loss(
            weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor, counts: torch.Tensor
        ) -> torch.Tensor:
            losses = cross_entropy(functional_call(self.model, weights, (x,)), y, reduction="none")
            return (losses * counts).sum() / counts.sum().clamp(min=1)

        gradient = vmap(grad_and_value(batch_loss))
        self.model.train()
        velocity = torch.zeros_like(flat)
        total = torch.zeros(len(jobs), dtype=torch.float64, device=self.device)
        with torch.no_grad():
            for step in range(rows.shape[1]):
                at = torch.from_numpy(rows[:, step]).to(self.device)
                counts = torch.from_numpy(present[:, step]).to(self.device, self.dtype)
                weights = {e.name: flat[:, e.start : e.stop].reshape(-1, *e.shape) for e in entries}
                gradients, loss = gradient(weights, self._input(self.images[at]), self.labels[at], counts)
                change = torch.cat([gradients[entry.name].flatten(1) for entry in entries], dim=1)
                change += federation.proximal_mu * (flat - sent)
                velocity = federation.momentum * velocity + change
                works = (counts.sum(dim=1) > 0)[:, None]  # those that still have a step to do
                flat = torch.where(works, flat - lr * velocity, flat)
                total += torch.where(works[:, 0], loss, 0)
        losses = total.cpu().numpy()
        for client_state, loss in zip(flat.cpu().numpy(), losses, strict=True):
            yield Trained(client_state, float(loss))


def _filled_up(batches: list[list[Indices]]) -> tuple[Indices, NDArray[np.bool_]]:
    """Rows [M, steps, B] and which of them are there; row 0 stands in for the others."""
    steps = max(len(client) for client in batches)
    size = max(len(rows) for client in batches for rows in client)
    filled = np.zeros((len(batches), steps, size), np.int64)
    present = np.zeros(filled.shape, bool)
    for position, client in enumerate(batches):
        for step, rows in enumerate(client):
            filled[position, step, : len(rows)] = rows
            present[position, step, : len(rows)] = True
    return filled, present


ENGINES: dict[str, Callable[[Federation, Images, Labels], ClientEngine]] = {
    "blas": BlasEngine,
    "autograd": AutogradEngine,
    "batched": BatchedEngine,
}
