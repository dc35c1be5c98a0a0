"""How one client's local SGD is computed. All classes do the same arithmetic; `choose` names the fastest.

A step is w <- w - lr · v, v <- momentum · v + gradient + mu · (w - w_sent), with v at rest when a round
begins and the gradient of the batch's mean cross-entropy. Images are divided by 255, as by
ToTensor, no more.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs
from threadpoolctl import ThreadpoolController

from tuneapp.federated.blueprint import Blueprint, Dense
from tuneapp.federated.clients import Federation
from tuneapp.federated.partitions import Indices, Labels
from tuneapp.federated.strategies import Weights

if TYPE_CHECKING:
    import torch

Images = NDArray[np.uint8]  # [N, H, W, C]
Array = NDArray[Any]  # of the federation's dtype


@dataclass(frozen=True)
class Job:
    """One client's part of a round."""

    batches: Iterable[Indices]  # rows of the training set, one item per step
    seed: int  # of the dropout layers


@dataclass(frozen=True)
class Trained:
    state: Weights  # after the client's last step; overwritten by the next client's
    loss: float  # summed over steps, each its batch's mean


class ClientSGD(Protocol):
    def train(self, state: Weights, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        """Train each client from `state`, in order."""

    def logits(self, state: Weights, images: Images) -> Array:
        """[B, K], with dropout off."""


def choose(blueprint: Blueprint, device: str) -> str:
    """blas for a plain perceptron on a CPU. batched on a GPU, unless a layer keeps statistics or draws
    numbers, which clients side by side would share. autograd for all else."""
    if device == "cpu":
        return "blas" if blueprint.dense is not None else "autograd"
    return "autograd" if blueprint.buffers or blueprint.has_dropout else "batched"


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Products this small stall on two threads, and their bits must not depend on the number of threads."""
    import sys

    torch = sys.modules.get("torch")  # actors that use blas never import it
    before = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    try:
        with _threadpools().limit(limits=1, user_api="blas"):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)


def channels_first(images: Images) -> Images:
    """[B, H, W, C] -> [B, C, H, W]."""
    if images.shape[3] == 1:  # the same bytes; a transposed view would take numpy six times as long
        return images.reshape(len(images), 1, *images.shape[1:3])
    return images.transpose(0, 3, 1, 2)


def scaled(images: Images, dtype: Any) -> Array:
    """uint8 [B, H, W, C] -> [B, C, H, W] of 0 to 1."""
    divided: Array = np.divide(channels_first(images), dtype(255), dtype=dtype, order="C")
    return divided


class BlasSGD:
    """Trains a perceptron by bare matrix products; the backward pass is written out.

    A layer is one matrix [inputs + 1, outputs], the biases its last row; its input has a last feature that is
    always 1. Activations stand feature-major, [features + 1, B], so that a layer's gradient is one BLAS call
    that adds itself to the weights (beta = 1) in place: no gradient is stored, no autograd graph is made. One
    client trains after the other on one set of weights, which stays in the core's cache; side by side they
    would not. Pixels that are black in all of a client's batches, three in ten of MNIST's, have no part in
    its round: their weights do not change, and those of the others are gathered first.
    """

    def __init__(self, federation: Federation, images: Images, labels: Labels) -> None:
        assert federation.blueprint.dense is not None
        # As a plain array: numpy.memmap would make a memmap of every batch.
        self.federation, self.images, self.labels = federation, np.asarray(images), labels
        self.dtype = np.dtype(federation.dtype).type
        self.layers = federation.blueprint.dense
        self.trained = np.empty(federation.blueprint.num_weights, self.dtype)
        self.gathered = np.empty_like(self.trained)
        self.gemm: Callable[..., Array] = get_blas_funcs("gemm", dtype=self.dtype)

    def train(self, state: Weights, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        first = self.layers[0]
        sent_rows = _matrix(state, first)
        for job in jobs:
            batches = list(job.batches)
            brightest = np.maximum.reduce([self._pixels(self.images[rows]).max(axis=0) for rows in batches])
            lit = np.flatnonzero(brightest)
            rows = np.append(lit, first.inputs)
            at = len(rows) * first.outputs
            flat = self.gathered[: at + len(state) - first.stop]
            np.take(sent_rows, rows, axis=0, out=flat[:at].reshape(len(rows), -1), mode="clip")
            flat[at:] = state[first.stop :]
            # Too large a lr ends in inf and nan, which the caller looks for; numpy need not warn as well.
            with np.errstate(all="ignore"):
                loss = self._client(flat, lr, lit, batches)
            np.copyto(self.trained, state)
            _matrix(self.trained, first)[rows] = flat[:at].reshape(len(rows), -1)
            self.trained[first.stop :] = flat[at:]
            yield Trained(self.trained, loss)

    def logits(self, state: Weights, images: Images) -> Array:
        pixels = self._pixels(images)
        with np.errstate(all="ignore"):
            weights = [_matrix(state, layer) for layer in self.layers]
            return self._forward(weights, self._input(pixels))[-1].T

    def _pixels(self, images: Images) -> Images:
        """uint8 [B, H, W, C] -> [B, C · H · W]."""
        return channels_first(images).reshape(len(images), -1)

    def _input(self, pixels: Images) -> Array:
        """uint8 [B, features] -> [features + 1, B]."""
        x = np.empty((len(pixels), pixels.shape[1] + 1), self.dtype)
        np.divide(pixels, self.dtype(255), out=x[:, :-1], dtype=self.dtype)
        x[:, -1] = 1
        return x.T

    def _client(self, flat: Array, lr: float, lit: Indices, batches: list[Indices]) -> float:
        """Trains the weights, whose first layer has the lit pixels alone, in place. The loss, summed."""
        federation = self.federation
        offset = (self.layers[0].inputs - len(lit)) * self.layers[0].outputs
        layers = [replace(self.layers[0], inputs=len(lit))]
        layers += [replace(layer, start=layer.start - offset) for layer in self.layers[1:]]
        weights = [_matrix(flat, layer) for layer in layers]
        sent = flat.copy() if federation.proximal_mu else flat
        velocity = np.zeros_like(flat) if federation.momentum else flat
        into = [_matrix(velocity, layer) for layer in layers]
        factor, keep = (1.0, federation.momentum) if federation.momentum else (-lr, 1.0)
        total = 0.0
        for rows in batches:
            x = self._input(self._pixels(self.images[rows]).take(lit, axis=1, mode="clip"))
            if federation.proximal_mu:
                pull = self.dtype(factor * federation.proximal_mu) * (flat - sent)
            total += self._add_gradient(weights, x, self.labels[rows], into, factor, keep)
            if federation.proximal_mu:
                velocity += pull
            if federation.momentum:
                flat -= self.dtype(lr) * velocity
        return total

    def _forward(self, weights: list[Array], x: Array) -> list[Array]:
        """Each layer's input, [features + 1, B], after the ReLU of the one before, and the logits [K, B]."""
        features = [x]
        for matrix in weights[:-1]:
            output = np.empty((matrix.shape[1] + 1, x.shape[1]), self.dtype)
            np.matmul(matrix.T, features[-1], out=output[:-1])
            np.maximum(output[:-1], 0, out=output[:-1])
            output[-1] = 1
            features.append(output)
        return [*features, weights[-1].T @ features[-1]]

    def _add_gradient(
        self, weights: list[Array], x: Array, y: Labels, into: list[Array], factor: float, keep: float
    ) -> float:
        """into <- keep · into + factor · gradient of the mean cross-entropy, which is returned.

        Where `into` are the weights themselves, a layer changes only after the error has passed through it.
        """
        *features, logits = self._forward(weights, x)
        examples = np.arange(len(y))
        shifted = logits - logits.max(axis=0)
        delta = np.exp(shifted)  # becomes d loss / d logits
        sums = delta.sum(axis=0)
        loss = float((np.log(sums) - shifted[y, examples]).mean())
        delta /= sums
        delta[y, examples] -= 1
        delta /= self.dtype(len(y))
        for position in reversed(range(len(weights))):
            below, passed_on = features[position], delta
            if position:
                delta = weights[position][:-1] @ passed_on
                delta *= below[:-1] > 0
            # Row-major [inputs, outputs] is BLAS's column-major [outputs, inputs]: no operand is copied.
            (a, trans_a), (b, trans_b) = _column_major(passed_on), _column_major(below.T)
            c = into[position].T
            self.gemm(factor, a, b, beta=keep, c=c, overwrite_c=1, trans_a=trans_a, trans_b=trans_b)
        return loss


def _matrix(flat: Array, layer: Dense) -> Array:
    return flat[layer.start : layer.stop].reshape(layer.inputs + 1, layer.outputs)


def _column_major(array: Array) -> tuple[Array, bool]:
    """(the array or its transpose, whether it is transposed)."""
    return (array, False) if array.flags.f_contiguous else (array.T, True)


class AutogradSGD:
    """Trains any model by torch's autograd, without optimiser objects, whose first import costs seconds."""

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

    def train(self, state: Weights, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        import torch

        self.model.train()
        for job in jobs:
            self._load(state)
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(job.seed)
                loss = self._client(lr, job)
            yield Trained(self.flat.detach().cpu().numpy(), loss)

    def logits(self, state: Weights, images: Images) -> Array:
        import torch

        self.model.eval()
        self._load(state)
        with torch.inference_mode():
            return np.asarray(self.model(self._input(images)).cpu().numpy())

    def _load(self, state: Weights) -> None:
        import torch

        with torch.no_grad():
            self.flat.copy_(torch.tensor(state))

    def _input(self, images: Images) -> "torch.Tensor":
        import torch

        # Scaled before the transfer, so that every device sees the very same numbers.
        return torch.from_numpy(scaled(images, np.dtype(self.federation.dtype).type)).to(self.device)

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


class BatchedSGD:
    """Trains clients side by side by torch.func.vmap: one client's products are too small to fill a GPU.

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

    def train(self, state: Weights, lr: float, jobs: Iterable[Job]) -> Iterator[Trained]:
        waiting = list(jobs)
        for first in range(0, len(waiting), self.at_once):
            yield from self._side_by_side(state, lr, waiting[first : first + self.at_once])

    def logits(self, state: Weights, images: Images) -> Array:
        import torch
        from torch.func import functional_call

        flat = torch.tensor(state, device=self.device)
        weights = {entry.name: entry.of(flat) for entry in self.federation.blueprint.entries}
        self.model.eval()
        with torch.inference_mode():
            x = self._input(torch.from_numpy(np.array(images)).to(self.device))
            return np.asarray(functional_call(self.model, weights, (x,)).cpu().numpy())

    def _input(self, images: "torch.Tensor") -> "torch.Tensor":
        """uint8 [..., H, W, C] -> [..., C, H, W] of 0 to 1."""
        return images.movedim(-1, -3).to(self.dtype) / 255

    def _side_by_side(self, state: Weights, lr: float, jobs: list[Job]) -> Iterator[Trained]:
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
                weights = {entry.name: entry.of(flat) for entry in entries}
                gradients, loss = gradient(weights, self._input(self.images[at]), self.labels[at], counts)
                change = torch.cat([entry.flattened(gradients[entry.name]) for entry in entries], dim=1)
                change += federation.proximal_mu * (flat - sent)
                velocity = federation.momentum * velocity + change
                works = (counts.sum(dim=1) > 0)[:, None]  # clients that still have a step to do
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


CLIENT_SGD: dict[str, Callable[[Federation, Images, Labels], ClientSGD]] = {
    "blas": BlasSGD,
    "autograd": AutogradSGD,
    "batched": BatchedSGD,
}
