"""What can be tuned by name: a task is an objective, and what its incumbent is worth in the end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneapp import functions
from tuneapp.errors import UsageError, nearest
from tuneapp.objectives import Context, Objective
from tuneapp.request import Config, Metrics, Request

VAL_SHARE = 0.1  # of the training set, held out to steer


@dataclass(frozen=True)
class Task:
    objective: Objective
    # (config, context with the incumbent's checkpoint, folder) -> its metrics on the test set; writes the
    # trained artefact to the folder
    conclude: Callable[[Config, Context, Path], Metrics] | None = None
    check: Callable[[Config], None] | None = None  # raises UsageError for a config that could not run
    facts: dict[str, Any] = field(default_factory=dict)  # for run.json: what the data were


def build(request: Request) -> Task:
    """The request's task, ready to run; raises UsageError or TuneappError where its data are not there.

    Built once a process, so that trials that share a worker share its data.
    """
    return _build(request.task, tuple(sorted(request.options.items())), request.search.seed)


@lru_cache(maxsize=4)
def _build(task: str, options: tuple[tuple[str, Any], ...], seed: int) -> Task:
    if functions.is_function(task):
        return Task(functions.objective(functions.load(task)))
    return image_task(task, seed=seed, **dict(options))


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
    return Task(objective, conclude, check, facts)


def refuse_unknown(name: str, data_dir: Path | None) -> None:
    """Raises UsageError for a task that is neither built in nor an imported image set."""
    from tuneapp import data

    known = data.names(data_dir)
    if name not in known and not functions.is_function(name):
        raise UsageError(
            f"No task named '{name}'; choose from {', '.join(known)}, or bring pictures with "
            f"`tuneapp data import {name} FOLDER`.{nearest(name, known)}"
        )
