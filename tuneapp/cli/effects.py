"""`tuneapp effects`: what a hyperparameter does, one at a time."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneapp.cli import options

if TYPE_CHECKING:
    from tuneapp.spaces.files import SpaceFile
    from tuneapp.spaces.section import EffectsSection, TableRequest
    from tuneapp.tasks import Task

CROSS = ("x", "×", "*")  # between two hyperparameters that are varied together


def register(app: typer.Typer) -> None:
    app.command()(effects)


def effects(
    task: Annotated[
        str, typer.Argument(help="An image set, or a study with tables of its own: study-001, study-004 …")
    ] = "",
    hyperparameters: Annotated[
        list[str] | None,
        typer.Argument(help="What to vary, each alone: lr batch_size. Two together: lr x batch_size."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            help="Values to try: lr=0.01,0.1 (or 0.01,0.1 where one is varied); else the space's. Repeatable."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds every value is run with; 3 by default.")
    ] = None,
    combine: Annotated[
        bool | None, typer.Option("--combine/--no-combine", help="Also run the single winners put together.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Share of the epochs and of the examples to use, as 0.1; for small machines."),
    ] = None,
    from_csv: Annotated[
        Path | None,
        typer.Option(
            help="Folder of learning curves, one CSV a run, to be judged instead of running anything."
        ),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Search-space file, or a shipped one's name; else the task's.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Value of the base config: optimizer=adamw. Repeatable.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="mlp, small_cnn, resnet18 or mobilenet.")] = None,
    seed: options.Seed = None,
    scheduler: Annotated[
        str, typer.Option(help="none, or asha, hyperband, median to stop trials early.")
    ] = "none",
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Epochs or rounds of a trial.")] = None,
    examples: options.Examples = None,
    precision: options.Precision = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    concurrent: options.Concurrent = None,
    address: options.Address = None,
    backend: Annotated[
        str, typer.Option(help="ray, or local: processes of this machine, without Ray.")
    ] = "ray",
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = options.RUNS,
    name: options.Name = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Vary one hyperparameter at a time, on several seeds: curves, tables, differences, a diagnosis."""
    from tuneapp import session
    from tuneapp.search import plan as plans
    from tuneapp.spaces import files

    if from_csv is not None:
        _judge_curves(from_csv, space or task or None, runs_dir, name, as_json)
        return
    subject = _subject(task, space, data_dir)
    file = subject.file
    section = EffectsSection.read(file.effects or {})
    searched = file.space
    changes = dict(map(files.parse_set, set_ or [])) | ({} if model is None else {"model": model})
    for changed, value in changes.items():
        searched = searched.replace(changed, value)
    first = 1000 * (seed if seed is not None else file.search.get("seed", 0))
    shorter, notes = _scaled(subject, section, scale, max_epochs, examples, data_dir)
    plan, narrowed = plans.make_plan(
        searched,
        _tables(hyperparameters or [], values or [], section),
        seeds=range(first, first + (seeds or section.seeds)),
        combine=section.combine if combine is None else combine,
        named={} if hyperparameters else section.combinations,
        claims=() if hyperparameters else section.claims,
        scale=", ".join([*notes, *_changed(file, changes)]),
    )
    request = session.make_request(
        subject,
        file,
        narrowed,
        options={
            **subject.options,
            "data_dir": None if data_dir is None else str(data_dir.absolute()),
            "examples": shorter.get("examples"),
            "precision": precision,
        },
        search={
            "algorithm": "cells",
            "samples": plan.most_trials,
            "warmup": 0,
            "seed": seed,
            "plan": plan.to_json(),
        },
        scheduler={"type": scheduler, "max_iterations": shorter.get("epochs")},
        resources={
            "cpus": cpus_per_trial,
            "gpus": gpus_per_trial,
            "concurrent": concurrent,
            "address": address,
        },
    )
    with ExitStack() as stack:
        show = options.show(stack, quiet or as_json, None, None)
        then = ", then their combination" if plan.combine else ""
        scaled = f"; scaled down: {plan.scale}" if plan.scale else ""
        show.observer.tell(f"{len(plan.configs)} configs x {len(plan.seeds)} seeds{then}{scaled}")
        study = session.start(request, runs_dir, name, sys.argv[1:], show, backend, subject)
    options.finish(study, as_json)


def _judge_curves(folder: Path, space: str | None, runs_dir: Path, name: str | None, as_json: bool) -> None:
    from tuneapp import report
    from tuneapp.analysis.effects.curves import import_curves
    from tuneapp.spaces import files

    run = import_curves(folder, files.load(space) if space else None, runs_dir, name, sys.argv[1:])
    report.write(run)
    options.finish(run.read(), as_json)


