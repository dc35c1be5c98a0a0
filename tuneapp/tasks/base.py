"""What is tuned: a task knows its space and its metric, and builds the objective that trials run."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from tuneapp.errors import UsageError, nearest
from tuneapp.objective import Context, Objective
from tuneapp.settings import Config, Metric, Metrics, Request, Resources
from tuneapp.spaces import Searched, SearchSpace
from tuneapp.spaces.files import SpaceFile

CHECKED = 16  # configs tried before a study starts


@dataclass(frozen=True)
class Command:
    """A program to be tuned, with hyperparameters in braces: `python train.py --lr {lr}`."""

    command: str
    metric_regex: tuple[str, ...] = ()  # where its output has the result; none: it writes JSON to {out}


Target = (
    str | Command | Callable[..., Any]
)  # what a user names: "digits", "file.py:function", score, a program


@dataclass(frozen=True)
class Runnable:
    """A task made ready in the process that runs trials: its data are loaded, its function is imported."""

    objective: Objective
    # (config, context with the incumbent's checkpoint, folder) -> its metrics on the test set; writes the
    # trained artefact to the folder
    conclude: Callable[[Config, Context, Path], Metrics] | None = None
    check: Callable[[Config], None] | None = None  # raises UsageError for a config that could not run
    keeps: bool = (
        True  # may write checkpoints; creating a folder per trial is most of a short function's cost
    )
    facts: dict[str, Any] = field(default_factory=dict)  # for run.json: what the data were


@dataclass(frozen=True)
class Task(ABC):
    """One kind of task is one subclass in one file, and one line in KINDS.

    Two tasks are equal where their records are: the name and the options.
    """

    name: str  # in run.json: what `from_record` finds it by
    options: dict[str, Any] = field(default_factory=dict)  # in run.json; keys are among OPTIONS
    # The space to begin with; empty where the task comes from a record, whose request holds the space.
    file: SpaceFile = field(default_factory=lambda: SpaceFile(SearchSpace({})), compare=False)
    origin: str = field(
        default="", compare=False
    )  # of the space, where it was not given: "from the annotations"

    noun: ClassVar[str] = "a task"  # the kind in messages, and in the settings that are of some kinds only
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    METRIC: ClassVar[Metric] = Metric("score")  # where neither the space file nor the user names one
    METRICS: ClassVar[tuple[str, ...]] = ()  # all that a trial reports; empty where only the user knows
    MOST_GPUS: ClassVar[float] = math.inf  # that one trial can use
    UNIT: ClassVar[str] = "iterations"  # what one iteration is called
    open: ClassVar[bool] = False  # flags may add hyperparameters: the task says itself which it takes
    has_test_set: ClassVar[bool] = False  # Runnable.conclude is there
    divergence_is_fault: ClassVar[bool] = False  # a metric that is not finite counts as a failure

    @classmethod
    @abstractmethod
    def takes(cls, target: Target) -> bool:
        """Whether what a user names, or the name in a record, is of this kind. Looks at nothing but that."""

    @classmethod
    @abstractmethod
    def find(cls, target: Target, file: SpaceFile | None, data_dir: Path | None) -> "Task":
        """The task as a user names it; raises UsageError where it is not there. file: the user's own."""

    @classmethod
    def from_record(cls, request: Request, function: Callable[..., Any] | None = None) -> "Task":
        """The task of a request; nothing is loaded. function: the objective, where it travels by value."""
        if function is not None:
            raise UsageError(
                f"The study tunes {request.task}, which takes no function; leave the function out."
            )
        return cls(request.task, request.options)

    @abstractmethod
    def build(self, request: Request) -> Runnable:
        """Make it ready in this process, once: trials that share a worker share its data.

        The options are the request's, to which flags may have added. Raises UsageError or TuneappError where
        data, a file or a function are not there.
        """

    @property
    def metric(self) -> Metric:
        """What steers unless the user says else."""
        return self.file.metric or self.METRIC

    @property
    def function(self) -> Callable[..., Any] | None:
        """The user's function, where the task is one."""
        return None

    @property
    def max_iterations(self) -> int | None:
        """The limit that the task itself names, where neither the space file nor the user does."""
        return None

    @property
    def knows_limit(self) -> bool:
        """Whether the objective is told `max_iterations` and ends by itself, rather than being cut."""
        return True

    def check_space(self, space: SearchSpace) -> None:  # noqa: B027 - most kinds need data to tell
        """Raises UsageError for a space that can be seen not to fit, without data."""

    def check(self, request: Request) -> Runnable:
        """Build it, once everything that could go wrong before a trial has been looked at.

        Raises UsageError for options that mean nothing here, for a metric that no trial would report, for
        GPUs that none would use, for a space that does not fit, and for a config that could not run: points
        and some random configs are tried.
        """
        for option in request.options:
            if option not in self.OPTIONS:
                takes = ", ".join(self.OPTIONS) or "no options"
                raise UsageError(
                    f"`{option}` means nothing to {self.name}, {self.noun} that takes {takes}; leave it out."
                )
        self._check_metrics(request)
        self._check_gpus(request.resources)
        space = SearchSpace.from_dict(request.space)
        self.check_space(space)
        runnable = self.build(request)
        if runnable.check is not None:
            rng = np.random.default_rng(request.search.seed)
            points = rng.random((CHECKED if space.searched else 1, len(space.searched)))
            for config in [*space.points, *(space.decode(point) for point in points)]:
                runnable.check(config)
        return runnable

    def metric_names(self, options: dict[str, Any]) -> tuple[str, ...]:
        """What a trial with these options reports; empty where only the user knows."""
        return self.METRICS

    def _check_metrics(self, request: Request) -> None:
        names = self.metric_names(request.options)
        traded = (*names, "seconds")  # of a whole trial, which no iteration has to report
        asked = [(request.metric.name, names), *((each.name, traded) for each in request.also)]
        if request.budget.condition is not None:
            asked.append((request.budget.condition.metric, traded))
        for name, choices in asked:
            if names and name not in choices:
                raise UsageError(
                    f"{self.name}, {self.noun}, reports no metric '{name}'; choose from "
                    f"{', '.join(choices)}.{nearest(name, choices)}"
                )

    def _check_gpus(self, resources: Resources) -> None:
        most = max(self.MOST_GPUS, resources.actors)  # each client actor may have one
        if resources.gpus > most:
            raise UsageError(
                f"A trial of {self.name}, {self.noun}, uses {most:g} GPU at most, but got "
                f"--gpus-per-trial {resources.gpus:g}; ask for {most:g}, and more trials run at once."
            )

    def record(self) -> dict[str, Any]:
        """What a request holds of it: its keywords `task` and `options`."""
        return {"task": self.name, "options": self.options}

    def moved(self, folder: Path) -> Self:
        """The task where `folder` is a copy of the one that its files are in, as on another machine."""
        return (
            replace(self, options={**self.options, "folder": str(folder)})
            if "folder" in self.options
            else self
        )

    def pickled(self) -> bytes | None:
        """The function for worker processes, where none of them could import it."""
        return None

    def freeze(self, target: Path) -> list[Path]:
        """Copy the user's own source to `target`; returns the files."""
        return []

    def notes(self, request: Request) -> list[str]:
        """One line per thing that was guessed: the space, the metric, the limit. For the start of a study."""
        lines = []
        if self.origin:
            searched = len(SearchSpace.from_dict(request.space).searched)
            names = "1 hyperparameter" if searched == 1 else f"{searched} hyperparameters"
            lines.append(f"space: {names}, {self.origin} (--space, --param, --set)")
        if request.metric == self.metric and self.file.metric is None:
            mode = "maximised" if request.metric.mode == "max" else "minimised"
            lines.append(f"metric: {self._metric_note()}, to be {mode} (--metric, --mode)")
        limit = self._limit_note(request.scheduler.max_iterations)
        return [*lines, limit] if limit else lines

    def _metric_note(self) -> str:
        return f"'{self.metric.name}'"

    def _limit_note(self, limit: int | None) -> str:
        if limit is None:
            return ""
        return f"limit: {limit} {self.UNIT} per trial (--max-iterations)"


def refuse_empty(space: SearchSpace, name: str) -> None:
    """Raises UsageError for a space in which nothing is searched."""
    searched = any(isinstance(domain, Searched) for domain in space.hyperparameters.values())
    if not searched and not space.points:
        raise UsageError(
            f"{name} must have a space, but none was given; write a file for --space, give "
            "--param x=float:-5:5, or annotate its parameters: x: Annotated[float, tuneapp.Float(-5, 5)]."
        )
