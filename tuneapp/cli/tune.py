"""`tuneapp tune`: search the hyperparameters of a task."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tuneapp.cli import options
from tuneapp.settings import Metric


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    task: Annotated[
        str | None,
        typer.Argument(
            help="An image set: digits, mnist, cifar10 … (`tuneapp data list`), or a function: "
            "file.py:function, package.module:function. Else the one in the --space file."
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(help="Search-space file; else the one shipped for the task, or the function's own."),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Trials in all.")] = None,
    warmup: options.Warmup = None,
    search: options.Search = None,
    seed: options.Seed = None,
    repeats: options.Repeats = None,
    warmup_design: Annotated[
        str | None, typer.Option(help="sobol, whose points keep their distance, or random.")
    ] = None,
    deterministic: Annotated[
        bool | None,
        typer.Option(
            help="Propose the same trials whatever the timing, waiting for results if need be; else at once "
            "from what is known."
        ),
    ] = None,
    lag: Annotated[
        int | None,
        typer.Option(min=0, help="Results that a deterministic proposal may miss; else trials at once - 1."),
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="asha, hyperband, median or none.")] = None,
    max_epochs: Annotated[
        int | None,
        typer.Option(
            "--max-epochs", "--max-iterations", min=1, help="Epochs of a trial that is not stopped."
        ),
    ] = None,
    grace: Annotated[int | None, typer.Option(min=1, help="Epochs before a trial may be stopped.")] = None,
    reduction: options.Reduction = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Fix a hyperparameter: optimizer=adamw. Repeatable.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            help="Search a hyperparameter: lr=float:1e-4:0.3:log, n=int:1:9, kind=cat:a,b, size=ord:8,16; "
            ":random at its end keeps it out of the model. Repeatable."
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            help="Tune a program instead: 'python train.py --lr {lr}', run once a trial. {out} is a file "
            "that it may write JSON to."
        ),
    ] = None,
    metric_regex: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the --command prints its result: 'loss={number}', the last match counts; "
            "(?P<name>{number}) names a metric. Repeatable."
        ),
    ] = None,
    trial_timeout: Annotated[
        float | None, typer.Option(help="Seconds that a trial may take; one that takes longer fails.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="ray, or local: processes of this machine, without Ray.")
    ] = "ray",
    model: Annotated[str | None, typer.Option(help="mlp, small_cnn, resnet18 or mobilenet.")] = None,
    examples: options.Examples = None,
    precision: options.Precision = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    concurrent: options.Concurrent = None,
    address: options.Address = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric that steers, perhaps with its mode: seconds:min; else the task's. Several are "
            "traded off against each other."
        ),
    ] = None,
    mode: Annotated[str | None, typer.Option(help="max or min of a --metric that says nothing.")] = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = options.RUNS,
    name: options.Name = None,
    log: options.Log = None,
    dashboard: options.Dashboard = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Search hyperparameters: random warm-up, then Bayesian; ASHA stops the weak early."""
    from tuneapp import session, tasks
    from tuneapp.errors import UsageError
    from tuneapp.spaces import files

    if task is not None and command is not None:
        raise UsageError(f"A study has a task or a --command, but got both: {task} and {command}.")
    program = None if command is None else tasks.Command(command, tuple(metric_regex or ()))
    subject = tasks.find(program or task, space, data_dir)
    file = subject.file
    searched = file.space
    for name_, value in [*map(files.parse_param, param or []), *map(files.parse_set, set_ or [])]:
        searched = searched.with_(name_, value) if subject.open else searched.replace(name_, value)
    if model is not None:
        searched = searched.replace("model", model)
    metrics = [session.metric_of(text, mode) for text in metric or []] or [_moded(subject.metric, mode)]
    request = session.make_request(
        subject,
        file,
        searched,
        metric=metrics[0],
        also=metrics[1:],
        options={
            **subject.options,
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
            "warmup_design": warmup_design,
            "deterministic": deterministic,
            "lag": lag,
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
            "trial_timeout": trial_timeout,
        },
    )
    with ExitStack() as stack:
        show = options.show(stack, quiet or as_json, log, dashboard)
        study = session.start(request, runs_dir, name, sys.argv[1:], show, backend, subject)
    options.finish(study, as_json)


def _moded(metric: Metric, mode: str | None) -> Metric:
    return metric if mode is None else Metric(metric.name, mode)  # type: ignore[arg-type]
