"""Commands on runs that are there: list, report, resume, export, predict."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneapp.cli import options
from tuneapp.cli.flags import help_of, takes_settings

if TYPE_CHECKING:
    from tuneapp.studies import RunDirectory, Study


def register(app: typer.Typer) -> None:
    for command in (resume, report, runs, export, predict):
        app.command()(command)


@takes_settings("resume")
def resume(
    run: options.Run,
    given: dict[str, Any],
    samples: Annotated[
        str | None,
        typer.Option(
            help="Trials in all from now on; +20 adds twenty. Default: those asked for before.",
            rich_help_panel="Search",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Go on with an interrupted run, or give a finished one more trials."""
    from tuneapp import session
    from tuneapp.settings import RunSettings, by_section
    from tuneapp.studies import find_run

    sections = by_section(given, "resume")
    settings = RunSettings(**sections.get("run", {}))
    interrupted = find_run(run, settings.runs_dir)
    wanted = _samples(samples, interrupted.read().request.search.samples)
    with ExitStack() as stack:
        show = options.show(stack, settings, as_json)
        study = session.resume(interrupted, wanted, show, given.get("backend"), budget=sections.get("budget"))
    options.finish(study, as_json)


def report(
    run: options.Run = "latest",
    pictures: Annotated[bool, typer.Option(help=help_of("pictures"), show_default=False)] = True,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Write a run's plots, tables and report.html anew, and print its summary."""
    from tuneapp import report as reports
    from tuneapp.studies import find_run

    found = find_run(run, runs_dir)
    page = reports.write(found, pictures, tell=lambda line: typer.echo(line, err=True))
    typer.echo(reports.summary(found.read()))
    typer.echo(f"report {page}", err=True)


def runs(runs_dir: options.RunsDir = options.RUNS) -> None:
    """List runs, the oldest first."""
    from rich.console import Console
    from rich.table import Table

    from tuneapp.errors import TuneappError
    from tuneapp.studies import list_runs

    table = Table("run", "task", "trials", "state", "best", "metric", box=None)
    for found in list_runs(runs_dir):
        try:
            study = found.read()
        except TuneappError as error:
            table.add_row(found.path.name, "", "", "unreadable", "", str(error))
            continue
        best = study.best
        table.add_row(
            study.name,
            study.request.task,
            f"{sum(trial.over for trial in study.trials)}/{study.request.search.samples}",
            _state(study, found),
            "" if best is None else f"{study.value(best):.4g}",
            study.metric.name,
        )
    if table.row_count:
        Console().print(table)
    else:
        typer.echo(f"No runs in {runs_dir}; `tuneapp tune digits --samples 12` makes one.")


def export(
    run: options.Run,
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made if it is not there.")],
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Copy the incumbent's weights, config and metrics to a folder."""
    from tuneapp import session
    from tuneapp.studies import find_run

    for file in session.export(find_run(run, runs_dir), folder):
        typer.echo(file)


def predict(
    run: options.Run,
    images: Annotated[list[Path], typer.Argument(help="Images to classify.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to print per image.")] = 1,
    runs_dir: options.RunsDir = options.RUNS,
    as_json: options.Json = False,
) -> None:
    """Classify images with a run's incumbent, or with an exported folder."""
    import json

    from tuneapp import session

    predictions = session.predict(run, runs_dir, images, top)
    if as_json:
        typer.echo(json.dumps(predictions, indent=2))
        return
    for prediction in predictions:
        classes = "  ".join(f"{each['class']} {each['probability']:.1%}" for each in prediction["classes"])
        typer.echo(f"{prediction['image']}  {classes}")


def _state(study: "Study", run: "RunDirectory") -> str:
    if study.closed:
        return "complete" if study.ended_by == "samples" else f"ended by {study.ended_by}"
    return "running" if run.locked() else "interrupted"


def _samples(text: str | None, now: int) -> int | None:
    if text is None:
        return None
    number = text.removeprefix("+")
    if not number.isdigit() or int(number) < 1:
        raise typer.BadParameter(
            f"must be a number of trials like 50 or +20, but got '{text}'", param_hint="--samples"
        )
    return now + int(number) if text.startswith("+") else int(number)
