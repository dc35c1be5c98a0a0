"""A study from request to result: make the run directory, run, read the test set once, write the report."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tuneapp import tasks
from tuneapp.errors import TuneappError, UsageError, lookup
from tuneapp.objective import Context
from tuneapp.settings import Metric, Request, Resources, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile, load, shipped
from tuneapp.studies import Extended, Journal, RunDirectory, Study, Tested, Trial, find_run
from tuneapp.studies.provenance import provenance
from tuneapp.tasks import commands, functions

CHECKED = 16  # configs tried before a study starts
REFRESH = 60.0  # seconds between two reports of a running study
BACKENDS = ("ray", "local")
Tell = Callable[[str], None]


@dataclass
class Show:
    """How a running study is watched. The defaults are silence."""

    watchers: list[Callable[[Study], None]] = field(default_factory=list)
    listeners: list[Callable[[Study, Trial], None]] = field(default_factory=list)  # called after each trial
    tell: Tell = lambda line: None  # one line of news at a time
    loggers: list[str] = field(default_factory=list)  # tensorboard, mlflow
    dashboard: bool | None = False
    pictures: bool = True  # in the report that ends a run
    refresh: float | None = REFRESH  # of report.html while the run goes on; None: at its end only


def shipped_space(name: str) -> SpaceFile:
    """The search space of a built-in task; for an imported image set, that of any pictures."""
    return load(name if name in shipped() else "images")


def make_request(
    task: str,
    file: SpaceFile,
    space: SearchSpace,
    *,
    options: dict[str, Any],
    search: dict[str, Any],
    scheduler: dict[str, Any],
    resources: dict[str, Any],
    metric: Metric | None = None,
    also: list[Metric] | None = None,
) -> Request:
    """The file's settings, each overridden by what was given here (None: not given)."""
    return Request(
        task=task,
        space=space.to_dict(),
        metric=metric or file.metric or default_metric(task),
        also=tuple(also or ()),
        options=_given(options),
        search=SearchSettings(**{**file.search, **_given(search)}),
        scheduler=SchedulerSettings(**{**file.scheduler, **_given(scheduler)}),
        resources=Resources(**{**file.resources, **_given(resources)}),
    )


@dataclass(frozen=True)
class Subject:
    """What is tuned, and the space to begin with."""

    task: str
    file: SpaceFile
    options: dict[str, Any] = field(default_factory=dict)  # of the task
    function: functions.Function | None = None

    @property
    def open(self) -> bool:
        """Whether flags may add hyperparameters: it is the user's own, and says itself which it takes."""
        return self.function is not None or self.task == commands.TASK


def subject(
    task: str | None,
    space: Path | None,
    data_dir: Path | None = None,
    command: str | None = None,
    metric_regex: list[str] | None = None,
) -> Subject:
    """A built-in task, a function (`file.py:name`), or a command. Raises UsageError for others."""
    file = None if space is None else load(str(space))
    if command is not None:
        if task is not None:
            raise UsageError(f"A study has a task or a --command, but got both: {task} and {command}.")
        options = {"command": command, "metric_regex": list(metric_regex or []), "folder": str(Path.cwd())}
        return Subject(commands.TASK, file or SpaceFile(SearchSpace({})), options)
    task = task or (None if file is None else file.task)
    if task is None:
        raise UsageError("A task must be named: digits, file.py:function, or one in the --space file.")
    if functions.is_function(task):
        task, folder = functions.located(task)
        function = functions.load(task, folder)
        own = file or SpaceFile(SearchSpace(functions.annotated_space(function)))
        return Subject(task, own, {"folder": str(folder)}, function)
    tasks.refuse_unknown(task, data_dir)
    return Subject(task, file or shipped_space(task))


def metric_of(text: str, mode: str | None = None) -> Metric:
    """`seconds:min`, or a name alone: to be minimised if it says that it is a loss, an error or a time."""
    name, _, own = text.partition(":")
    usual = "min" if name.endswith(("loss", "error", "seconds")) else "max"
    return Metric(name, own or mode or usual)  # type: ignore[arg-type]


def default_metric(task: str) -> Metric:
    """What a number that a function returns is called, or the accuracy that a built-in task reports."""
    own = functions.is_function(task) or task == commands.TASK
    return Metric("score" if own else "val_accuracy")


