"""A study from request to result: make the run directory, run, read the test set once, write the report."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tuneapp import tasks
from tuneapp.backends import BACKENDS, How, drive, machine, search_of
from tuneapp.declarations import declared
from tuneapp.errors import TuneappError, UsageError, lookup
from tuneapp.objective import Context
from tuneapp.settings import Metric, MetricSettings, Options, Request, Settings
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile, load
from tuneapp.studies import Extended, Journal, Observer, Observers, RunDirectory, Study, Tested, find_run
from tuneapp.studies.provenance import provenance

REFRESH = 60.0  # seconds between two reports of a running study


@dataclass
class Show:
    """How a running study is watched. The defaults are silence."""

    observer: Observer = field(default_factory=Observer)
    loggers: list[str] = field(default_factory=list)  # tensorboard, mlflow
    dashboard: bool | None = False
    pictures: bool = True  # in the report that ends a run
    refresh: float | None = REFRESH  # of report.html while the run goes on; None: at its end only


def find_task(
    target: tasks.Target | None, space: str | Path | SpaceFile | None, options: Mapping[str, Any]
) -> tasks.Task:
    """What a user names, or what the search-space file does. options: what was given of Options.

    Raises UsageError where there is none, or two.
    """
    file = load(str(space)) if isinstance(space, str | Path) else space
    asked = {**(file.options if file is not None else {}), **options}
    if target is not None and "command" in options:
        raise UsageError(
            f"A study has a task or a --command, but got both: {target} and {options['command']}."
        )
    if target is None and "command" in asked:
        target = tasks.Command(asked["command"], tuple(asked.get("metric_regex", ())))
    data_dir = asked.get("data_dir")
    return tasks.find(target, file, None if data_dir is None else Path(data_dir))


def make_request(task: tasks.Task, space: SearchSpace, settings: Settings) -> tuple[Request, list[str]]:
    """What a study is asked to do; and a line on each mode of a metric that was guessed.

    Raises UsageError for options that the task does not take.
    """
    metrics, notes = _metrics(task, settings.metric)
    scheduler = settings.scheduler
    if scheduler.max_iterations is None:
        scheduler = replace(scheduler, max_iterations=task.max_iterations)
    request = Request(
        task=task.name,
        space=space.to_dict(),
        metric=metrics[0],
        also=tuple(metrics[1:]),
        options={**_options(task, settings.options), **task.options},
        search=settings.search,
        scheduler=scheduler,
        budget=settings.budget,
        resources=settings.resources,
    )
    return request, notes


def _metrics(task: tasks.Task, asked: MetricSettings) -> tuple[list[Metric], list[str]]:
    """What steers first: as the caller asks, else the file, else the task. And a line per guessed mode."""
    file = task.file
    if asked.metric:
        parsed = [
            (each, False) if isinstance(each, Metric) else Metric.parse(each, asked.mode)
            for each in asked.metric
        ]
    elif file.metric is not None:
        parsed = [(metric, metric in file.guessed) for metric in (file.metric, *file.also)]
    else:
        parsed = [(task.metric, False)]  # what is guessed of it, the task tells
    if asked.mode is not None and not asked.metric:
        parsed[0] = (replace(parsed[0][0], mode=asked.mode), False)
    return [metric for metric, _ in parsed], [guess(metric) for metric, guessed in parsed if guessed]


def guess(metric: Metric) -> str:
    """What tells of a mode that nobody named."""
    better, other = ("more", "min") if metric.mode == "max" else ("less", "max")
    name = metric.name
    return f"metric {name}: {better} is better, to judge by its name; if not, call it {name}:{other}"


def _options(task: tasks.Task, options: Options) -> dict[str, Any]:
    """The task's options as run.json keeps them; what is not given is left to the task."""
    kept: dict[str, Any] = {}
    for name, each in declared("options", Options).items():
        value = getattr(options, name)
        if value is None or value == () or name in task.options:
            continue
        if name not in task.OPTIONS:
            raise UsageError(
                f"`{each.keyword}` is a setting of {' or '.join(each.setting.tasks)}, but {task.name} is "
                f"{task.noun}; leave it out."
            )
        kept[name] = str(value.absolute()) if isinstance(value, Path) else value
    return kept


def start(
    request: Request,
    runs_dir: Path,
    name: str | None,
    argv: list[str],
    show: Show,
    backend: str = "ray",
    task: tasks.Task | None = None,
) -> Study:
    """A new study. Its task and resources are looked at before a folder is made or Ray is started.

    task: the request's, as it was found; None: the one that the request records.
    """
    lookup(backend, BACKENDS, "backend")
    machine.check(request.resources)
    _check_show(show)
    task = task or tasks.from_record(request)
    facts, pickled = task.check(request).facts, task.pickled()
    search_of(request)  # refuses what it could not do, before there is a folder
    run = RunDirectory.create(runs_dir, name, request, {**provenance(argv), "backend": backend, **facts})
    task.freeze(run.path / "source")
    for line in (f"run {run.path}", *task.notes(request)):
        show.observer.tell(line)
    return _carry_on(run, show, backend, pickled, task.knows_limit)


