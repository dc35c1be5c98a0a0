"""`tuneapp effects`: what a hyperparameter does, one at a time."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneapp.cli import options
from tuneapp.cli.flags import takes_settings
from tuneapp.declarations import Setting

if TYPE_CHECKING:
    from tuneapp.settings import Options, RunSettings
    from tuneapp.spaces.files import SpaceFile
    from tuneapp.spaces.section import EffectsSection, TableRequest
    from tuneapp.tasks import Task

CROSS = ("x", "×", "*")  # between two hyperparameters that are varied together


def register(app: typer.Typer) -> None:
    app.command()(effects)


@dataclass(frozen=True)
class Vary:
    """How each table is made."""

    values: Annotated[
        tuple[str, ...],
        Setting(
            "Values to try: lr=0.01,0.1 (or 0.01,0.1 where one is varied). Repeatable.",
            "What to vary",
            default="from the space",
        ),
    ] = ()
    seeds: Annotated[
        int | None, Setting("Seeds that every value is run with.", "What to vary", low=1, default="3")
    ] = None
    combine: Annotated[
        bool | None,
        Setting("Also run the single winners put together.", "What to vary", default="the study's, or no"),
    ] = None
    scale: Annotated[
        float | None,
        Setting(
            "Share of the epochs and of the images to use, as 0.1; for small machines.",
            "What to vary",
            default="1",
        ),
    ] = None
    from_csv: Annotated[
        Path | None,
        Setting(
            "Folder of learning curves, one CSV per run, to be judged instead of running anything.",
            "What to vary",
        ),
    ] = None


@takes_settings("effects")
def effects(
    vary: Vary,
    what: options.What,
    given: dict[str, Any],
    task: Annotated[
        str, typer.Argument(help="An image set, or a study with tables of its own: study-001, study-004 …")
    ] = "",
    hyperparameters: Annotated[
        list[str] | None,
        typer.Argument(help="What to vary, each alone: lr batch_size. Two together: lr x batch_size."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Vary one hyperparameter at a time, on several seeds: curves, tables, differences, a diagnosis."""
    from tuneapp import session
    from tuneapp.search import plan as plans
    from tuneapp.settings import RunSettings, Settings, by_section
    from tuneapp.spaces.section import EffectsSection

    flags = by_section({"scheduler": "none", **given}, "effects")
    if vary.from_csv is not None:
        run = RunSettings(**flags.get("run", {}))
        _judge_curves(vary.from_csv, what.space or task or None, run, as_json)
        return
    subject = _subject(task, what.space, given.get("data_dir"))
    file = subject.file
    section = EffectsSection.read(file.effects or {})
    settings = Settings.of(file.sections, flags)
    epochs = flags.get("scheduler", {}).get("max_iterations")
    shorter, notes = _scaled(subject, section, settings.options, epochs, vary.scale)
    first = 1000 * settings.search.seed
    plan, narrowed = plans.make_plan(
        what.applied(file.space, extends=subject.open),
        _tables(hyperparameters or [], list(vary.values), section),
        seeds=range(first, first + (vary.seeds or section.seeds)),
        combine=section.combine if vary.combine is None else vary.combine,
        named={} if hyperparameters else section.combinations,
        claims=() if hyperparameters else section.claims,
        scale=", ".join([*notes, *_changed(file, what.fixed)]),
    )
    planned = {"algorithm": "cells", "samples": plan.most_trials, "warmup": 0, "plan": plan.to_json()}
    settings = Settings.of(file.sections, flags, shorter, {"search": planned})
    request, guesses = session.make_request(subject, narrowed, settings)
    run = settings.run
    with ExitStack() as stack:
        show = options.show(stack, run, as_json, guesses)
        then = ", then their combination" if plan.combine else ""
        scaled = f"; scaled down: {plan.scale}" if plan.scale else ""
        show.observer.tell(f"{len(plan.configs)} configs x {len(plan.seeds)} seeds{then}{scaled}")
        study = session.start(request, run.runs_dir, run.name, sys.argv[1:], show, run.backend, subject)
    options.finish(study, as_json)


def _judge_curves(folder: Path, space: str | None, run: "RunSettings", as_json: bool) -> None:
    from tuneapp import report
    from tuneapp.analysis.effects.csv_curves import import_curves
    from tuneapp.spaces import files

    file = files.load(space) if space else None
    made = import_curves(folder, file, run.runs_dir, run.name, sys.argv[1:])
    report.write(made, run.pictures, lambda line: typer.echo(line, err=True))
    options.finish(made.read(), as_json)


def _subject(task: str, space: str | None, data_dir: Path | None) -> "Task":
    """What is studied, and its space: a task and perhaps a file, or a shipped study, which names its task."""
    from tuneapp import session
    from tuneapp.errors import UsageError
    from tuneapp.spaces import files

    if not task and space is None:
        raise UsageError("`tuneapp effects` needs a task or a study, as in `tuneapp effects digits lr`.")
    if space is None and task in files.shipped():
        task, space = "", task
    options = {} if data_dir is None else {"data_dir": data_dir}
    return session.find_task(task or None, space, options)


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
    subject: "Task", section: "EffectsSection", asked: "Options", epochs: int | None, scale: float | None
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Settings for a share of the epochs and images; and what is less than the study's own, in words."""
    from tuneapp import data
    from tuneapp.errors import UsageError

    if scale is not None and not 0 < scale <= 1:
        raise UsageError(f"`--scale` must be above 0 and at most 1, but got {scale}.")
    shorter: dict[str, dict[str, int]] = {}
    notes = []
    whole_epochs = subject.file.scheduler.get("max_iterations")
    if whole_epochs is not None:
        epochs = epochs or max(1, round(whole_epochs * (scale or 1)))
        shorter["scheduler"] = {"max_iterations": epochs}
        if epochs < whole_epochs:
            notes.append(f"{epochs} of {whole_epochs} epochs")
    data_dir = asked.data_dir
    if subject.name not in data.names(data_dir):
        return shorter, notes
    images = len(data.load(subject.name, data_dir).train_labels)
    whole = section.examples or images
    used = asked.examples or max(1, round(min(whole, images) * (scale or 1)))
    if used < whole:
        notes.append(f"{used:,} of {whole:,} images")
    if used < images:
        shorter["options"] = {"examples": used}
    return shorter, notes


def _changed(file: "SpaceFile", changes: dict[str, Any]) -> list[str]:
    """What a study fixes and `--set` has changed, in words: its plots must say so."""
    if file.effects is None:
        return []
    fixed = {name: getattr(domain, "value", None) for name, domain in file.space.hyperparameters.items()}
    return [
        f"{name} {value} instead of {fixed[name]}"
        for name, value in changes.items()
        if not callable(fixed[name]) and fixed[name] != value
    ]
