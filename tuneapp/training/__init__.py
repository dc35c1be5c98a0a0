"""The training of one trial, which yields metrics after each epoch and goes on from checkpoints."""

from tuneapp.training.exported import export, load_exported, predict
from tuneapp.training.loop import evaluate, resolve_precision, train
from tuneapp.training.train_config import TrainConfig, split_config

__all__ = [
    "TrainConfig",
    "evaluate",
    "export",
    "load_exported",
    "predict",
    "resolve_precision",
    "split_config",
    "train",
]