def start(
    request: Request,
    runs_dir: Path,
    name: str | None,
    argv: list[str],
    show: Show,
    backend: str = "ray",
    function: functions.Function | None = None,
) -> Study:
    """A new study. Its task and resources are looked at before a folder is made or Ray is started.

    function: of a function's task. Where its name says that no file holds it, workers get it by value.
    """
    from tuneapp.backends import machine

    lookup(backend, {name: name for name in BACKENDS}, "backend")
    machine.check(request.resources)
    _check_show(show)
    _check_own(request, function)
    by_value = request.task.startswith(functions.BY_VALUE)
    pickled = functions.pickled(function) if function is not None and by_value else None
    task = tasks.build(request, function if by_value else None)
    _check_configs(request, task)
    run = RunDirectory.create(runs_dir, name, request, {**provenance(argv), "backend": backend, **task.facts})
    if function is not None:
        functions.freeze(function, Path(request.options.get("folder", ".")), run.path / "source")
    show.tell(f"run {run.path}")
    return _carry_on(run, show, backend, pickled)


def _check_show(show: Show) -> None:
    """Raises UsageError for a logger or a dashboard that is not there."""
    from tuneapp.backends.ray import dashboard

    dashboard.wanted(show.dashboard)
    if show.loggers:
        from tuneapp.backends.ray import loggers

        loggers.check(show.loggers)


def _check_own(request: Request, function: functions.Function | None) -> None:
    """Raises UsageError where a user's own function or command does not fit its space."""
    space = SearchSpace.from_dict(request.space)
    if request.task == commands.TASK:
        commands.check(request.options["command"], request.options["metric_regex"], space)
    if function is not None or request.task == commands.TASK:
        functions.refuse_empty(space, request.task)
    if function is not None:
        functions.check(function, space)


def federate(
    request: Request, runs_dir: Path, name: str | None, argv: list[str], show: Show, eager: bool
) -> Study:
    """A study of one federation, driven from this process. Its report is left to `picture_federation`.

    eager: start its client actors before the first round, not when they pay.
    """
    from tuneapp.backends import inline, machine

    machine.check(request.resources)
    task = tasks.build(request)
    _check_configs(request, task)
    run = RunDirectory.create(runs_dir, name, request, {**provenance(argv), **task.facts})
    show.tell(f"run {run.path}")
    study = inline.run(run, show.watchers, eager)
    if study.closed:
        conclude(run, study)
    return study


def picture_federation(study: Study) -> None:
    """The loss over rounds in plots/loss.png, and the report: as long again as a short federation takes."""
    from tuneapp import report
    from tuneapp.federated import pictures

    assert study.folder is not None
    pictures.loss_curves(
        {study.name: [each.metrics for each in study.trials[0].history]}, study.folder / "plots" / "loss.png"
    )
    report.write(RunDirectory(study.folder))


def _check_configs(request: Request, task: tasks.Task) -> None:
    """Try the points and some random configs on the task: a bad space is told before anything starts."""
    if task.check is None:
        return
    space = SearchSpace.from_dict(request.space)
    configs = CHECKED if space.searched else 1
    draws = np.random.default_rng(request.search.seed).random((configs, len(space.searched)))
    for config in [*space.points, *(space.decode(point) for point in draws)]:
        task.check(config)


def resume(
    run: RunDirectory,
    samples: int | None,
    show: Show,
    backend: str | None = None,
    function: functions.Function | None = None,
) -> Study:
    """Go on with a study that was interrupted; `samples` raises its number of trials.

    Only what is missing is computed, on the backend it was begun with or on another. function: of a study
    whose function was passed by value.
    """
    study = run.read()
    settings = study.request.search
    backend = backend or study.facts.get("backend", "ray")
    lookup(backend, {name: name for name in BACKENDS}, "backend")
    pickled = None
    if function is not None:
        _check_own(study.request, function)
        pickled = functions.pickled(function)
    tasks.build(study.request, function)
    with run.lock():
        run.mend()
        if samples is not None and samples != settings.samples:
            if samples < len(study.trials):
                raise UsageError(
                    f"`--samples` must be at least the {len(study.trials)} trials that {study.name} has, "
                    f"but got {samples}; `+20` adds twenty."
                )
            # The warm-up stays as it was: it is over, or part of what was planned.
            Journal(run, study).write(Extended(samples, settings.warmup_trials))
    return _carry_on(run, show, backend, pickled)


