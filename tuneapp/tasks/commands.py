"""A program as an objective: run once per trial, its result read from what it prints or writes."""

import codecs
import ctypes
import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from string import Formatter
from typing import IO, Any

from tuneapp.errors import TuneappError, UsageError, nearest
from tuneapp.objective import Context
from tuneapp.settings import Config, Metrics, Request
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile
from tuneapp.tasks.base import Command, Runnable, Target, Task, refuse_empty

PR_SET_PDEATHSIG = 1
NAME = "command"
OUT = "out"  # {out} in a command stands for a file of the trial's own, which the program may write as JSON
PLACEHOLDER = "{number}"  # in a pattern: a number as programs print it
# Thousands are grouped by commas only after a first digit from 1 to 9: 0,123 has a decimal comma.
NUMBER = (
    r"[-+]?(?:"
    r"(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    r"|(?i:nan|infinity|inf)(?![a-zA-Z])"
    r")"
)
_OWN = "tuneapp_number"  # the group of a placeholder that has no name
EXAMPLE = f"'loss={PLACEHOLDER}'"
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # of a terminal; loggers print them into files too
LONGEST_LINE = 2**16  # characters of a line that are looked at
AFTER_DEATH = 1.0  # seconds of reading what a program's children go on to print


class CommandTask(Task):
    """The program and its patterns are options; it runs in the option `folder`."""

    noun = "a command"
    OPTIONS = ("command", "metric_regex", "folder")
    open = True

    @classmethod
    def takes(cls, target: Target) -> bool:
        return isinstance(target, Command) or target == NAME

    @classmethod
    def find(cls, target: Target, file: SpaceFile | None, data_dir: Path | None) -> "CommandTask":
        if not isinstance(target, Command):
            raise UsageError(
                "A program is tuned by --command 'python train.py --lr {lr}', without a task's name."
            )
        options = {
            "command": target.command,
            "metric_regex": list(target.metric_regex),
            "folder": str(Path.cwd()),
        }
        return cls(NAME, options, file or SpaceFile(SearchSpace({})))

    def build(self, request: Request) -> Runnable:
        options = self.options
        return Runnable(
            objective(
                request.metric.name, options["command"], tuple(options["metric_regex"]), options.get("folder")
            )
        )

    def check_space(self, space: SearchSpace) -> None:
        check(self.options["command"], self.options["metric_regex"], space)
        refuse_empty(space, self.name)

    def _metric_note(self) -> str:
        patterns = self.options["metric_regex"]
        source = f"the number that matches {' or '.join(map(repr, patterns))}" if patterns else "from {out}"
        return f"{super()._metric_note()}, {source}"

    def _limit_note(self, limit: int | None) -> str:
        return ""  # a program reports once


def check(command: str, patterns: list[str], space: SearchSpace) -> None:
    """Raises UsageError for a command that could never run, or whose result nobody would find."""
    fields = fields_of(command)
    names = [*space.hyperparameters, OUT]
    for name in fields:
        if name not in names:
            raise UsageError(
                f"`--command` has {{{name}}}, but the space has "
                f"{', '.join(space.hyperparameters) or 'nothing'}; double other braces: {{{{ }}}}."
                f"{nearest(name, names)}"
            )
    if not patterns and OUT not in fields:
        raise UsageError(
            f"A command's result must be found: give --metric-regex {EXAMPLE} for what it prints, or let it "
            "write JSON to the file {out} that its arguments name."
        )
    for pattern in patterns:
        compiled(pattern)


