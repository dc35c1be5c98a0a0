"""What a trial prints, kept in a file of its own: the first and the last of it, however much it is."""

import faulthandler
import io
import os
import re
import sys
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

HEAD, TAIL = 2**18, 2**18  # bytes kept of an output that grew beyond LIMIT
LIMIT = 2**20
REASON, DETAILS = 1000, 20_000  # characters of a trial's end that the record keeps: every reader reads all
WATCH = 0.02  # seconds between two looks at its size: 50 MB at the 2.5 GB/s that a pipe-less print can do
NAMES = ("stdout", "stderr")
# Held while Python prints and while the middle is cut, so that a cut never takes what came after its look.
# Held over a fork, so that no child is born with it locked. What C code or a child process writes during
# the few microseconds of a cut can still fall into the part left out.
LOCK = threading.RLock()
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)
# What faulthandler writes before the process dies. Nothing else tells a segfault's place.
LAST_WORDS = re.compile(r"^(?:Fatal Python error: (?P<fatal>.+)|(?P<timeout>Timeout) \(.+\)!)$", re.MULTILINE)


def path_of(run: Path, number: int) -> Path:
    return run / "output" / f"{number:05d}.txt"


class Output:
    """Takes file descriptors 1 and 2 of this process: what C code and child processes print is kept too."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        for name in NAMES:
            getattr(sys, name).flush()
        # Appended to, so that after a cut the next print goes to the new end.
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.replaced = [(fd, os.dup(fd), getattr(sys, name)) for fd, name in zip((1, 2), NAMES, strict=True)]
        for fd, _, _ in self.replaced:
            os.dup2(self.file, fd)
        # Python's own streams may have been made by somebody else, as Ray's are: ours write to 1 and 2.
        sys.stdout, sys.stderr = (_stream(fd) for fd in (1, 2))
        faulthandler.enable(self.file)
        self.left_out = 0
        _cutter().watch(self)

    def dump_and_die_after(self, seconds: float) -> None:
        """Once the time is over, write where every thread was, and end the process; whatever it does."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=self.file)

    def close(self) -> None:
        """Give 1 and 2 back; an empty file is deleted."""
        faulthandler.cancel_dump_traceback_later()
        for stream in (sys.stdout, sys.stderr):
            with suppress(
                AttributeError, ValueError, OSError
            ):  # a trial put it away, closed it or what is below
                stream.flush()
        _cutter().watch(None)
        faulthandler.disable()
        for (fd, before, stream), name in zip(self.replaced, NAMES, strict=True):
            os.dup2(before, fd)
            os.close(before)
            setattr(sys, name, stream)
        self.cut()
        if os.fstat(self.file).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self.file)

    def cut(self) -> None:
        """Leave out the middle of what is too much by now."""
        size = os.fstat(self.file).st_size
        if size <= LIMIT:
            return
        tail = os.pread(self.file, TAIL, size - TAIL)
        self.left_out += size - HEAD - TAIL
        os.ftruncate(self.file, HEAD)
        os.write(self.file, f"\n… {self.left_out:,} bytes left out …\n".encode() + tail)


class _Cutter(threading.Thread):
    """Looks after the output of this process's trial. One for all: on a busy machine, to start and end
    a thread takes longer than a short trial."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="tuneapp-output")
        self.output: Output | None = None
        self.start()

    def watch(self, output: Output | None) -> None:
        with LOCK:
            self.output = output

    def run(self) -> None:
        while True:
            time.sleep(WATCH)
            with LOCK:
                if self.output is not None:
                    self.output.cut()


@lru_cache(maxsize=1)
def _cutter() -> _Cutter:
    return _Cutter()


def shortened(reason: str, details: str, path: Path) -> tuple[str, str]:
    """Both as the record keeps them; what is left out is counted, with the file that has more of it."""
    return _middle_out(reason, REASON, path), _middle_out(details, DETAILS, path)


def _middle_out(text: str, most: int, path: Path) -> str:
    if len(text) <= most:
        return text
    half = most // 2 - 50  # with what is told, no longer than `most`: it may come by here again
    left_out = f" … {len(text) - 2 * half:,} characters left out; see {path.parent.name}/{path.name} … "
    return text[:half] + left_out + text[-half:]


def last_words(path: Path) -> tuple[str, str] | None:
    """Why the process that wrote the file died, where it could say so: (reason, the whole of its trace).

    The reason of a trial that ran out of time is "Timeout".
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    found = list(LAST_WORDS.finditer(text))
    if not found:
        return None
    reason = found[-1]["fatal"] or found[-1]["timeout"]
    return reason, text[found[-1].start() :]


class _Locked(io.FileIO):
    """A file descriptor that is not written to during a cut."""

    def write(self, data: Any, /) -> int:
        with LOCK:
            return super().write(data)


def _stream(fd: int) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Locked(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
