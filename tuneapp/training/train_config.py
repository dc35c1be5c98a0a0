"""The hyperparameters of training, and how a trial's config is split into them and the model's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tuneapp import models
from tuneapp.errors import lookup, require
from tuneapp.training.optimizers import OPTIMIZERS
from tuneapp.training.schedules import SCHEDULES

CROP = 0.125  # of a side, 4 of 32 pixels
AUGMENTATIONS = {  # (flip, crop)
    "none": (False, 0.0),
    "flip": (True, 0.0),
    "crop": (False, CROP),
    "crop_flip": (True, CROP),
}


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of training. Raises UsageError for a value out of range; takes 128.0 for an integer."""

    model: str = "small_cnn"  # one of MODELS
    lr: float = 0.05  # peak, reached after lr_warmup
    batch_size: int = 128  # examples
    optimizer: str = "sgd"  # one of OPTIMIZERS
    momentum: float = 0.9  # of sgd; the first beta of adam and adamw
    nesterov: bool = True  # of sgd
    weight_decay: float = 5e-4  # of weights; norms and biases have none
    schedule: str = "cosine"  # one of SCHEDULES
    lr_warmup: float = 0.1  # share of all optimiser steps
    label_smoothing: float = 0.0  # share of the target given to all classes alike
    augment: str = "flip"  # one of AUGMENTATIONS; flips are left out where the data say they make no sense
    epochs: int | None = None  # None: as many as the study allows

    def __post_init__(self) -> None:
        for field in fields(self):
            default = 1 if field.name == "epochs" else field.default
            value = getattr(self, field.name)
            if value is not None or field.name != "epochs":
                object.__setattr__(self, field.name, models.typed(field.name, value, default))
        for name, choices, noun in (
            ("model", models.MODELS, "model"),
            ("optimizer", OPTIMIZERS, "optimizer"),
            ("schedule", SCHEDULES, "schedule"),
            ("augment", AUGMENTATIONS, "augmentation"),
        ):
            lookup(getattr(self, name), choices, noun)
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "2 or more")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.lr_warmup <= 1, "lr_warmup", self.lr_warmup, "from 0 to 1")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "from 0 to below 1")
        require(self.epochs is None or self.epochs >= 1, "epochs", self.epochs, "1 or more")


def split_config(config: Mapping[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """(what training reads, what the model reads). Raises UnknownName for what neither knows."""
    ours = {field.name for field in fields(TrainConfig)}
    settings = TrainConfig(**{key: value for key, value in config.items() if key in ours})
    return settings, models.hyperparameters_in(config, settings.model, ours, "training")
