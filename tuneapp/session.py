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

import yaml

from tuneapp import tasks
from tuneapp.backends import BACKENDS, How, drive, machine
from tuneapp.errors import TuneappError, UsageError, lookup
from tuneapp.objective import Context
from tuneapp.settings import Metric, Request, Resources, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile
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


def make_request(
    task: tasks.Task,
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
    limit = {"max_iterations": task.max_iterations}
    return Request(
        task=task.name,
        space=space.to_dict(),
        metric=metric or task.metric,
        also=tuple(also or ()),
        options=_given(options),
        search=SearchSettings(**{**file.search, **_given(search)}),
        scheduler=SchedulerSettings(**{**limit, **file.scheduler, **_given(scheduler)}),
        resources=Resources(**{**file.resources, **_given(resources)}),
    )


def metric_of(text: str, mode: str | None = None) -> Metric:
    """`seconds:min`, or a name alone: to be minimised if it says that it is a loss, an error or a time."""
    name, _, own = text.partition(":")
    usual = "min" if name.endswith(("loss", "error", "seconds")) else "max"
    return Metric(name, own or mode or usual)  # type: ignore[arg-type]


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
    """A study of one federation, driven from this process. Its report is left to `picture_federation`.

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


def picture_federation(study: Study) -> None:
    """The loss over rounds in plots/loss.png, and the report: as long again as a short federation takes."""
    from tuneapp import report
    from tuneapp.federated import pictures

    assert study.folder is not None
    pictures.loss_curves(
        {study.name: [each.metrics for each in study.trials[0].history]}, study.folder / "plots" / "loss.png"
    )
    report.write(RunDirectory(study.folder))


def resume(
    run: RunDirectory,
    samples: int | None,
    show: Show,
    backend: str | None = None,
    function: Callable[..., Any] | None = None,
) -> Study:
    """Go on with a study that was interrupted; `samples` raises its number of trials.

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
        if samples is not None and samples != settings.samples:
            if samples < len(study.trials):
                raise UsageError(
                    f"`--samples` must be at least the {len(study.trials)} trials that {study.name} has, "
                    f"but got {samples}; `+20` adds twenty."
                )
            # The warm-up stays as it was: it is over, or part of what was planned.
            Journal(run, study).write(Extended(samples, settings.warmup_trials))
    return _carry_on(run, show, backend, pickled, task.knows_limit)


def conclude(run: RunDirectory, study: Study) -> None:
    """Read the test set for the incumbent, and keep its weights and config in best/.

    Raises TuneappError where its checkpoint is gone.
    """
    best = study.best
    if best is None:
        return
    folder = run.path / "best"
    folder.mkdir(exist_ok=True)
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
    report.write(run, pictures=show.pictures)
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


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}
