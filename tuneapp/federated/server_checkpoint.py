"""A federation between two rounds, as one file."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file

from tuneapp.errors import TuneappError
from tuneapp.federated.strategies import Memory, Weights
from tuneapp.settings import Metrics

FILE = "federation.safetensors"


@dataclass(frozen=True)
class ServerCheckpoint:
    rounds: int  # completed
    state: Weights
    memory: Memory  # the strategy's
    evaluated: Metrics  # the last evaluation, which rounds without one repeat
    fingerprint: str  # of all that decides how the federation goes on


def write(folder: Path, checkpoint: ServerCheckpoint) -> None:
    """Write the file as a whole or not at all: a process that dies here leaves the last round's file."""
    tensors = {
        "state": checkpoint.state,
        **{f"memory.{key}": value for key, value in checkpoint.memory.items()},
    }
    about = {
        "rounds": str(checkpoint.rounds),
        "evaluated": json.dumps(checkpoint.evaluated),
        "fingerprint": checkpoint.fingerprint,
    }
    temporary = folder / f".{FILE}"
    save_file(tensors, temporary, about)
    temporary.replace(folder / FILE)


def read(folder: Path) -> ServerCheckpoint:
    """Raises TuneappError for a folder that holds none."""
    try:
        with safe_open(folder / FILE, framework="numpy") as file:
            about = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        return ServerCheckpoint(
            rounds=int(about["rounds"]),
            state=tensors.pop("state"),
            memory={key.removeprefix("memory."): value for key, value in tensors.items()},
            evaluated=json.loads(about["evaluated"]),
            fingerprint=about["fingerprint"],
        )
    except Exception as error:  # safetensors raises its own, of many kinds
        raise TuneappError(
            f"{folder / FILE} must hold a federation's checkpoint, but it cannot be read "
            f"({type(error).__name__}: {error}); start the trial anew."
        ) from error
