"""One trial's training: yields metrics each epoch, from a checkpoint to a checkpoint."""

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
