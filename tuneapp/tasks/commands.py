"""A command-line program as an objective: run once a trial, its result read from what it prints or writes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from string import Formatter
from typing import Any

from tuneapp.errors import TuneappError, UsageError, nearest
from tuneapp.objective import Context
from tuneapp.settings import Config, Metrics
from tuneapp.spaces import SearchSpace

TASK = "command"
OUT = "out"  # {out} in a command stands for a file of the trial's own, which the program may write as JSON
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf)"
LONGEST_LINE = 2**16  # characters of a line that are looked at


def check(command: str, patterns: list[str], space: SearchSpace) -> None:
    """Raises UsageError for a command that could never run, or whose result nobody would find."""
    fields = fields_of(command)
    known = [*space.hyperparameters, OUT]
    for name in fields:
        if name not in known:
            raise UsageError(
                f"`--command` has {{{name}}}, but the space has "
                f"{', '.join(space.hyperparameters) or 'nothing'}; double other braces: {{{{ }}}}."
                f"{nearest(name, known)}"
            )
    if not patterns and OUT not in fields:
        raise UsageError(
            "A command's result must be found: give --metric-regex 'loss=(.*)' for what it prints, or let it "
            "write JSON to the file {out} that its arguments name."
        )
    for pattern in patterns:
        compiled(pattern)


def fields_of(command: str) -> list[str]:
    """The names in braces."""
    try:
        words = shlex.split(command)
        fields = [name for _, name, _, _ in Formatter().parse(command) if name is not None]
    except ValueError as error:
        raise UsageError(
            f"`--command` cannot be read: {error}; double braces that are meant: {{{{ }}}}."
        ) from None
    if not words:
        raise UsageError("`--command` must name a program, but is empty.")
    return fields


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern whose group is the number. Groups with names, (?P<loss>...), name their metrics."""
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"`--metric-regex` '{pattern}' is no regular expression: {error}.") from None
    if not found.groups:
        raise UsageError(
            f"`--metric-regex` '{pattern}' must have a group around the number: 'loss=({NUMBER})'."
        )
    return found


def objective(
    metric: str, command: str, metric_regex: tuple[str, ...] = (), folder: str | None = None
) -> Callable[[Config, Context], Metrics]:
    """Run `command` with the config's values in its braces; no shell takes part.

    Its last match of each pattern counts. It runs in `folder`; what it prints goes to the trial's output.
    """
    patterns = [compiled(pattern) for pattern in metric_regex]

    def run(config: Config, context: Context) -> Metrics:
        assert context.folder is not None
        out = context.folder / "out.json"
        # Values are put in after the split: spaces and quotes in them stay what they are.
        words = [word.format(**config, **{OUT: out}) for word in shlex.split(command)]
        metrics: dict[str, Any] = {}
        for line in _lines(words, folder, context.timeout):
            metrics |= _matches(line, patterns, metric)
        if out.is_file():
            metrics |= _json(out, metric)
        elif not patterns:
            raise TuneappError(
                f"The command must write JSON to {{out}}, but left no file: {shlex.join(words)}"
            )
        if not metrics:
            raise TuneappError(f"No line that the command printed matches {' or '.join(metric_regex)}.")
        return metrics

    return run


def _lines(words: list[str], folder: str | None, timeout: float | None) -> Iterator[str]:
    """What a program prints, passed on to this process's own output. Raises TuneappError where it fails."""
    print("$", shlex.join(words), flush=True)  # noqa: T201 - into the trial's output
    try:
        process = subprocess.Popen(
            words, cwd=folder, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=sys.stderr.fileno(),
            text=True, errors="replace", start_new_session=True,
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
        assert process.stdout is not None
        while line := process.stdout.readline(LONGEST_LINE):
            sys.stdout.write(line)
            yield line
        code = process.wait()
    finally:
        timer.cancel()
        _end_group(process)  # also where the trial is dropped in the middle, and what it left behind
        process.stdout.close()  # type: ignore[union-attr]
        process.wait()
    if late.is_set():
        raise TuneappError(f"it ran longer than the {timeout:g} s of --trial-timeout")
    print(f"exit code {code}", flush=True)  # noqa: T201
    if code != 0:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise TuneappError(f"the command {how}; what it printed is in the trial's output")


def _end_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _matches(line: str, patterns: list[re.Pattern[str]], metric: str) -> Metrics:
    found: Metrics = {}
    for pattern in patterns:
        match = pattern.search(line)
        if match is None:
            continue
        named = match.groupdict() or {metric: match.group(1)}
        for name, text in named.items():
            try:
                found[name] = float(text)
            except (TypeError, ValueError):
                raise TuneappError(
                    f"--metric-regex must match a number, but found {text!r} in {line!r:.80}"
                ) from None
    return found


def _json(path: Path, metric: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TuneappError(f"The command's {{out}} must be JSON, but is not: {error}.") from None
    return data if isinstance(data, dict) else {metric: data}
