"""A trial's state between two epochs, as one file.

Every draw of an epoch depends on (seed, epoch) alone, so no generator's state is part of it.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tuneapp.errors import TuneappError

FILE = "training.pt"


@dataclass(frozen=True)
class TrainCheckpoint:
    epoch: int  # epochs done
    fingerprint: str  # of everything that decides the trial's numbers
    meta: dict[str, Any]  # plain values, enough to build the model and to feed it
    model: dict[str, torch.Tensor]
    optimizer: dict[str, list[torch.Tensor]]


def fingerprint(**what: Any) -> str:
    """Equal for equal trials, whatever the order of their hyperparameters."""
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(folder: Path, checkpoint: TrainCheckpoint) -> None:
    """Write the file as a whole or not at all, wherever the process dies."""
    temporary = folder / f".{FILE}.{os.getpid()}"
    try:
        torch.save(vars(checkpoint), temporary)
        temporary.replace(folder / FILE)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(folder: Path) -> TrainCheckpoint:
    """On the CPU. Raises TuneappError where the folder holds no checkpoint of ours."""
    try:
        return TrainCheckpoint(**torch.load(folder / FILE, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises half a dozen kinds for a torn file
        raise TuneappError(
            f"{folder} must hold the checkpoint of a trial, but {FILE} cannot be read "
            f"({type(error).__name__}); start the trial anew."
        ) from error
