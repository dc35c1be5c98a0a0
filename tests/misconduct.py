"""Everything an objective may do to end more than its own trial; test_misbehaviour.py runs it.

Each kind has what the trial's reason must say. `trial("well", x)` is the trial that comes after.
"""

import builtins
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

LONG = "x" * 100_000


class Silent(Exception):
    def __str__(self) -> NoReturn:
        raise ValueError("no words")


class Exits(Exception):
    def __str__(self) -> NoReturn:
        sys.exit(3)


class Wordless(Exception):
    def __str__(self) -> Any:
        return 5


class Closed(Exception):
    """Not even its attributes can be read."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise KeyboardInterrupt(name)


class Code:
    def __repr__(self) -> NoReturn:
        raise RuntimeError("no code")


class Own(BaseException):
    pass


class Text(str):
    """Which no other process can import by its name once it is gone."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


def raises(error: Callable[[], BaseException]) -> Callable[[], Iterator[float]]:
    def misbehave() -> Iterator[float]:
        yield 0.1
        raise error()

    return misbehave


def raises_at_once(error: Callable[[], BaseException]) -> Callable[[], float]:
    def misbehave() -> float:
        raise error()

    return misbehave


def recurses() -> float:
    return recurses()


def recurses_in_words() -> float:
    class Deep(Exception):
        def __str__(self) -> str:
            return str(self)

    raise Deep


def dies() -> Iterator[float]:
    yield 0.1
    os._exit(7)


def is_killed() -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.1


def ends_its_group() -> float:
    os.killpg(0, signal.SIGTERM)
    return 0.1


def aborts() -> float:
    os.abort()


def exits_in_a_thread() -> float:
    thread = threading.Thread(target=sys.exit, args=(3,))
    thread.start()
    thread.join()
    return 0.1


def raises_in_a_thread() -> float:
    thread = threading.Thread(target=int, args=("no number",))
    thread.start()
    thread.join()
    return 0.1


def yields_at_its_end() -> Iterator[float]:
    while True:
        try:
            yield 0.1
        except GeneratorExit:
            yield 0.2


def never_ends() -> Iterator[float]:
    while True:
        try:
            yield 0.1
        except BaseException:
            continue


def raises_at_its_end() -> Iterator[float]:
    try:
        while True:
            yield 0.1
    finally:
        raise ValueError("at the end")


def interrupts_at_its_end() -> Iterator[float]:
    try:
        while True:
            yield 0.1
    finally:
        raise KeyboardInterrupt


def dies_at_its_end() -> Iterator[float]:
    try:
        while True:
            yield 0.1
    finally:
        os._exit(5)


def forks() -> float:
    """The child goes on as if it were the trial."""
    os.fork()
    return 0.1


def closes_all_files() -> float:
    os.closerange(3, 64)
    return 0.1


def names_of_its_own() -> dict[Any, float]:
    class Local(Text):
        __slots__ = ()

    return {Local("score"): 0.1, Text("more"): 1.0}


def bad_letters() -> dict[str, float]:
    print("a lone surrogate \ud800")
    return {"score": 0.1, "\ud800": 1.0}


def raises_a_crowd() -> float:
    error = None
    for number in range(3000):
        following = ValueError(f"number {number}")
        following.__cause__ = error
        error = following
    assert error is not None
    raise error


def takes_a_builtin_away() -> float:
    del builtins.print
    raise RuntimeError("without print")


FAILURES: dict[str, tuple[Callable[[], Any], str]] = {
    "GeneratorExit": (raises(GeneratorExit), "GeneratorExit"),
    "GeneratorExit at once": (raises_at_once(GeneratorExit), "GeneratorExit"),
    "KeyboardInterrupt": (raises(KeyboardInterrupt), "KeyboardInterrupt"),
    "KeyboardInterrupt at once": (raises_at_once(KeyboardInterrupt), "KeyboardInterrupt"),
    "SystemExit": (raises(SystemExit), "it called sys.exit"),
    "SystemExit of no code": (raises(lambda: SystemExit(Code())), "SystemExit"),
    "StopIteration": (raises_at_once(StopIteration), "StopIteration"),
    "StopAsyncIteration": (raises(StopAsyncIteration), "StopAsyncIteration"),
    "MemoryError": (raises_at_once(MemoryError), "MemoryError"),
    "BaseException": (raises(BaseException), "BaseException"),
    "its own": (raises(Own), "Own"),
    "a group": (
        raises_at_once(lambda: BaseExceptionGroup("some", [KeyboardInterrupt(), ValueError()])),
        "some",
    ),
    "no words": (raises(Silent), "Silent: its message cannot be shown"),
    "exits in words": (raises(Exits), "Exits: its message cannot be shown"),
    "words that are no text": (raises(Wordless), "Wordless: its message cannot be shown"),
    "recursion in words": (recurses_in_words, "Deep: its message cannot be shown"),
    "nothing to be read": (raises(Closed), "Closed"),
    "its own text": (raises(lambda: ValueError(Text("local"))), "ValueError: local"),
    "bad letters": (raises(lambda: ValueError("\ud800")), "ValueError: \\ud800"),
    "a crowd": (raises_a_crowd, "ValueError: number 2999"),
    "a long message": (raises(lambda: ValueError(LONG)), "ValueError: xxx"),
    "recursion": (recurses, "RecursionError"),
    "no print": (takes_a_builtin_away, "without print"),
}
DEATHS: dict[str, tuple[Callable[[], Any], str]] = {
    "os._exit": (dies, "its worker died: exit code 7"),
    "SIGKILL": (is_killed, "its worker died: SIGKILL(-9)"),
    "SIGTERM for all": (ends_its_group, "its worker died: SIGTERM(-15)"),
    "abort": (aborts, "its worker died: Aborted"),
    "no files": (closes_all_files, "its worker died"),
}
HARMLESS: dict[str, tuple[Callable[[], Any], str]] = {
    "exit in a thread": (exits_in_a_thread, ""),
    "error in a thread": (raises_in_a_thread, ""),
    "names of its own": (names_of_its_own, ""),
    "bad letters in a name": (bad_letters, ""),
    "a fork": (forks, ""),
}
LIMITED: dict[str, tuple[Callable[[], Any], str]] = {
    "yields at its end": (yields_at_its_end, "limit"),
    "never ends": (never_ends, "limit"),
    "raises at its end": (raises_at_its_end, "limit"),
    "interrupts at its end": (interrupts_at_its_end, "limit"),
    "dies at its end": (dies_at_its_end, "limit"),
}
KINDS = {**FAILURES, **DEATHS, **HARMLESS, **LIMITED}


def trial(kind: str, x: float) -> Any:
    return x if kind == "well" else KINDS[kind][0]()