def fields_of(command: str) -> list[str]:
    """The names in braces."""
    try:
        arguments = shlex.split(command)
        fields = [name for _, name, _, _ in Formatter().parse(command) if name is not None]
    except ValueError as error:
        raise UsageError(
            f"`--command` cannot be read: {error}; double braces that are meant: {{{{ }}}}."
        ) from None
    if not arguments:
        raise UsageError("`--command` must name a program, but is empty.")
    return fields


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern whose first group is the number; `{number}` makes one. Groups with names, (?P<loss>{number}),
    name their metrics. Raises UsageError for a pattern that names no number."""
    plain, places = pattern.replace(PLACEHOLDER, NUMBER), pattern.count(PLACEHOLDER)
    try:
        named = re.compile(plain).groupindex
        # Named groups tell which numbers count; without any the number's own group does, not one around it.
        whole = plain if named else pattern.replace(PLACEHOLDER, f"(?P<{_OWN}>{NUMBER})", 1)
        regex = re.compile(whole.replace(PLACEHOLDER, NUMBER))
    except re.error as error:
        raise UsageError(f"`--metric-regex` '{pattern}' is no regular expression: {error}.") from None
    if not regex.groups:
        raise UsageError(
            f"`--metric-regex` '{pattern}' must say where the number is: {EXAMPLE}, or a group around it."
        )
    if places > max(1, len(named)):
        raise UsageError(
            f"`--metric-regex` '{pattern}' must name each of its numbers: '(?P<loss>{PLACEHOLDER})'."
        )
    return regex


def objective(
    metric: str, command: str, metric_regex: tuple[str, ...] = (), folder: str | None = None
) -> Callable[[Config, Context], Metrics]:
    """Run `command` with the config's values in its braces; no shell takes part.

    Its last match of each pattern counts, on stdout or stderr. It runs in `folder`; what it prints goes to
    the trial's output.
    """
    patterns = [compiled(pattern) for pattern in metric_regex]

    def run(config: Config, context: Context) -> Metrics:
        assert context.folder is not None
        out = context.folder / "out.json"
        # Values are put in after the split: spaces and quotes in them stay what they are.
        words = [word.format(**config, **{OUT: out}) for word in shlex.split(command)]
        metrics: dict[str, Any] = {}
        last_line = ""
        for line in _lines(words, folder, context.timeout):
            metrics |= _matches(line, patterns, metric)
            last_line = line.strip() or last_line
        if out.is_file():
            metrics |= _json(out, metric)
        elif not patterns:
            raise TuneappError(
                f"The command must write JSON to {{out}}, but left no file: {shlex.join(words)}"
            )
        if not metrics:
            printed = f"its last line is {last_line!r:.80}" if last_line else "it printed nothing"
            raise TuneappError(
                f"No line that the command printed matches {' or '.join(metric_regex)}; {printed}. "
                f"{PLACEHOLDER} stands for a number: {EXAMPLE}."
            )
        return metrics

    return run


def _lines(words: list[str], folder: str | None, timeout: float | None) -> Iterator[str]:
    """What a program prints on stdout and stderr, passed on to this process's own output.

    Raises TuneappError where it fails.
    """
    print("$", shlex.join(words), flush=True)  # noqa: T201 - into the trial's output
    try:
        process = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, preexec_fn=_ends_with(os.getpid()),
        )  # fmt: skip
    except OSError as error:
        raise TuneappError(f"'{words[0]}' cannot be run: {error.strerror}.") from None
    late = threading.Event()

    def kill() -> None:
        late.set()
        _end_group(process)

    timer = threading.Timer(timeout or 0, kill)
    if timeout is not None:
        timer.start()
    try:
        for line in _both_streams(process):
            sys.stdout.write(line)
            sys.stdout.flush()
            yield line
        code = process.wait()
    finally:
        timer.cancel()
        _end_group(process)  # also where the trial is dropped in the middle, and what it left behind
        for stream in (process.stdout, process.stderr):
            stream.close()  # type: ignore[union-attr]
        process.wait()
    if late.is_set():
        raise TuneappError(f"it ran longer than the {timeout:g} s of --trial-timeout")
    print(f"exit code {code}", flush=True)  # noqa: T201
    if code != 0:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise TuneappError(f"the command {how}; what it printed is in the trial's output")


def _both_streams(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of stdout and stderr in the order in which they come; a carriage return ends one too.

    Ends when both are closed, or soon after the program is dead, whoever still holds them.
    """
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, _Splitter(stream))
        dead_since: float | None = None
        while selector.get_map():
            ready = selector.select(timeout=AFTER_DEATH / 10)
            for key, _ in ready:
                splitter: _Splitter = key.data
                chunk = os.read(splitter.stream.fileno(), LONGEST_LINE)
                yield from splitter.lines(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
            if dead_since is None and process.poll() is not None:
                dead_since = time.monotonic()
            if dead_since is not None and (not ready or time.monotonic() > dead_since + AFTER_DEATH):
                break
        for key in selector.get_map().values():
            yield from key.data.lines(b"")


class _Splitter:
    """Text that comes in pieces, as lines with their ends."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self.begun = ""  # of a line whose end has not come yet

    def lines(self, chunk: bytes) -> list[str]:
        """The lines that `chunk` completes; an empty one is the end."""
        # Not splitlines(): it takes more for an end than a program does that prints.
        pieces = re.split(r"(?<=\n)|(?<=\r)(?!\n)", self.begun + self.decode(chunk, final=not chunk))
        self.begun = ""
        if chunk and len(pieces[-1]) < LONGEST_LINE:
            self.begun = pieces.pop()
        return [piece for piece in pieces if piece]


def _ends_with(worker: int) -> Callable[[], None] | None:
    """What a program does before it begins, to be ended when its worker is killed; None where the system
    can't do it. The thread that starts a program waits for it: the system looks at that one."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec, little is safe

    def end_with_worker() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != worker:
            os._exit(1)

    return end_with_worker


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _matches(line: str, patterns: list[re.Pattern[str]], metric: str) -> Metrics:
    """The numbers of a line's first match of each pattern."""
    plain = COLOURS.sub("", line.rstrip("\r\n"))
    metrics: Metrics = {}
    for pattern in patterns:
        match = pattern.search(plain)
        if match is None:
            continue
        # Groups of an alternative that this line does not have are None.
        named = [(name, text) for name, text in match.groupdict().items() if text is not None]
        first = [(_OWN, text) for text in match.groups() if text is not None][:1]
        for name, text in named if pattern.groupindex else first:
            follows = plain[match.end() :] if match.group().endswith(text) else ""
            metrics[metric if name == _OWN else name] = _number(text, plain, follows)
    return metrics


def _number(text: str, line: str, follows: str) -> float:
    """`follows` is the line's rest where the match ends with the number. Raises TuneappError for text."""
    whole = text.strip("+-").isdigit()
    if re.match(r"[eE][-+]?\d", follows) or (whole and re.match(r",\d", follows)):
        raise TuneappError(
            f"--metric-regex must match a whole number, but found {text!r} before {follows!r:.12} in "
            f"{line!r:.80}; {PLACEHOLDER} reads exponents, decimals need a point, and a pattern may end in "
            "','."
        )
    try:
        return float(text.replace(",", "") if re.fullmatch(NUMBER, text) else text)
    except ValueError:
        raise TuneappError(
            f"--metric-regex must match a number, but found {text!r} in {line!r:.80}; "
            f"{PLACEHOLDER} stands for a number: {EXAMPLE}."
        ) from None


def _json(path: Path, metric: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TuneappError(f"The command's {{out}} must be JSON, but is not: {error}.") from None
    return data if isinstance(data, dict) else {metric: data}
