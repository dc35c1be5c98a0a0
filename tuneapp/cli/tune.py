"""`tuneapp tune`: search the hyperparameters of a task."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tuneapp.cli import options
from tuneapp.request import Metric


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    task: Annotated[str, typer.Argument(help="An image set: digits, mnist, cifar10 … (`tuneapp data list`).")],
    space: Annotated[
        Path | None, typer.Option(help="Search-space file; else the one shipped for the task.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Trials in all.")] = None,
    warmup: Annotated[
        int | None, typer.Option(min=0, help="Random trials before the model; else a third, 10 at most.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="bayes, random, grid or points.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of every random draw.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Seeds a config is run with.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="asha, hyperband, median or none.")] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of a trial that is not stopped.")] = None,
    grace: Annotated[int | None, typer.Option(min=1, help="Epochs before a trial may be stopped.")] = None,
    reduction: Annotated[int | None, typer.Option(min=2, help="One in so many goes on at each rung.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Fix a hyperparameter: optimizer=adamw. Repeatable.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="Search a hyperparameter: lr=float:1e-4:0.3:log. Repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="mlp, small_cnn, resnet18 or mobilenet.")] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Training pictures to use, a stratified subset; else all.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="CPUs of a trial, and torch's threads.")] = None,
    gpus_per_trial: Annotated[float | None, typer.Option(help="GPUs of a trial; a fraction shares one.")] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at once; else as many as fit.")] = None,
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster; else this machine.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric that steers; else the task's.")] = None,
    mode: Annotated[str | None, typer.Option(help="max or min of --metric.")] = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = options.RUNS,
    name: Annotated[str | None, typer.Option(help="Name of the run directory; else date and task.")] = None,
    log: options.Log = None,
    dashboard: options.Dashboard = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Search hyperparameters: random warm-up, then Bayesian; ASHA stops the weak early."""
    from tuneapp import api, space_files, tasks
    tasks.refuse_unknown(task, data_dir)
    file = space_files.load(str(space)) if space else api.shipped_space(task)
    searched = file.space
    for name_, value in [*map(space_files.parse_param, param or []), *map(space_files.parse_set, set_ or [])]:
        searched = searched.replace(name_, value)
    if model is not None:
        searched = searched.replace("model", model)
    request = api.make_request(
        task,
        file,
        searched,
        metric=_metric(metric, mode, file.metric),
        options={
            "data_dir": None if data_dir is None else str(data_dir.absolute()),
            "examples": examples,
            "precision": precision,
        },
        search={
            "algorithm": search,
            "samples": samples,
            "warmup": warmup,
            "seed": seed,
            "repeats": repeats,
        },
        scheduler={
            "type": scheduler,
            "max_iterations": max_epochs,
            "grace": grace,
            "reduction": reduction,
        },
        resources={
            "cpus": cpus_per_trial,
            "gpus": gpus_per_trial,
            "concurrent": concurrent,
            "address": address,
        },
    )
    with ExitStack() as stack:
        show = options.show(stack, quiet or as_json, log, dashboard)
        study = api.start(request, runs_dir, name, sys.argv[1:], show)
    options.finish(study, as_json)


def _metric(name: str | None, mode: str | None, default: Metric | None) -> Metric | None:
    """The metric of the flags. A name alone is to be minimised if it ends in loss, else maximised."""
    if name is None:
        return default if mode is None or default is None else Metric(default.name, mode)  # type: ignore[arg-type]
    return Metric(name, mode or ("min" if name.endswith("loss") else "max"))  # type: ignore[arg-type]
