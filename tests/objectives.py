"""Small objectives for the tests of the engine; each runs in a Ray worker."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tuneapp.objective import Context


def quadratic(x: float) -> float:
    """Best at 0.3."""
    return -((x - 0.3) ** 2)


def curve(x: float, context: Context) -> Iterator[dict[str, float]]:
    """Rises towards x; goes on from its checkpoint, and says how often it began."""
    begins, done = 1, 0
    if context.checkpoint is not None:
        begins, done = (int(n) for n in (context.checkpoint / "state").read_text().split())
        begins += 1
    for iteration in range(done + 1, context.max_iterations + 1):
        assert context.folder is not None
        (context.folder / "state").write_text(f"{begins} {iteration}")
        yield {"score": x * (1 - 0.5**iteration), "begins": begins}


def slow_curve(x: float, context: Context) -> Iterator[dict[str, float]]:
    """As `curve`, and slow enough to be interrupted: it waits for time to pass, not for anybody."""
    import time

    for metrics in curve(x, context):
        time.sleep(0.1)
        yield metrics


def raises_above_half(x: float) -> float:
    if x > 0.5:
        raise RuntimeError(f"no good: {x:.3f}")
    return x


def diverges_above_half(x: float) -> Iterator[float]:
    yield x
    yield float("nan") if x > 0.5 else x


def dies_once(x: float, context: Context) -> Iterator[dict[str, float]]:
    """Its process is killed in iteration 3 of its first life."""
    for metrics in curve(x, context):
        assert context.folder is not None
        if context.checkpoint is None and (context.folder / "state").read_text() == "1 3":
            os.kill(os.getpid(), signal.SIGKILL)
        yield metrics


def dies_always(x: float) -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


def counts_its_calls(x: float, folder: str) -> float:
    Path(folder, f"{x!r}").touch(exist_ok=False)
    return x


def hogs_memory_above_half(x: float) -> Iterator[dict[str, float]]:
    """Takes 100 MB every 20 ms, up to 6 GB."""
    import time

    import numpy as np

    taken = []
    for _ in range(60 if x > 0.5 else 5):
        if x > 0.5:
            taken.append(np.ones(12_500_000))
        time.sleep(0.02)
    yield {"score": x}


OWN_NAMES = (
    "time",
    "iteration",
    "metrics",
    "checkpoint",
    "done",
    "reason",
    "ended",
    "trial",
    "event",
    "seconds",
)


def reports_names_of_ours(x: float) -> Iterator[dict[str, float]]:
    """Metrics under the names that records and tools keep for themselves; the best x is 0.3."""
    for iteration in (1, 2):
        yield dict.fromkeys(OWN_NAMES, abs(x - 0.3) + 1 / iteration)


def validates_every_third(x: float) -> Iterator[dict[str, float]]:
    for iteration in range(1, 10):
        metrics = {"loss": 1 / iteration}
        yield metrics | ({"score": x - 1 / iteration} if iteration % 3 == 0 else {})


def never_validates(x: float) -> Iterator[dict[str, float]]:
    for iteration in range(1, 4):
        yield {"loss": x / iteration}


def overfits(x: float, context: Context) -> Iterator[dict[str, float]]:
    """Peaks at iteration 3, and leaves a checkpoint in each."""
    for iteration in range(1, 7):
        assert context.folder is not None
        (context.folder / "state").write_text(str(iteration))
        yield {"score": x - abs(iteration - 3)}


def has_no_end(x: float) -> Iterator[float]:
    while True:
        yield x


def works_for_a_while(x: float) -> Iterator[float]:
    """0.1 s per iteration: it waits for time to pass, not for anybody."""
    import time

    for _ in range(3):
        time.sleep(0.1)
        yield x


def is_broken(x: float) -> float:
    raise ValueError(f"it is broken at {x}\nwhatever comes")


def hangs(level: float) -> float:
    """Leaves its process's id in the folder that it was begun in, and does nothing else any more."""
    import time

    Path("pid").write_text(str(os.getpid()))
    time.sleep(600)
    return level


def has_no_room(x: float) -> float:
    raise OSError(28, "No space left on device")


def keeps_much(x: float, context: Context) -> Iterator[dict[str, float]]:
    """Checkpoints of 600 kB."""
    assert context.folder is not None
    begin = 0 if context.checkpoint is None else int((context.checkpoint / "state").read_text()[:1])
    for iteration in range(begin + 1, 5):
        (context.folder / "state").write_text(str(iteration) + "x" * 600_000)
        yield {"score": x}


def leaves_a_thread_and_goes_on(x: float) -> Iterator[float]:
    """Starts a thread that outlives it, and would yield for ever."""
    import threading

    threading.Thread(target=threading.Event().wait, daemon=True, name="left").start()
    while True:
        yield x
