"""What a trial may do to the process that runs it, and a look by the next one at what is left of it.

`trial(deed, x)` with the deed `none` raises where anything is not as in a fresh process. The workers of
test_isolation.py run it.
"""

import asyncio
import contextlib
import decimal
import gc
import locale
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

if "pytest" not in sys.modules:  # in a worker: the tests' own process must stay as it is for other tests
    torch.set_default_dtype(torch.float64)  # as a user's module does it: each trial finds it so
    warnings.filterwarnings("ignore", message="as a user's module does it")
KEPT: list[Any] = []  # keeps what a trial leaves behind alive


def state() -> dict[str, Any]:
    """What a trial can see of its process."""
    return {
        "folder": str(Path.cwd()),
        "environment": sorted(os.environ.items()),
        "timezone": time.tzname,
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "recursion": sys.getrecursionlimit(),
        "warnings": list(warnings.filters),
        "umask": _umask(),
        "locale": locale.setlocale(locale.LC_ALL),
        "handlers": {
            name: signal.getsignal(name) for name in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
        },
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "timers": [signal.getitimer(which) for which in (signal.ITIMER_REAL, signal.ITIMER_PROF)],
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "numpy": np.geterr(),
        "decimal": decimal.getcontext().prec,
        "collector": (gc.isenabled(), gc.get_threshold()),
        "hooks": (sys.excepthook, sys.gettrace(), sys.getprofile()),
        "method": multiprocessing.get_start_method(allow_none=True),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "torch": (torch.get_default_dtype(), torch.is_grad_enabled(), str(torch.get_default_device())),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
    }


def trial(deed: str, x: float) -> dict[str, float]:
    """Do it; `first` remembers how the process is, `none` looks whether it is so again."""
    if deed == "none":
        now = state()
        for key, value in BEFORE.items():
            assert now[key] == value, (key, set(now[key]) ^ set(value) if key == "environment" else now[key])
        loop = asyncio.get_event_loop_policy().get_event_loop()
        assert loop.run_until_complete(asyncio.sleep(0, "awake")) == "awake"
        assert torch.initial_seed() == 67280421310721
        print("heard")
        return {"score": x, "python": random.random(), "numpy": float(np.random.rand())}  # noqa: NPY002
    if not BEFORE:
        BEFORE.update(state())
    DEEDS[deed]()
    return {"score": x}


BEFORE: dict[str, Any] = {}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def nothing() -> None:
    pass


def changes_folder() -> None:
    os.chdir(tempfile.gettempdir())


def deletes_its_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    shutil.rmtree(folder)


def changes_environment() -> None:
    os.environ["HOME"] = "/nowhere"
    del os.environ["PATH"]
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def changes_imports() -> None:
    sys.path.clear()
    sys.argv[:] = ["train.py", "--lr", "1"]
    sys.setrecursionlimit(20_000)


def changes_warnings() -> None:
    warnings.simplefilter("error")
    warnings.catch_warnings(record=True).__enter__()


def changes_signals() -> None:
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])


def leaves_an_alarm() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.3)


def leaves_a_profiler() -> None:
    signal.signal(signal.SIGPROF, lambda *_: None)
    signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)


def changes_arithmetic() -> None:
    np.seterr(all="raise")
    decimal.getcontext().prec = 3


def changes_logging() -> None:
    logging.basicConfig(level=logging.DEBUG, force=True)
    logging.disable(logging.CRITICAL)


def changes_draws() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


def changes_torch() -> None:
    torch.set_default_dtype(torch.float16)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(7)


def changes_start_method() -> None:
    multiprocessing.set_start_method("spawn")


def collects_no_garbage() -> None:
    gc.disable()
    gc.set_threshold(1, 1, 1)


def hooks_in() -> None:
    sys.excepthook = lambda *_: None
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)


def changes_umask() -> None:
    os.umask(0o777)


def changes_locale() -> None:
    locale.setlocale(locale.LC_ALL, "C")


def closes_stdout() -> None:
    sys.stdout.close()


def loses_stdout() -> None:
    sys.stdout = None  # type: ignore[assignment]


def closes_descriptors() -> None:
    os.close(1)
    os.close(2)


def redirects_stdout() -> None:
    contextlib.redirect_stdout(open(os.devnull, "w")).__enter__()  # noqa: PTH123, SIM115


def closes_the_loop() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.close()


def exits() -> None:
    sys.exit(3)


def interrupts() -> None:
    raise KeyboardInterrupt


def leaves_a_dead_process() -> None:
    KEPT.append(subprocess.Popen(["true"]))
    os.waitid(os.P_PID, KEPT[-1].pid, os.WEXITED | os.WNOWAIT)  # it is over, and nobody has asked how


def uses_joblib() -> None:
    from joblib import Parallel, delayed

    assert Parallel(n_jobs=2)(delayed(abs)(each) for each in (-1, 2)) == [1, 2]


def shuts_ray_down() -> None:
    import ray

    ray.shutdown()


def leaves_a_thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True, name="left").start()


def leaves_a_process() -> None:
    KEPT.append(subprocess.Popen(["sleep", "1000"]))


def lowers_a_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))


DEEDS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        nothing,
        changes_folder,
        deletes_its_folder,
        changes_environment,
        changes_imports,
        changes_warnings,
        changes_signals,
        leaves_an_alarm,
        leaves_a_profiler,
        changes_arithmetic,
        changes_logging,
        changes_draws,
        changes_torch,
        changes_start_method,
        collects_no_garbage,
        hooks_in,
        changes_umask,
        changes_locale,
        closes_stdout,
        loses_stdout,
        closes_descriptors,
        redirects_stdout,
        closes_the_loop,
        exits,
        interrupts,
        leaves_a_dead_process,
        uses_joblib,
        shuts_ray_down,
    )
}
LEAVE = {each.__name__: each for each in (leaves_a_thread, leaves_a_process, lowers_a_limit)}
DEEDS |= LEAVE
