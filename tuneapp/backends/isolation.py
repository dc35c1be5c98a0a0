"""Trials that share a process do not see each other: it goes back to how it began before each of them.

What is put back: the working directory, environment, random states, warnings filters, signal handlers and
timers, import path and arguments, recursion limit, umask, locale, logging, numpy's error state, torch's
defaults, and the thread counts of torch and BLAS. What can't be put back, a thread or a child process that a
trial left behind or a lowered resource limit, makes the driver replace the process. Modules stay imported,
and what a trial changed inside of them stays changed: that is the price of not importing torch for each.
"""

import locale
import logging
import os
import random
import resource
import signal
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

TORCH_SEED = 67280421310721  # of torch's generator in a fresh process
OWN_THREADS = ("tuneapp-", "ray", "TMonitor")  # tqdm's monitor serves all bars of a process
HELPERS = ("resource_tracker", "forkserver")  # processes that multiprocessing itself keeps
LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")
SIGNALS = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


class Baseline:
    """How a worker process began. Made once, before its first trial."""

    def __init__(self) -> None:
        self.folder = str(Path.cwd())
        self.environment = dict(os.environ)
        self.filters = list(warnings.filters)
        self.show_warning = warnings.showwarning
        self.path, self.arguments = list(sys.path), list(sys.argv)
        self.recursion = sys.getrecursionlimit()
        self.umask = _umask()
        self.locale = locale.setlocale(locale.LC_ALL)
        self.handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self.log_level, self.log_handlers = logging.root.level, list(logging.root.handlers)
        self.log_disabled = logging.root.manager.disable
        self.numpy_errors = np.geterr()
        self.limits = {name: _limit(name) for name in LIMITS}
        self.threads = set(threading.enumerate())
        self.children = _children()
        self.blas: Any = None
        self.blas_modules = 0

    def restore(self, seed: int, threads: int) -> None:
        """Go back, with random generators seeded by the trial's seed, so that it draws the same wherever it
        runs. torch's generator starts as in a fresh process."""
        self._restore_process()
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the global one, which the user's code may draw from
        np.seterr(**self.numpy_errors)  # type: ignore[arg-type]
        os.environ["OMP_NUM_THREADS"] = str(threads)  # Ray sets it only where it is unset
        self._restore_torch(threads)
        self._restore_blas()
        if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
            pyplot.close("all")

    def leftovers(self) -> str:
        """What the last trial left behind that can't be undone, in words; empty where there is nothing.

        Child processes are ended: they were the trial's own.
        """
        left = [
            f"thread {thread.name}"
            for thread in threading.enumerate()
            if thread not in self.threads and thread.is_alive() and not thread.name.startswith(OWN_THREADS)
        ]
        for child in _children() - self.children:
            with suppress(OSError):
                command = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
                if any(helper in command for helper in HELPERS):
                    self.children.add(child)
                    continue
                os.kill(child, signal.SIGKILL)
                left.append(f"process {child}")
        left += [f"limit {name}" for name, limit in self.limits.items() if not _relimited(name, limit)]
        return ", ".join(left)

    def _restore_process(self) -> None:
        os.chdir(self.folder)
        if os.environ != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        if warnings.filters != self.filters:
            warnings.filters[:] = self.filters  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        warnings.showwarning = self.show_warning
        sys.path[:], sys.argv[:] = self.path, self.arguments
        sys.setrecursionlimit(self.recursion)
        os.umask(self.umask)
        if locale.setlocale(locale.LC_ALL) != self.locale:
            locale.setlocale(locale.LC_ALL, self.locale)
        logging.disable(self.log_disabled)
        logging.root.setLevel(self.log_level)
        logging.root.handlers[:] = self.log_handlers
        if threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in self.handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)

    @staticmethod
    def _restore_torch(threads: int) -> None:
        torch: Any = sys.modules.get("torch")
        if torch is None or not hasattr(torch, "set_default_dtype"):  # half imported, by a trial that failed
            return
        torch.manual_seed(TORCH_SEED)
        torch.set_default_dtype(torch.float32)
        if hasattr(torch, "get_default_device") and torch.get_default_device().type != "cpu":
            torch.set_default_device("cpu")
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def _restore_blas(self) -> None:
        """Thread counts of the BLAS and OpenMP libraries; new ones are looked for where modules were added."""
        if "threadpoolctl" not in sys.modules:
            return
        from threadpoolctl import ThreadpoolController

        if self.blas is None or self.blas_modules != len(sys.modules):
            before = self.blas_counts if self.blas is not None else {}
            self.blas, self.blas_modules = ThreadpoolController(), len(sys.modules)
            counts = {lib.filepath: lib.num_threads for lib in self.blas.lib_controllers}
            self.blas_counts = counts | before
        for library in self.blas.lib_controllers:
            if library.num_threads != self.blas_counts[library.filepath]:
                library.set_num_threads(self.blas_counts[library.filepath])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _limit(name: str) -> tuple[int, int]:
    return resource.getrlimit(getattr(resource, name))


def _relimited(name: str, limit: tuple[int, int]) -> bool:
    """Whether the limit is what it was, now that it is put back where that is allowed."""
    if _limit(name) == limit:
        return True
    with suppress(ValueError, OSError):
        resource.setrlimit(getattr(resource, name), limit)
    return _limit(name) == limit


def _children() -> set[int]:
    """Processes that this one started and that still run; empty where the system does not tell."""
    found: set[int] = set()
    with suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError):
                found |= set(map(int, (task / "children").read_bytes().split()))
    return found