def conclude(run: RunDirectory, study: Study) -> None:
    """Read the test set for the incumbent, and keep its weights and config in best/.

    Raises TuneappError where its checkpoint is gone.
    """
    best = study.best
    if best is None:
        return
    folder = run.path / "best"
    folder.mkdir(exist_ok=True)
    own = functions.is_function(study.request.task)  # has no test set, and may not be there to be loaded
    task = None if own else tasks.build(study.request)
    if task is not None and task.conclude is not None and study.tested != best.number:
        if best.checkpoint is None or not (run.path / best.checkpoint).is_dir():
            raise TuneappError(
                f"The incumbent's checkpoint is gone from {run.path / 'ray'}; its config is in "
                f"{run.path / 'report.html'}, train it again to have its weights."
            )
        context = Context.of(study.request, best.seed, checkpoint=run.path / best.checkpoint)
        metrics = task.conclude(best.config, context, folder)
        Journal(run, study).write(Tested(best.number, metrics))
    _write_best(folder, study)


def export(run: RunDirectory, folder: Path) -> list[Path]:
    """Copy best/ to `folder`; returns the files written.

    Of an interrupted run it is the incumbent so far. Raises UsageError where no trial has ended well.
    """
    study = run.read()
    if study.best is None:
        raise UsageError(f"{study.name} has no incumbent to export: no trial has ended well yet.")
    conclude(run, study)
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy2(file, folder / file.name)) for file in sorted((run.path / "best").iterdir())]


def predict(name: str, runs_dir: Path, images: list[Path], top: int) -> list[dict[str, Any]]:
    """Classes of pictures by the run `name`, or by an exported folder: {"image", "classes"} for each.

    classes are the `top` most probable, {"class", "probability"}.
    """
    from tuneapp import training

    folder = Path(name) if (Path(name) / "model.safetensors").is_file() else None
    if folder is None:
        run = find_run(name, runs_dir)
        folder = run.path / "best"
        if not (folder / "model.safetensors").is_file():
            raise UsageError(
                f"{run.path.name} has no trained model yet; `tuneapp export {name} FOLDER` makes one."
            )
    return [
        {
            "image": str(image),
            "classes": [{"class": label, "probability": share} for label, share in classes],
        }
        for image, classes in training.predict(folder, images, top)
    ]


def _carry_on(run: RunDirectory, show: Show, backend: str, function: bytes | None) -> Study:
    from tuneapp import report
    from tuneapp.backends import processes, ray
    from tuneapp.report.live_csv import LiveTable

    refresher, table = _Refresher(run, show.refresh), LiveTable(run.path / "trials.csv")
    watchers: list[Callable[[Study], None]] = [*show.watchers, refresher]
    listeners: list[Callable[[Study, Trial], None]] = [table, *show.listeners]
    try:
        if backend == "local":
            study = processes.run(run, watchers, listeners, function, show.tell)
        else:
            study = ray.run(run, watchers, show.loggers, show.dashboard, listeners, function, show.tell)
    finally:
        refresher.stop()
    if study.closed:
        conclude(run, study)
    report.write(run, show.pictures, show.tell)
    return study


def _write_best(folder: Path, study: Study) -> None:
    best = study.best
    assert best is not None
    if not (folder / "model.safetensors").exists():  # else the config lies beside the weights already
        (folder / "config.yaml").write_text(yaml.safe_dump(best.config, sort_keys=False), encoding="utf-8")
    found = {
        "trial": best.number,
        "metric": study.metric.name,
        "value": study.value(best),
        "iterations": best.iterations,
        "test": study.test,
    }
    (folder / "metrics.json").write_text(json.dumps(found, indent=2), encoding="utf-8")


class _Refresher:
    """Writes the report now and then, in a process of its own: drawing must not hold up the trials."""

    def __init__(self, run: RunDirectory, every: float | None) -> None:
        self.command = [sys.executable, "-m", "tuneapp", "report", "--no-pictures", str(run.path)]
        self.every = every
        self.next = time.monotonic() + (every or 0.0)
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, study: Study) -> None:
        if self.every is None or time.monotonic() < self.next:
            return
        if self.process is None or self.process.poll() is not None:
            self.next = time.monotonic() + self.every
            self.process = subprocess.Popen(
                self.command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the driver's
            )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}
