"""One trial: epochs of training, each with its metrics, from a checkpoint to a checkpoint."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuneapp import models
from tuneapp.data import ImageSet, stratified_split, stratified_subset
from tuneapp.data.batches import Batches, channel_statistics
from tuneapp.data.image_sets import Images, Labels
from tuneapp.data.splits import Indices
from tuneapp.errors import TuneappError, UsageError, lookup
from tuneapp.objective import Context, Diverged
from tuneapp.settings import Config, Metrics
from tuneapp.training import train_checkpoint
from tuneapp.training.optimizers import OPTIMIZERS, Optimizer
from tuneapp.training.schedules import learning_rate
from tuneapp.training.train_checkpoint import TrainCheckpoint
from tuneapp.training.train_config import AUGMENTATIONS, TrainConfig, split_config

EPOCHS = 30  # the fallback where neither the config nor the study names a number
STEPS_BETWEEN_CHECKS = 20  # of the loss: reading it makes a GPU wait
PRECISIONS = ("auto", "float32", "bfloat16")


def train(
    config: Config,
    context: Context,
    images: ImageSet,
    *,
    examples: int | None = None,
    val_share: float = 0.1,
    split_seed: int = 0,
    precision: str = "auto",
) -> Iterator[Metrics]:
    """Yields after each epoch train_loss, train_accuracy (of the augmented images, as they were learned
    from), val_loss, val_accuracy, lr (of the last step), iteration_seconds and
    examples_per_second (of training).

    Losses are cross-entropies without label smoothing, accuracies shares of 1. `examples` are drawn by class
    and `split_seed`, and `val_share` of them set apart for validation. The weights, the order of examples
    and dropout come from `context.seed`. On a CPU, going on from `context.checkpoint` gives the very bits of
    an uninterrupted run with the same number of threads. Raises UsageError for a bad config, TuneappError for
    a checkpoint of another trial, Diverged where the loss is not finite.
    """
    torch.set_num_threads(context.threads)
    settings, hyperparameters = split_config(config)
    epochs = context.iterations(settings.epochs, EPOCHS)
    device = torch.device(context.device)
    dtype = resolve_precision(precision, device)
    train_rows, val_rows = _split(images, examples, val_share, split_seed)
    meta = _meta(images, train_rows, settings.model, hyperparameters)
    with _seeded(device, context.seed):
        model = _build(meta, device)
    optimizer: Optimizer = OPTIMIZERS[settings.optimizer](
        model,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )
    fingerprint = train_checkpoint.fingerprint(
        settings=asdict(settings),
        meta=meta,
        checksum=images.checksum,
        seed=context.seed,
        split=[examples, val_share, split_seed],
        epochs=epochs,
        precision=str(dtype),
    )
    start = 0
    if context.checkpoint is not None:
        start = _go_on(train_checkpoint.read(context.checkpoint), fingerprint, model, optimizer)

    flip, crop = AUGMENTATIONS[settings.augment]
    train_batches = Batches(
        images.train_images,
        images.train_labels,
        index=train_rows,
        batch_size=settings.batch_size,
        flip=flip and images.flip,
        crop=crop,
        mean=meta["mean"],
        std=meta["std"],
        device=device,
        dtype=dtype,
        seed=context.seed,
    )
    val_batches = _in_order(images.train_images, images.train_labels, val_rows, meta, device, dtype)
    for epoch in range(start, epochs):
        began = time.perf_counter()
        with _seeded(device, context.seed, epoch):
            train_loss, train_accuracy, lr = _train_epoch(
                model, optimizer, train_batches, settings, epoch, epochs, dtype
            )
        trained = time.perf_counter()
        val_loss, val_accuracy = _measure(model, val_batches, dtype)
        if not math.isfinite(val_loss):
            raise Diverged(f"val_loss is {val_loss} after epoch {epoch + 1}")
        if context.folder is not None:
            state = TrainCheckpoint(epoch + 1, fingerprint, meta, model.state_dict(), optimizer.state())
            train_checkpoint.write(context.folder, state)
        yield {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "lr": lr,
            "iteration_seconds": time.perf_counter() - began,
            "examples_per_second": train_batches.examples / (trained - began),
        }


def evaluate(context: Context, images: ImageSet, *, precision: str = "auto") -> Metrics:
    """test_loss and test_accuracy of the weights in `context.checkpoint`: for the incumbent, once."""
    assert context.checkpoint is not None
    torch.set_num_threads(context.threads)
    device = torch.device(context.device)
    dtype = resolve_precision(precision, device)
    state = train_checkpoint.read(context.checkpoint)
    model = _build(state.meta, device)
    model.load_state_dict(state.model)
    batches = _in_order(images.test_images, images.test_labels, None, state.meta, device, dtype)
    loss, accuracy = _measure(model, batches, dtype)
    return {"test_loss": loss, "test_accuracy": accuracy}


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device computes in it, float32 elsewhere. Never float16: it is slow on
    CPUs and needs a scaled loss."""
    lookup(name, {choice: choice for choice in PRECISIONS}, "precision")
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = any(torch.cpu.get_capabilities().get(flag) for flag in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if name == "bfloat16" or (name == "auto" and able) else torch.float32


def _meta(images: ImageSet, rows: Indices, model: str, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Plain values, enough to build the model and to feed it. mean and std are of the training images."""
    height, width, channels = images.shape
    if height != width:
        raise UsageError(f"Images must be square, but those of {images.name} are {width}x{height} pixels.")
    mean, std = channel_statistics(images.train_images, rows)
    return {
        "dataset": images.name,
        "classes": list(images.classes),
        "channels": channels,
        "size": height,
        "mean": mean,
        "std": std,
        "model": model,
        "hyperparameters": hyperparameters,
        **({"decoding": dict(images.decoding)} if images.decoding else {}),
    }


def _build(meta: dict[str, Any], device: torch.device) -> nn.Module:
    model = models.build(
        meta["model"],
        classes=len(meta["classes"]),
        channels=meta["channels"],
        size=meta["size"],
        **meta["hyperparameters"],
    )
    return model.to(device).to(memory_format=torch.channels_last)


def _go_on(state: TrainCheckpoint, fingerprint: str, model: nn.Module, optimizer: Optimizer) -> int:
    """Put a checkpoint's tensors in place; returns the number of epochs they have been trained."""
    if state.fingerprint != fingerprint:
        raise TuneappError(
            "A trial must go on from its own checkpoint, but this one was written with another config, seed, "
            "split, precision or number of epochs; start the trial anew."
        )
    model.load_state_dict(state.model)
    for name, tensors in optimizer.state().items():
        for tensor, saved in zip(tensors, state.optimizer[name], strict=True):
            tensor.copy_(saved)
    return state.epoch


def _split(
    images: ImageSet, examples: int | None, val_share: float, split_seed: int
) -> tuple[Indices, Indices]:
    """Rows of the training set to learn from, and to validate on."""
    if not 0 < val_share < 1:
        raise UsageError(f"`val_share` must be between 0 and 1, but got {val_share}.")
    labels = images.train_labels
    rows = np.arange(len(labels)) if examples is None else stratified_subset(labels, examples, split_seed)
    train, val = stratified_split(labels[rows], val_share, split_seed)
    return rows[train], rows[val]


def _in_order(
    images: Images,
    labels: Labels,
    rows: Indices | None,
    meta: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
) -> Batches:
    """Batches to measure on. A CPU is fastest on what fits its cache: at 32 pixels 128 examples, where
    batches of 1,000 take 1.3-2.7 times as long per example. A GPU needs large batches."""
    pixels = 2**17 if device.type == "cpu" else 2**23
    return Batches(
        images,
        labels,
        index=rows,
        batch_size=min(1000, max(32, pixels // meta["size"] ** 2)),
        shuffle=False,
        mean=meta["mean"],
        std=meta["std"],
        device=device,
        dtype=dtype,
    )


@contextmanager
def _seeded(device: torch.device, *keys: int) -> Iterator[None]:
    """torch's global generator as (seed, epoch) say, and as it was before afterwards: no trial sees
    another's draws, in one process or interleaved."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0]))
        yield


def _train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    settings: TrainConfig,
    epoch: int,
    epochs: int,
    dtype: torch.dtype,
) -> tuple[float, float, float]:
    """(mean loss, accuracy, last learning rate). Sums stay on the device until the end."""
    model.train()
    loss_sum, correct = torch.zeros((), device=batches.device), torch.zeros((), device=batches.device)
    step, num_steps = epoch * len(batches), epochs * len(batches)
    lr = 0.0
    for x, y in batches.epoch(epoch):
        lr = learning_rate(settings.schedule, step, num_steps, peak=settings.lr, lr_warmup=settings.lr_warmup)
        logits = _forward(model, x, dtype)
        loss = F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing)
        torch.autograd.backward(loss)
        optimizer.step(lr)
        # Reported without label smoothing, so that it compares with val_loss and from trial to trial.
        plain = F.cross_entropy(logits.detach(), y) if settings.label_smoothing else loss.detach()
        loss_sum += plain * len(y)
        correct += (logits.detach().argmax(1) == y).sum()
        step += 1
        if step % STEPS_BETWEEN_CHECKS == 0:
            _must_be_finite(loss_sum, epoch, step)
    _must_be_finite(loss_sum, epoch, step)
    return float(loss_sum) / batches.examples, float(correct) / batches.examples, lr


def _must_be_finite(loss_sum: Tensor, epoch: int, step: int) -> None:
    if not math.isfinite(total := float(loss_sum)):
        raise Diverged(f"train_loss is {total} in epoch {epoch + 1}, at step {step} or shortly before")


def _forward(model: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Logits in float32. Weights and their updates are float32 whatever the precision."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits: Tensor = model(x)
    return logits.float()


@torch.inference_mode()
def _measure(model: nn.Module, batches: Batches, dtype: torch.dtype) -> tuple[float, float]:
    """(mean cross-entropy without label smoothing, accuracy)."""
    model.eval()
    loss_sum, correct = torch.zeros((), device=batches.device), torch.zeros((), device=batches.device)
    for x, y in batches.epoch():
        logits = _forward(model, x, dtype)
        loss_sum += F.cross_entropy(logits, y, reduction="sum")
        correct += (logits.argmax(1) == y).sum()
    return float(loss_sum) / batches.examples, float(correct) / batches.examples
