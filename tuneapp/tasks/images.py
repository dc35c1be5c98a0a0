"""Training of a classifier of an image set: `digits`, `cifar10`, pictures of the user's own."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from tuneapp.errors import UsageError, nearest
from tuneapp.objective import Context
from tuneapp.settings import Config, Metric, Metrics, Request
from tuneapp.spaces.files import SpaceFile, load, shipped
from tuneapp.tasks.base import Runnable, Target, Task

VAL_SHARE = 0.1  # of the training set, held out to steer


class ImageTask(Task):
    """The name is the image set's."""

    noun = "an image set"
    OPTIONS = ("data_dir", "examples", "precision")
    METRIC = Metric("val_accuracy")
    METRICS = (
        "val_accuracy",
        "val_loss",
        "train_accuracy",
        "train_loss",
        "lr",
        "iteration_seconds",
        "examples_per_second",
    )
    MOST_GPUS = 1
    UNIT = "epochs"
    has_test_set = True

    @classmethod
    def takes(cls, target: Target) -> bool:
        return isinstance(target, str)

    @classmethod
    def find(cls, target: Target, file: SpaceFile | None, data_dir: Path | None) -> "ImageTask":
        name = str(target)
        refuse_unknown(name, data_dir)
        if file is not None:
            return cls(name, data_options(data_dir), file)
        own = load(name if name in shipped() else "images")
        use = f"shipped for {name}" if own.task == name else "shipped for any pictures"
        return cls(name, data_options(data_dir), own, use)

    @property
    def max_iterations(self) -> int | None:
        from tuneapp.training.loop import EPOCHS

        return EPOCHS

    def build(self, request: Request) -> Runnable:
        return _built(self.name, request.search.seed, **request.options)


def data_options(data_dir: Path | None) -> dict[str, str]:
    return {} if data_dir is None else {"data_dir": str(data_dir.absolute())}


def refuse_unknown(name: str, data_dir: Path | None) -> None:
    """Raises UsageError for a name that is no image set, neither built in nor imported."""
    from tuneapp import data

    names = data.names(data_dir)
    if name not in names:
        raise UsageError(
            f"No task named '{name}'; choose from {', '.join(names)}, or bring pictures with "
            f"`tuneapp data import {name} FOLDER`.{nearest(name, names)}"
        )


@lru_cache(maxsize=4)
def _built(
    name: str,
    seed: int,
    data_dir: str | None = None,
    examples: int | None = None,
    precision: str = "auto",
) -> Runnable:
    """Validation and subset are drawn with `seed`.

    examples: training images to use, validation included; None for all. precision: see training.train.
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
    return Runnable(objective, conclude, check, facts=facts)
