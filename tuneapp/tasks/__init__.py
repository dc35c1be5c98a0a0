"""What can be tuned by name: a task is an objective, and what its incumbent is worth in the end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneapp.errors import UsageError, nearest
from tuneapp.objective import Context, Objective
from tuneapp.settings import Config, Metrics, Request
from tuneapp.tasks import commands, functions

FEDERATED = "fed-"  # before the name of an image set: federated training on it
VAL_SHARE = 0.1  # of the training set, held out to steer


@dataclass(frozen=True)
class Task:
    objective: Objective
    # (config, context with the incumbent's checkpoint, folder) -> its metrics on the test set; writes the
    # trained artefact to the folder
    conclude: Callable[[Config, Context, Path], Metrics] | None = None
    check: Callable[[Config], None] | None = None  # raises UsageError for a config that could not run
    keeps: bool = True  # may write checkpoints; a folder a trial is most of a short function's cost
    facts: dict[str, Any] = field(default_factory=dict)  # for run.json: what the data were


def build(request: Request, function: functions.Function | None = None) -> Task:
    """The request's task, ready to run; raises UsageError or TuneappError where its data are not there.

    `function` is the objective of a task that was passed by value. Any other is built once a process, so that
    trials that share a worker share its data.
    """
    if function is not None:
        return Task(functions.objective(function), keeps=functions.wants_context(function))
    options = {
        key: tuple(value) if isinstance(value, list) else value for key, value in request.options.items()
    }
    if request.task == commands.TASK:
        options["metric"] = request.metric.name
    return _build(request.task, tuple(sorted(options.items())), request.search.seed)


@lru_cache(maxsize=4)
def _build(task: str, options: tuple[tuple[str, Any], ...], seed: int) -> Task:
    if functions.is_function(task):
        return function_task(task, **dict(options))
    if task == commands.TASK:
        return Task(commands.objective(**dict(options)))
    if task.startswith(FEDERATED):
        return federated_task(task.removeprefix(FEDERATED), seed=seed, **dict(options))
    return image_task(task, seed=seed, **dict(options))


def function_task(name: str, folder: str | None = None) -> Task:
    """The function `name`; a module is looked for in `folder`."""
    function = functions.load(name, None if folder is None else Path(folder))
    return Task(functions.objective(function), keeps=functions.wants_context(function))


def image_task(
    name: str,
    seed: int,
    data_dir: str | None = None,
    examples: int | None = None,
    precision: str = "auto",
) -> Task:
    """Train a classifier of the image set `name`; validation and subset are drawn with `seed`.

    examples: training pictures to use, validation included; None for all. precision: see training.train.
    """
    import torch

    from tuneapp import data, models, training

    images = data.load(name, None if data_dir is None else Path(data_dir))
    training.resolve_precision(precision, torch.device("cpu"))  # refuses what is no precision
    if examples is not None:
        data.stratified_subset(images.train_labels, examples, seed)  # refuses what is too few or too many

    def objective(config: Config, context: Context) -> Iterator[Metrics]:
        return training.train(
            config,
            context,
            images,
            examples=examples,
            val_share=VAL_SHARE,
            split_seed=seed,
            precision=precision,
        )

    def conclude(config: Config, context: Context, folder: Path) -> Metrics:
        assert context.checkpoint is not None
        training.export(config, context.checkpoint, folder)
        return training.evaluate(context, images, precision=precision)

    def check(config: Config) -> None:
        settings, hyperparameters = training.split_config(config)
        height, _, channels = images.train_images.shape[1:]
        with torch.device("meta"):  # shapes alone: nothing is allocated
            models.build(
                settings.model,
                classes=len(images.classes),
                channels=channels,
                size=height,
                **hyperparameters,
            )

    facts = {"data": {"name": images.name, "checksum": images.checksum, "source": images.source}}
    return Task(objective, conclude, check, facts=facts)


def federated_task(
    name: str,
    seed: int,
    data_dir: str | None = None,
    val_examples: int | None = None,
    eval_every: int = 1,
    per_client: bool = False,
) -> Task:
    """Federated training on the image set `name`; validation and partition are drawn with `seed`.

    The rest: see federated.rounds.
    """
    from tuneapp import data
    from tuneapp.federated import rounds as federated

    images = data.load(name, None if data_dir is None else Path(data_dir))
    val = federated.VAL_EXAMPLES if val_examples is None else val_examples

    def objective(config: Config, context: Context) -> Iterator[Metrics]:
        return federated.rounds(
            config,
            context,
            images,
            context.pool,
            val_examples=val,
            eval_every=eval_every,
            per_client=per_client,
            split_seed=seed,
        )

    def conclude(config: Config, context: Context, folder: Path) -> Metrics:
        federated.export(config, context, images, folder)
        federated.plot_clients(config, images, folder / "clients.png", val_examples=val, split_seed=seed)
        return federated.evaluate(config, context, images)

    def check(config: Config) -> None:
        federated.check(config, images, val_examples=val)

    facts = {"data": {"name": images.name, "checksum": images.checksum, "source": images.source}}
    return Task(objective, conclude, check, facts=facts)


def refuse_unknown(name: str, data_dir: Path | None) -> None:
    """Raises UsageError for a task that is neither built in nor an imported image set."""
    from tuneapp import data

    known = data.names(data_dir)
    if name not in known and not functions.is_function(name):
        raise UsageError(
            f"No task named '{name}'; choose from {', '.join(known)}, or bring pictures with "
            f"`tuneapp data import {name} FOLDER`.{nearest(name, known)}"
        )