def _subject(task: str, space: str | None, data_dir: Path | None) -> "Task":
    """What is studied, and its space: a task and perhaps a file, or a shipped study, which names its task."""
    from tuneapp import tasks
    from tuneapp.errors import UsageError
    from tuneapp.spaces import files

    if not task and space is None:
        raise UsageError("`tuneapp effects` needs a task or a study, as in `tuneapp effects digits lr`.")
    if space is None and task in files.shipped():
        task, space = "", task
    return tasks.find(task or None, space, data_dir)


def _tables(names: list[str], values: list[str], section: "EffectsSection") -> "list[TableRequest]":
    """What the command line asks for; the study's own tables where it names nothing, or those it names."""
    from tuneapp.errors import UsageError
    from tuneapp.spaces.section import TableRequest

    groups = _groups(names)
    given = _values(values, groups)
    asked = []
    for vary in groups:
        own = [table for table in section.tables if table.vary == vary]
        ours = {name: given[name] for name in vary if name in given}
        asked += own if own and not ours else [TableRequest(vary, ours, own[0].base if own else {})]
    varied = {name for vary in groups for name in vary}
    if unused := set(given) - varied:
        raise UsageError(f"--values names '{min(unused)}', which is not varied; name it after the task.")
    return asked if names else list(section.tables)


def _groups(names: list[str]) -> list[tuple[str, ...]]:
    """`lr x batch_size` is one group, `lr batch_size` two."""
    from tuneapp.errors import UsageError

    words = " ".join(names).replace("*", " x ").replace("×", " x ").split()
    groups: list[tuple[str, ...]] = []
    joined = False
    for word in words:
        if word in CROSS:
            if not groups or joined:
                raise UsageError(
                    f"An 'x' must stand between two hyperparameters, but got '{' '.join(words)}'."
                )
            joined = True
        elif joined:
            groups[-1] += (word,)
            joined = False
        else:
            groups.append((word,))
    if joined:
        raise UsageError(f"An 'x' must stand between two hyperparameters, but got '{' '.join(words)}'.")
    return groups


def _values(texts: list[str], groups: list[tuple[str, ...]]) -> dict[str, list[Any]]:
    from tuneapp.errors import UsageError
    from tuneapp.spaces import files

    found: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        if not equals:
            if len(groups) != 1 or len(groups[0]) != 1:
                raise UsageError(
                    f"--values must name its hyperparameter where several are varied, but got '{text}'."
                )
            name, listed = groups[0][0], text
        found[name] = [files.parse_set(f"{name}={word}")[1] for word in listed.split(",") if word.strip()]
    return found


def _scaled(
    task: "Task",
    section: "EffectsSection",
    scale: float | None,
    max_epochs: int | None,
    examples: int | None,
    data_dir: Path | None,
) -> tuple[dict[str, int], list[str]]:
    """Epochs and examples to use, where they differ from all; what is less than the study's own, in words."""
    from tuneapp import data
    from tuneapp.errors import UsageError
    from tuneapp.settings import SchedulerSettings

    if scale is not None and not 0 < scale <= 1:
        raise UsageError(f"`--scale` must be above 0 and at most 1, but got {scale}.")
    whole_epochs = SchedulerSettings(**task.file.scheduler).max_iterations or task.max_iterations or 1
    epochs = max_epochs or max(1, round(whole_epochs * (scale or 1)))
    notes = [f"{epochs} of {whole_epochs} epochs"] if epochs < whole_epochs else []
    if task.name not in data.names(data_dir):
        return {"epochs": epochs}, notes
    pictures = len(data.load(task.name, data_dir).train_labels)
    whole = section.examples or pictures
    used = examples or max(1, round(min(whole, pictures) * (scale or 1)))
    if used < whole:
        notes.append(f"{used:,} of {whole:,} pictures")
    return {"epochs": epochs} | ({"examples": used} if used < pictures else {}), notes


def _changed(file: "SpaceFile", changes: dict[str, Any]) -> list[str]:
    """What a study fixes and `--set` has changed, in words: its pictures must say so."""
    if file.effects is None:
        return []
    fixed = {name: getattr(domain, "value", None) for name, domain in file.space.hyperparameters.items()}
    return [
        f"{name} {value} instead of {fixed[name]}"
        for name, value in changes.items()
        if not callable(fixed[name]) and fixed[name] != value
    ]
