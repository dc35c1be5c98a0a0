"""The run directory: written as it happens, read back from any state.

`run.json` holds the frozen request, `trials.jsonl` one event per line, appended and flushed. Together they
are the truth: a Study is rebuilt from them after a crash, in mid-run, or on another machine.
"""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tuneapp.errors import NoRoom, TuneappError, UsageError, first_line, nearest, printable_json
from tuneapp.files import write_whole
from tuneapp.settings import Config, Request
from tuneapp.spaces import Float, Int, Normal, SearchSpace
from tuneapp.studies.events import Asked, Event, Reported, from_line, to_line
from tuneapp.studies.study import Study

FULL = (errno.ENOSPC, errno.EDQUOT)
LONGEST_NAME = 200  # bytes: file systems take 255, and plots and archives add endings
FORMAT = 1  # of run.json and trials.jsonl; 0.1.0 named none, and is read as well


class RunDirectory:
    """The files of one run. Only the driver that holds the lock writes."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # Ray's workers have other working directories

    @property
    def events_file(self) -> Path:
        return self.path / "trials.jsonl"

    @classmethod
    def create(
        cls, runs_dir: Path, name: str | None, request: Request, facts: dict[str, Any]
    ) -> "RunDirectory":
        """A new folder, never one that exists; raises UsageError where it can't be written.

        Without a name it is called after the time and the task, and numbered where that is taken.
        """
        if name is not None and not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
            raise UsageError(f"A run's name must be letters, digits, '.', '_' and '-', but got '{name}'.")
        if name is not None and len(name.encode()) > LONGEST_NAME:
            raise UsageError(
                f"A run's name must be at most {LONGEST_NAME} bytes, but has {len(name.encode()):,}."
            )
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            path = _claim(runs_dir, name, request.task)
            run = cls(path)
            contents = {"format": FORMAT, "request": request.to_json(), **facts}
            write_whole(run.path / "run.json", json.dumps(contents, indent=2)).chmod(0o600)  # holds arguments
            run.events_file.touch()
        except OSError as error:
            raise UsageError(
                f"The runs folder must be writable, but {runs_dir} is not ({error.strerror}); choose another "
                "with --runs-dir."
            ) from error
        return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one driver of this run; freed by the system when its process dies."""
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"{self.path.name} is still being run by another process; wait or stop it."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def locked(self) -> bool:
        """Whether a driver runs it now."""
        try:
            with self.lock():
                return False
        except UsageError:
            return True

    def append(self, event: Event) -> Event:
        """Write one event now, as one flushed line, and return it as a reader would see it.

        Raises NoRoom where there is none, else OSError; what was written of the line is then taken back, so
        that the record stays readable. For the one writer of a run, its Journal.
        """
        line = to_line(event)
        packed = line.encode() + b"\n"
        file = os.open(self.events_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            before = os.fstat(file).st_size
            try:
                written = os.write(file, packed)
                if written < len(packed):
                    os.write(file, packed[written:])  # raises the reason why it was cut short
            except OSError as error:
                os.ftruncate(file, before)
                if error.errno in FULL:
                    raise self.no_room() from error
                raise
        finally:
            os.close(file)
        read = from_line(line)
        assert read is not None
        return read

    def no_room(self) -> NoRoom:
        return NoRoom(
            f"no room left on the disk of {self.path}; what ran is kept: make room, then go on with "
            f"`tuneapp resume {self.path.name}`."
        )

    def mend(self) -> None:
        """Cut a torn last line off, so that the next event starts a line of its own."""
        raw = self.events_file.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.truncate(self.events_file, whole)

    def read(self) -> Study:
        """The study as far as it is written.

        Raises UsageError where there is none, TuneappError where its record was damaged or is of a newer
        version.
        """
        study, made_by = self._blank()
        numbers = _numbers_of(study.request)
        for number, event in self._events():
            try:
                if isinstance(event, Asked):
                    _check_config(event.config, numbers)
                study.apply(event if made_by else _of_0_1_0(event))
            except TuneappError as error:
                raise TuneappError(
                    f"{self.events_file}, line {number}: {first_line(error).rstrip('.')}; restore the file "
                    "from a copy, or delete the lines from there on to go on from before them."
                ) from None
        return study

    def _blank(self) -> tuple[Study, int]:
        """The study before its first event, and the format that it was written in."""
        file = self.path / "run.json"
        try:
            facts = printable_json(json.loads(file.read_text(encoding="utf-8")))
            if not isinstance(facts, dict):
                raise UsageError(f"it must hold an object, but holds {json.dumps(facts):.40}")
            made_by = facts.pop("format", 0)
            if not isinstance(made_by, int):
                raise UsageError(f"`format` must be a whole number, but is {json.dumps(made_by):.40}")
            if made_by > FORMAT:
                raise TuneappError(
                    f"{file} has format {made_by}, but this tuneapp reads up to {FORMAT}; use a newer one."
                )
            request = Request.from_json(facts.pop("request", None))
            if not isinstance(request.space.get("hyperparameters", {}), dict):
                raise UsageError("the space must have an object as `hyperparameters`")
            return Study(request, folder=self.path, facts=facts), made_by
        except FileNotFoundError:
            raise UsageError(
                f"{self.path} is no run directory: it has no run.json. `tuneapp runs` lists them."
            ) from None
        except (OSError, ValueError, RecursionError, UsageError) as error:
            reason = first_line(error).rstrip(".")
            raise TuneappError(f"{file} cannot be read: {reason}; restore it from a copy.") from error

    def _events(self) -> Iterator[tuple[int, Event]]:
        """(line number from 1, event); the torn end of a line is left out, as are kinds of newer versions."""
        if not self.events_file.exists():
            return
        lines = self.events_file.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn or empty
            try:
                event = from_line(line)
            except TuneappError as error:
                raise TuneappError(
                    f"{self.events_file}, line {number} {error}; delete that line to go on without its event."
                ) from None
            if event is not None:
                yield number, event


def _numbers_of(request: Request) -> set[str]:
    """The hyperparameters that are numbers, as far as the space can be read: a report does with less."""
    try:
        space = SearchSpace.from_dict(request.space)
    except UsageError:
        return set()
    return {name for name, each in space.hyperparameters.items() if isinstance(each, Float | Int | Normal)}


def _check_config(config: Config, numbers: set[str]) -> None:
    """Raises TuneappError for a value that nothing can draw or model. Its range is left open: what others
    ran may lie beside it."""
    for name, value in config.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in numbers and not number:
            raise TuneappError(f"hyperparameter {name} must be a number, but is {json.dumps(value):.40}")


def _of_0_1_0(event: Event) -> Event:
    """What its tasks reported as `seconds` of an epoch or a round is called `iteration_seconds` now: there a
    metric of the name `seconds` meant the whole trial's time all the same."""
    own = {"examples_per_second", "client_updates_per_second"}
    if not isinstance(event, Reported) or "seconds" not in event.metrics or not own & set(event.metrics):
        return event
    renamed = {"iteration_seconds" if key == "seconds" else key: v for key, v in event.metrics.items()}
    return replace(event, metrics=renamed)


def find_run(name: str, runs_dir: Path) -> RunDirectory:
    """A run by its path, its name, or `latest`; raises UsageError with the nearest name."""
    as_path = Path(name)
    if (as_path / "run.json").is_file():
        return RunDirectory(as_path)
    runs = list_runs(runs_dir)
    if name == "latest" and runs:
        return runs[-1]
    by_name = {run.path.name: run for run in runs}
    if name in by_name:
        return by_name[name]
    raise UsageError(
        f"No run named '{name}' in {runs_dir}; `tuneapp runs` lists them.{nearest(name, by_name)}"
    )


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """All run directories below runs_dir, the oldest first."""
    files = sorted(runs_dir.glob("*/run.json"), key=lambda file: (file.stat().st_mtime, file.parent.name))
    return [RunDirectory(file.parent) for file in files]


def _claim(runs_dir: Path, name: str | None, task: str) -> Path:
    """Make the folder; that it is made here and now is what keeps two runs apart."""
    if name is not None:
        try:
            (runs_dir / name).mkdir()
        except FileExistsError:
            raise UsageError(
                f"A run named '{name}' is there already in {runs_dir}; choose another --name, or go on with "
                f"`tuneapp resume {name}`."
            ) from None
        return runs_dir / name
    short = re.sub(r"[^\w.-]+", "-", task.rsplit("/", 1)[-1]).strip("-") or "study"
    stem = f"{datetime.now():%Y-%m-%d-%H%M}-{short}"
    for count in range(1, 10_000):
        path = runs_dir / (stem if count == 1 else f"{stem}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise UsageError(f"{runs_dir} holds 10,000 runs of this minute; choose another --runs-dir.")
