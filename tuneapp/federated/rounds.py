"""The federated objective: rounds of local training, each with its metrics, from checkpoint to checkpoint."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from tuneapp import models
from tuneapp.data import ImageSet, stratified_split
from tuneapp.errors import TuneappError, UsageError, at_least
from tuneapp.federated import server_checkpoint
from tuneapp.federated.blueprint import Blueprint, draw_up
from tuneapp.federated.client_sgd import CLIENT_SGD, choose
from tuneapp.federated.clients import Federation, draw_orders
from tuneapp.federated.evaluation import evaluate_clients, evaluate_rows
from tuneapp.federated.fed_config import FedConfig, split_config
from tuneapp.federated.partitions import Indices, check_sizes, partition
from tuneapp.federated.pools import ClientPool, LocalPool
from tuneapp.federated.server_checkpoint import ServerCheckpoint
from tuneapp.federated.strategies import STRATEGIES, Weights
from tuneapp.objective import Context, Diverged
from tuneapp.settings import Config, Metrics
from tuneapp.training.exported import CONFIG_FILE, WEIGHTS_FILE

ROUNDS = 32  # where neither the config nor the study names a number
VAL_EXAMPLES = 1000  # evaluating all 10,000 test images each round would cost more than training 8 clients
MOST_VAL_SHARE = 0.1  # of the training set
ALONE = {"clients": 1, "partition": "shared"}  # to read weights, for which no examples are dealt


@dataclass(frozen=True)
class Setup:
    """A federation before its first round."""

    settings: FedConfig
    federation: Federation
    state: Weights  # the first weights
    val_rows: Indices


def set_up(
    config: Config,
    context: Context,
    images: ImageSet,
    *,
    val_examples: int = VAL_EXAMPLES,
    split_seed: int = 0,
    client_sgd: str | None = None,
    dtype: str = "float32",
) -> Setup:
    """Deal the examples and draw the first weights. Raises UsageError for a bad config.

    `val_examples` of the training set are held out, at most a tenth of it. `split_seed` decides them and the
    partition, so that all trials of a study face the same clients; `context.seed` decides all else.
    """
    settings, hyperparameters = split_config(config)
    labels = images.train_labels
    train_rows, val_rows = stratified_split(labels, _held_out(len(labels), val_examples), split_seed)
    shares = partition(labels[train_rows], settings.clients, split_seed, settings.partition, settings.skew)
    blueprint, state = draw_up(
        settings.model, **_shape(images), hyperparameters=hyperparameters, seed=context.seed
    )
    federation = Federation(
        blueprint,
        shares=[train_rows[share] for share in shares],
        seed=context.seed,
        batch_size=settings.batch_size,
        local_steps=settings.local_steps,
        local_epochs=settings.local_epochs,
        momentum=settings.momentum,
        proximal_mu=settings.proximal_mu,
        by_examples=settings.weighting == "examples",
        client_sgd=client_sgd or choose(blueprint, context.device),
        device=context.device,
        dtype=dtype,
    )
    return Setup(settings, federation, state.astype(dtype), val_rows)


def check(config: Config, images: ImageSet, *, val_examples: int = VAL_EXAMPLES) -> None:
    """Raises UsageError for a config that could not run, without dealing an example."""
    import torch

    settings, hyperparameters = split_config(config)
    num_examples = len(images.train_labels)
    num_dealt = num_examples - round(_held_out(num_examples, val_examples) * num_examples)
    check_sizes(num_dealt, settings.clients, settings.partition, settings.skew)
    with torch.device("meta"):  # shapes alone: nothing is allocated
        models.build(settings.model, **_shape(images), **hyperparameters)


def rounds(
    config: Config,
    context: Context,
    images: ImageSet,
    pool: ClientPool | None = None,
    *,
    val_examples: int = VAL_EXAMPLES,
    eval_every: int = 1,
    per_client: bool = False,
    split_seed: int = 0,
    client_sgd: str | None = None,
    dtype: str = "float32",
) -> Iterator[Metrics]:
    """Yields after each round train_loss (summed over a client's local steps, averaged over clients),
    val_loss, val_accuracy (a share of 1), client_updates_per_second (of training), clients_answered,
    actor_restarts and iteration_seconds; with `per_client` also client_accuracy_mean and
    client_accuracy_worst_tenth.

    Evaluation runs every `eval_every` rounds and after the last one. Rounds in between repeat the most recent
    evaluation. There are config["rounds"] rounds, and at most `context.max_iterations`. The numbers are the
    same, bit for bit, with any pool, and after going on from `context.checkpoint`. Raises UsageError for a
    bad config, TuneappError for a checkpoint of another federation, Diverged where a loss is not finite.
    """
    at_least("eval_every", eval_every, 1)
    setup = set_up(
        config,
        context,
        images,
        val_examples=val_examples,
        split_seed=split_seed,
        client_sgd=client_sgd,
        dtype=dtype,
    )
    settings, federation = setup.settings, setup.federation
    last = context.iterations(settings.rounds, ROUNDS)
    fingerprint = _fingerprint(settings, federation, images, val_examples, eval_every, per_client, split_seed)
    now = ServerCheckpoint(0, setup.state, {}, {}, fingerprint)
    if context.checkpoint is not None:
        now = server_checkpoint.read(context.checkpoint)
        if now.fingerprint != fingerprint:
            raise TuneappError(
                "A federation must go on from its own checkpoint, but this one was written with another "
                "config, seed, split or evaluation; start the trial anew."
            )
    pool = pool or LocalPool()
    pool.host(federation, images.train_images, images.train_labels)
    evaluator = CLIENT_SGD[federation.client_sgd](federation, images.train_images, images.train_labels)
    strategy = STRATEGIES[settings.strategy]
    for number in range(now.rounds, last):
        began = time.perf_counter()
        orders = draw_orders(settings, federation, number)
        update = pool.train(now.state, orders)
        trained = time.perf_counter()
        train_loss = float(update.losses.mean())
        if not np.isfinite(train_loss):
            raise Diverged(f"train_loss is {train_loss} in round {number + 1}")
        weight = sum(federation.weight(client) for client in orders.clients)
        with np.errstate(all="ignore"):  # what overflows here is found by the evaluation or the next round
            total = update.total
            total /= total.dtype.type(weight)
            state, memory = strategy(now.state, total, now.memory, settings.server)
        evaluated = now.evaluated
        if (number + 1) % eval_every == 0 or number + 1 == last or not evaluated:
            loss, accuracy = evaluate_rows(
                evaluator, state, images.train_images, images.train_labels, setup.val_rows
            )
            if not np.isfinite(loss):
                raise Diverged(f"val_loss is {loss} after round {number + 1}")
            evaluated = {"val_loss": loss, "val_accuracy": accuracy}
            if per_client:
                evaluated |= evaluate_clients(
                    evaluator, federation, state, images.train_images, images.train_labels
                )
        now = ServerCheckpoint(number + 1, state, memory, evaluated, fingerprint)
        if context.folder is not None:
            server_checkpoint.write(context.folder, now)
        yield {
            "train_loss": train_loss,
            **evaluated,
            "client_updates_per_second": len(orders.clients) / (trained - began),
            "clients_answered": float(len(orders.clients)),
            "actor_restarts": float(update.restarts),
            "iteration_seconds": time.perf_counter() - began,
        }


def evaluate(config: Config, context: Context, images: ImageSet) -> Metrics:
    """test_loss and test_accuracy of the weights in `context.checkpoint`: for the incumbent, once."""
    assert context.checkpoint is not None
    state = server_checkpoint.read(context.checkpoint).state
    federation = set_up(dict(config) | ALONE, context, images).federation
    computation = CLIENT_SGD[federation.client_sgd](federation, images.test_images, images.test_labels)
    rows = np.arange(len(images.test_labels))
    loss, accuracy = evaluate_rows(computation, state, images.test_images, images.test_labels, rows)
    return {"test_loss": loss, "test_accuracy": accuracy}


def export(config: Config, context: Context, images: ImageSet, folder: Path) -> None:
    """Write the weights in `context.checkpoint` and what it takes to use them, as training.export does."""
    assert context.checkpoint is not None
    blueprint = set_up(dict(config) | ALONE, context, images).federation.blueprint
    state = server_checkpoint.read(context.checkpoint).state
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(blueprint, state), folder / WEIGHTS_FILE)
    _, _, channels = images.shape
    meta = {
        "dataset": images.name,
        "classes": list(images.classes),
        "channels": channels,
        "size": blueprint.size,
        "mean": [0.0] * channels,  # images are divided by 255, no more
        "std": [1.0] * channels,
        "model": blueprint.model,
        "hyperparameters": blueprint.hyperparameters,
        **({"decoding": dict(images.decoding)} if images.decoding else {}),
    }
    text = yaml.safe_dump({"config": dict(config), "model": meta}, sort_keys=False)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def plot_clients(
    config: Config, images: ImageSet, path: Path, *, val_examples: int = VAL_EXAMPLES, split_seed: int = 0
) -> None:
    """Plot how many examples of each class each client has. Nothing is drawn where every client has all."""
    setup = set_up(config, Context(), images, val_examples=val_examples, split_seed=split_seed)
    if setup.settings.partition == "shared":
        return
    from tuneapp.federated import plots  # matplotlib takes a second

    plots.clients_and_classes(setup.federation.shares, images.train_labels, images.classes, path)


def _held_out(num_examples: int, val_examples: int) -> float:
    """The share of the training set that validation gets."""
    at_least("val_examples", val_examples, 1)
    return min(val_examples / num_examples, MOST_VAL_SHARE)


def _shape(images: ImageSet) -> dict[str, int]:
    """The arguments of a model that the data decide."""
    height, width, channels = images.shape
    if height != width:
        raise UsageError(f"Images must be square, but those of {images.name} are {width}x{height} pixels.")
    return {"classes": len(images.classes), "channels": channels, "size": height}


def _tensors(blueprint: Blueprint, state: Weights) -> dict[str, Any]:
    """The model's state dict; whole-number counters, which no client trains, are zero."""
    tensors = {entry.name: np.ascontiguousarray(entry.of(state)) for entry in blueprint.entries}
    for name, tensor in blueprint.build().state_dict().items():
        if name not in tensors:
            tensors[name] = np.zeros(tuple(tensor.shape), np.int64)
    return tensors


def _fingerprint(settings: FedConfig, federation: Federation, images: ImageSet, *evaluation: Any) -> str:
    blueprint = federation.blueprint
    what = [
        asdict(settings) | {"rounds": None},  # more rounds go on from the same numbers
        [
            blueprint.model,
            blueprint.hyperparameters,
            federation.client_sgd,
            federation.device,
            federation.dtype,
        ],
        [federation.seed, images.checksum, images.name, *evaluation],
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]
