"""Files that are whole or not there, whatever moment the writer dies at."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` when the block ends well and is deleted when it raises.

    It lies beside `path` and has its ending, since some writers choose their format by it. Two writers at
    once do not meet: its name holds the process and the thread.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> Path:
    """Write a UTF-8 text so that a reader sees the old one or the new one; returns `path`."""
    with replace_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a lone surrogate
    return path
