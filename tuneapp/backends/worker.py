"""A worker process of this machine: it runs trials one after the other, and ends with its driver."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from tuneapp.backends.outcomes import Outcomes
from tuneapp.settings import Config, Request

PR_SET_PDEATHSIG = 1
BOOT = "import sys; sys.path[:] = {path!r}; from tuneapp.backends.worker import serve; serve({fd}, {driver})"
LOOK = 1.0  # seconds between two looks whether the driver lives, where the system does not tell


class Worker:
    """The driver's end: starts the process, hands it work, knows of its death.

    The process is a program of its own rather than a child of multiprocessing: so it does not run the user's
    script again, and may itself start processes, as a DataLoader does.
    """

    def __init__(self, request: Request, run: Path, function: bytes | None) -> None:
        self.connection, theirs = Pipe()
        path = [entry or str(Path.cwd()) for entry in sys.path]
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOT.format(path=path, fd=theirs.fileno(), driver=os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the driver's, and `kill` reaches what a trial started
        )
        theirs.close()
        self.connection.send((request, str(run), function))

    def begin(self, number: int, config: Config, seed: int) -> None:
        """Run a trial up to its first outcomes; `receive` gives them."""
        self._send(("begin", number, config, seed))

    def step(self) -> None:
        """Run the trial on to its next outcomes."""
        self._send(("step",))

    def receive(self) -> tuple[Outcomes, str]:
        """The outcomes, and who gave them as host:pid. Raises EOFError where the process died, or where its
        trial wrote into what connects it to us."""
        try:
            return self.connection.recv()  # type: ignore[no-any-return]
        except Exception as error:
            raise EOFError from error

    def kill(self) -> str:
        """End the process and what it started; returns how it ended, as SIGKILL(-9) or exit code 3."""
        with suppress(subprocess.TimeoutExpired):  # one that died has ended by itself
            self.process.wait(0.5 if self.connection.closed or self._hung_up() else 0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.connection.close()
        with suppress(ValueError):
            return f"{signal.Signals(-code).name}({code})" if code < 0 else f"exit code {code}"
        return f"exit code {code}"

    def _hung_up(self) -> bool:
        """Whether the process has closed its end: it is dying, and its exit code is worth waiting for."""
        try:
            return self.connection.poll() and not self.connection.recv_bytes()
        except (EOFError, OSError):
            return True

    def _send(self, message: tuple[Any, ...]) -> None:
        with suppress(ConnectionError, OSError):  # it died: `receive` says so
            self.connection.send(message)


def serve(fd: int, driver: int) -> None:
    """The worker's end. Returns when the driver hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(driver)
    import cloudpickle

    from tuneapp.backends.runner import Runner

    connection: Connection[Any, Any] = Connection(fd)
    request, run, function = connection.recv()
    runner = Runner(request, Path(run), None if function is None else cloudpickle.loads(function))
    process = os.getpid()
    me = f"{socket.gethostname()}:{process}"
    while True:
        try:
            call, *arguments = connection.recv()
        except EOFError:
            return
        if call == "begin":
            runner.begin(*arguments)
        outcomes = runner.step()
        if os.getpid() != process:  # the trial forked, and this is its child
            os._exit(0)
        connection.send((outcomes, me))


def _end_with(driver: int) -> None:
    """See that this process ends when its driver does, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(driver,), daemon=True, name="tuneapp-driver").start()
    if os.getppid() != driver:  # it ended before this was asked for
        os._exit(1)


def _watch(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(LOOK)
    os._exit(1)