def _check_show(show: Show) -> None:
    """Raises UsageError for a logger or a dashboard that is not there."""
    from tuneapp.backends.ray import dashboard

    dashboard.wanted(show.dashboard)
    if show.loggers:
        from tuneapp.backends.ray import loggers

        loggers.check(show.loggers)


def federate(
    request: Request, runs_dir: Path, name: str | None, argv: list[str], show: Show, eager: bool
) -> Study:
    """A study of one federation, driven from this process. Its report is left to `plot_federation`.

    eager: start its client actors before the first round, not when they pay.
    """
    from tuneapp.backends import inline

    machine.check(request.resources)
    facts = tasks.from_record(request).check(request).facts
    run = RunDirectory.create(runs_dir, name, request, {**provenance(argv), **facts})
    show.observer.tell(f"run {run.path}")
    study = drive(inline.drive, run, show.observer, How(eager=eager))
    if study.closed:
        conclude(run, study)
    return study


def plot_federation(study: Study, show: Show) -> None:
    """The loss over rounds in plots/loss.png, and the report: as long again as a short federation takes."""
    from tuneapp import report
    from tuneapp.federated import plots

    assert study.folder is not None
    if show.pictures:
        rounds = [each.metrics for each in study.trials[0].history]
        plots.loss_curves({study.name: rounds}, study.folder / "plots" / "loss.png")
    report.write(RunDirectory(study.folder), show.pictures, show.observer.tell)


def resume(
    run: RunDirectory,
    samples: int | None,
    show: Show,
    backend: str | None = None,
    function: Callable[..., Any] | None = None,
    budget: Mapping[str, Any] | None = None,
) -> Study:
    """Go on with a study that was interrupted; `samples` raises its number of trials, and `budget` has what
    is new of its Budget, by field.

    Only what is missing is computed, on the backend it was begun with or on another. function: of a study
    whose function was passed by value.
    """
    study = run.read()
    settings = study.request.search
    backend = backend or study.facts.get("backend", "ray")
    lookup(backend, BACKENDS, "backend")
    task = tasks.from_record(study.request, function)
    task.check(study.request)
    pickled = task.pickled()
    with run.lock():
        run.mend()
        samples = settings.samples if samples is None else samples
        if samples != settings.samples or budget:
            if samples < len(study.trials) and samples != settings.samples:
                raise UsageError(
                    f"`--samples` must be at least the {len(study.trials)} trials that {study.name} has, "
                    f"but got {samples}; `+20` adds twenty."
                )
            # The warm-up stays as it was: it is over, or part of what was planned.
            changes = dict(budget or {})
            if changes.get("time") is not None:
                changes["time"] += study.clock  # what is given is given from now on
            Journal(run, study).write(Extended(samples, settings.warmup_trials, changes or None))
    return _carry_on(run, show, backend, pickled, task.knows_limit)


def conclude(run: RunDirectory, study: Study) -> None:
    """Read the test set for the incumbent, and keep its weights and config in best/.

    Raises TuneappError where its checkpoint is gone.
    """
    best = study.best
    if best is None:
        return
    folder = run.path / "best"
    _refuse_link(folder)
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        _refuse_link(file)
    task = tasks.from_record(study.request)
    if task.has_test_set and study.tested != best.number:
        kept = best.kept(study.metric)
        if kept is None or not (run.path / kept).is_dir():
            raise TuneappError(
                f"The incumbent's checkpoint is gone from {run.path / 'ray'}; its config is in "
                f"{run.path / 'report.html'}, train it again to have its weights."
            )
        context = Context.of(study.request, best.seed, checkpoint=run.path / kept)
        read_test_set = task.build(study.request).conclude
        assert read_test_set is not None
        metrics = read_test_set(best.config, context, folder)
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
    written = []
    for file in sorted((run.path / "best").iterdir()):
        _refuse_link(file)
        _refuse_link(folder / file.name)
        written.append(Path(shutil.copy2(file, folder / file.name)))
    return written


def _refuse_link(path: Path) -> None:
    """Raises UsageError for a link, which would have us read or write a file elsewhere."""
    if path.is_symlink():
        raise UsageError(f"{path} must be no link, but leads to {path.readlink()}; delete it and try again.")


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


def _carry_on(
    run: RunDirectory, show: Show, backend: str, function: bytes | None, knows_limit: bool = True
) -> Study:
    from tuneapp import report
    from tuneapp.report.live_csv import LiveTable

    refresher = _Refresher(run, show.refresh)
    observer = Observers([LiveTable(run.path / "trials.csv"), refresher, show.observer])
    how = How(function, knows_limit, tuple(show.loggers), show.dashboard)
    try:
        study = drive(lookup(backend, BACKENDS, "backend")(), run, observer, how)
    finally:
        refresher.stop()
    if study.closed:
        conclude(run, study)
    report.write(run, show.pictures, show.observer.tell)
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


class _Refresher(Observer):
    """Writes the report now and then, in a process of its own: drawing must not hold up the trials."""

    def __init__(self, run: RunDirectory, every: float | None) -> None:
        self.command = [sys.executable, "-m", "tuneapp", "report", "--no-pictures", str(run.path)]
        self.every = every
        self.next = time.monotonic() + (every or 0.0)
        self.process: subprocess.Popen[bytes] | None = None

    def on_tick(self, study: Study) -> None:
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
