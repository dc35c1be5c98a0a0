"""Trials that share a process do not see each other: it goes back to how it began before each of them.

What is put back: the working directory, environment, random states, warnings filters, signal handlers,
timers and mask, import path and arguments, hooks, garbage collection, recursion limit, umask, locale,
logging, decimal's precision, numpy's error state, how multiprocessing starts processes, asyncio's loop,
torch's defaults, and the thread counts of torch and BLAS. What can't be put back, a thread or a child process
that a trial left behind or a lowered resource limit, makes the driver replace the process. Modules stay
imported, and what a trial changed inside of them stays changed: that is the price of not importing torch for
each.
"""

import decimal
import gc
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

TORCH_SEED = 67280421310721  # the one that torch itself used to begin with
OWN_THREADS = ("tuneapp-", "ray", "TMonitor")  # tqdm's monitor serves all bars of a process
HELPERS = ("resource_tracker", "forkserver")  # processes that multiprocessing itself keeps
GRACE = 0.2  # seconds that threads have to end: less than the start of another process takes
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
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.collector = gc.get_threshold()
        self.hooks = sys.excepthook, sys.gettrace(), sys.getprofile()
        self.start_method = multiprocessing.get_start_method(allow_none=True)
        self.log_level, self.log_handlers = logging.root.level, list(logging.root.handlers)
        self.log_disabled = logging.root.manager.disable
        self.numpy_errors = np.geterr()
        self.limits = {name: _limit(name) for name in LIMITS}
        self.threads = set(threading.enumerate())
        self.children = _children()
        self.blas: Any = None
        self.blas_modules = 0
        self.blas_counts: dict[str, int] = {}  # library -> threads when it was first seen

    def restore(self, seed: int, threads: int) -> None:
        """Go back, with random generators seeded by the trial's seed, so that it draws the same wherever it
        runs. torch's is left to `seed_torch`."""
        self._restore_torch(threads)
        self._restore_blas()
        self._restore_process()  # the last, for torch writes into the environment
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the global one, which the user's code may draw from
        np.seterr(**self.numpy_errors)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # Ray sets it only where it is unset
        if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
            pyplot.close("all")

    def leftovers(self) -> str:
        """What the last trial left behind that can't be undone, in words; empty where there is nothing.

        Child processes are ended: they were the trial's own.
        """
        _end_joblib()
        until = time.monotonic() + GRACE
        strange = [
            thread
            for thread in threading.enumerate()
            if thread not in self.threads and not thread.name.startswith(OWN_THREADS)
        ]
        for thread in strange:
            with suppress(RuntimeError):  # it is this one
                thread.join(max(0.0, until - time.monotonic()))
        left = [f"thread {thread.name}" for thread in strange if thread.is_alive()]
        for child in _children() - self.children:
            with suppress(OSError):
                if _reaped(child):
                    continue
                command = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
                if any(helper in command for helper in HELPERS):
                    self.children.add(child)
                    continue
                os.kill(child, signal.SIGKILL)
                left.append(f"process {child}")
        left += [f"limit {name}" for name, limit in self.limits.items() if not _relimited(name, limit)]
        return ", ".join(left)

    def _restore_process(self) -> None:
        Path(self.folder).mkdir(parents=True, exist_ok=True)  # a trial may have deleted it
        os.chdir(self.folder)
        if os.environ != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
            time.tzset()
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
        decimal.setcontext(decimal.DefaultContext.copy())
        gc.enable()
        gc.set_threshold(*self.collector)
        sys.excepthook, trace, profile = self.hooks
        sys.settrace(trace)
        sys.setprofile(profile)
        if multiprocessing.get_start_method(allow_none=True) != self.start_method:
            multiprocessing.set_start_method(self.start_method, force=True)
        if (asyncio := sys.modules.get("asyncio")) is not None:
            asyncio.set_event_loop_policy(None)  # with a loop that no trial has closed
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)

    @staticmethod
    def seed_torch() -> None:
        """Called once the trial's modules are imported: one of them may be the first to import torch, whose
        generator begins anywhere."""
        torch: Any = sys.modules.get("torch")
        if hasattr(torch, "manual_seed"):
            torch.manual_seed(TORCH_SEED)

    @staticmethod
    def _restore_torch(threads: int) -> None:
        torch: Any = sys.modules.get("torch")
        if torch is None or not hasattr(torch, "set_default_dtype"):  # half imported, by a trial that failed
            return
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
        """Thread counts of BLAS and OpenMP; new libraries are looked for where modules were added."""
        if "threadpoolctl" not in sys.modules:
            return
        from threadpoolctl import ThreadpoolController

        if self.blas is None or self.blas_modules != len(sys.modules):
            self.blas, self.blas_modules = ThreadpoolController(), len(sys.modules)
            counts = {lib.filepath: lib.num_threads for lib in self.blas.lib_controllers}
            self.blas_counts = counts | self.blas_counts
        for library in self.blas.lib_controllers:
            if library.num_threads != self.blas_counts[library.filepath]:
                library.set_num_threads(self.blas_counts[library.filepath])


def _end_joblib() -> None:
    """End the processes that joblib keeps for its next call, as scikit-learn's n_jobs uses it: by its own
    means, so that nothing is left behind."""
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    executor = getattr(loky, "_executor", None)
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


def _reaped(child: int) -> bool:
    """Whether a child process was over already."""
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True


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
