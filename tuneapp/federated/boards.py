"""Memory that a pool shares with its workers on the same machine. Through an object store the weights and the
sums of a round take as long as three clients' training."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Where files are memory, and no other machine finds them: on Linux. Elsewhere there are no boards.
MEMORY = Path("/dev/shm")


class Board:
    """A row for the weights, and one for each worker's sum: [1 + workers, P], in a file that has no name
    for longer than it takes the workers to find it."""

    def __init__(self, workers: int, num_weights: int, dtype: DTypeLike) -> None:
        """Raises OSError where there is not so much memory, or no place for it."""
        self.shape, self.dtype = (1 + workers, num_weights), np.dtype(dtype).str
        with tempfile.NamedTemporaryFile(dir=MEMORY, prefix="tuneapp-", delete=False) as file:
            self.path = file.name
            try:
                # Reserved now: memory that is short later would kill the process that writes there.
                os.posix_fallocate(file.fileno(), 0, (1 + workers) * num_weights * np.dtype(dtype).itemsize)
                self.rows = _mapped(*self.address)
            except BaseException:
                self.forget()
                raise

    def forget(self) -> None:
        """Take the name away. The memory is given back when the last that has it mapped ends."""
        Path(self.path).unlink(missing_ok=True)

    @property
    def address(self) -> tuple[str, tuple[int, int], str]:
        """What `find` takes."""
        return self.path, self.shape, self.dtype


def find(path: str, shape: tuple[int, int], dtype: str) -> NDArray[Any] | None:
    """The board's rows in a worker; None on another machine, or once the name is gone."""
    try:
        return _mapped(path, shape, dtype)
    except OSError:
        return None


def _mapped(path: str, shape: tuple[int, int], dtype: str) -> NDArray[Any]:
    return np.asarray(np.memmap(path, dtype, "r+", shape=shape))
