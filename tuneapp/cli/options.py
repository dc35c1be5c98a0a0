"""Options that several commands share, and what they turn into."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneapp.cli.errors import INTERRUPTED
from tuneapp.studies import Study, TrialState

if TYPE_CHECKING:
    from tuneapp.session import Show

RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder of the run directories.")]
RUNS = Path("runs")
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the image sets; else $TUNEAPP_DATA, else the cache folder."),
]
Run = Annotated[str, typer.Argument(help="A run's name or path, or `latest`.")]
Warmup = Annotated[
    int | None, typer.Option(min=0, help="Random trials before the model; else a third, 10 at most.")
]
Search = Annotated[str | None, typer.Option(help="bayes, random, grid or points.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of every random draw.")]
Repeats = Annotated[int | None, typer.Option(min=1, help="Seeds a config is run with, if it may win.")]
Reduction = Annotated[int | None, typer.Option(min=2, help="One in so many goes on at each rung.")]
Examples = Annotated[
    int | None, typer.Option(min=1, help="Training pictures to use, a stratified subset; else all.")
]
Precision = Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")]
CpusPerTrial = Annotated[float | None, typer.Option(help="CPUs of a trial, and torch's threads.")]
GpusPerTrial = Annotated[float | None, typer.Option(help="GPUs of a trial; a fraction shares one.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Trials at once; else as many as fit.")]
Address = Annotated[str | None, typer.Option(help="Address of a Ray cluster; else this machine.")]
Name = Annotated[str | None, typer.Option(help="Name of the run directory; else date and task.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")]
Log = Annotated[
    list[str] | None, typer.Option(help="Also log to tensorboard or mlflow; slows many short trials.")
]
Dashboard = Annotated[
    bool | None,
    typer.Option(
        "--dashboard/--no-dashboard",
        help="Start Ray's dashboard on loopback; by default where the dashboard extra is installed.",
    ),
]


def show(stack: ExitStack, quiet: bool, log: list[str] | None, dashboard: bool | None) -> "Show":
    """Progress on stderr until the stack closes."""
    from rich.console import Console

    from tuneapp.report import live
    from tuneapp.session import Show

    observer = stack.enter_context(live.shown(Console(stderr=True), quiet))
    return Show(observer=observer, loggers=log or [], dashboard=dashboard)


def finish(study: Study, as_json: bool) -> None:
    """Print the result, and leave."""
    import json

    from tuneapp import report

    assert study.folder is not None
    typer.echo(json.dumps(outcome(study), indent=2) if as_json else report.summary(study))
    typer.echo(f"report {study.folder / 'report.html'}", err=True)
    leave(study)


def leave(study: Study) -> None:
    """The exit code says whether the study is whole: 0, 1 with failed trials, 130 interrupted."""
    from tuneapp import tasks

    assert study.folder is not None
    if not study.closed:
        typer.echo(f"Interrupted; go on with: tuneapp resume {_short(study.folder)}", err=True)
        raise typer.Exit(INTERRUPTED)
    faults = {TrialState.FAILED}
    if tasks.from_record(study.request).divergence_is_fault:
        faults.add(TrialState.DIVERGED)
    if study.best is None or any(trial.state in faults for trial in study.trials):
        raise typer.Exit(1)


def outcome(study: Study) -> dict[str, Any]:
    """What `--json` prints. `failed` counts diverged trials too, `diverged` says how many of them."""
    counts, best = study.counts(), study.best
    return {
        "run_dir": str(study.folder),
        "best": None
        if best is None
        else {
            "trial": best.number,
            "config": best.config,
            "metric": study.metric.name,
            "value": study.value(best),
        },
        "test": study.test,
        "trials": {
            "total": counts["total"],
            "finished": counts["finished"],
            "stopped": counts["stopped"],
            "failed": counts["failed"] + counts["diverged"],
            "diverged": counts["diverged"],
            "running": counts["running"],
            "warmup": counts["warmup"],
        },
        "seconds": round(study.seconds, 3),
        "complete": study.closed,
    }


def _short(folder: Path) -> str:
    """The name alone where `resume` finds it by name."""
    return folder.name if folder.parent == RUNS.absolute() else str(folder)
