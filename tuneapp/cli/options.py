"""What several commands share: options, the progress they show, the result they print."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneapp.cli.errors import INTERRUPTED
from tuneapp.cli.flags import help_of
from tuneapp.declarations import Setting
from tuneapp.settings import RunSettings
from tuneapp.studies import Study, TrialState

if TYPE_CHECKING:
    from tuneapp.session import Show
    from tuneapp.spaces import SearchSpace

RunsDir = Annotated[Path, typer.Option("--runs-dir", help=help_of("runs_dir"), show_default=False)]
RUNS = RunSettings().runs_dir
DataDir = Annotated[Path | None, typer.Option("--data-dir", help=help_of("data_dir"))]
Address = Annotated[str | None, typer.Option(help=help_of("address"))]
Run = Annotated[str, typer.Argument(help="A run's name or path, or `latest`.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=help_of("quiet"), show_default=False)]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as one JSON object, and nothing else.",
        rich_help_panel="Output",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class What:
    """What is tuned, beside the task's name."""

    space: Annotated[
        str | None,
        Setting(
            "Search-space file, or the name of a shipped one.",
            "What to tune",
            default="the task's, or the function's own",
        ),
    ] = None
    set_: Annotated[
        tuple[str, ...],
        Setting("Fix a hyperparameter: optimizer=adamw. Repeatable.", "What to tune", flags=("--set",)),
    ] = ()
    param: Annotated[
        tuple[str, ...],
        Setting(
            "Search a hyperparameter: lr=float:1e-4:0.3:log, n=int:1:9, kind=cat:a,b, size=ord:8,16; :random "
            "at its end keeps it out of the model. Repeatable.",
            "What to tune",
        ),
    ] = ()
    model: Annotated[
        str | None,
        Setting("Model to train, short for --set model=….", "What to tune", choices="tuneapp.models:MODELS"),
    ] = None

    @property
    def path(self) -> Path | None:
        return None if self.space is None else Path(self.space)

    @property
    def fixed(self) -> dict[str, Any]:
        """Hyperparameter -> value, of --set and --model."""
        from tuneapp.spaces import files

        return dict(map(files.parse_set, self.set_)) | ({} if self.model is None else {"model": self.model})

    def applied(self, space: "SearchSpace", extends: bool) -> "SearchSpace":
        """The space with what the flags search or fix; they may add hyperparameters where it `extends`."""
        from tuneapp.spaces import files

        for name, value in [*map(files.parse_param, self.param), *self.fixed.items()]:
            space = space.with_(name, value) if extends else space.replace(name, value)
        return space


def show(stack: ExitStack, run: RunSettings, as_json: bool, notes: Iterable[str] = ()) -> "Show":
    """Progress on stderr until the stack closes, the notes first."""
    from rich.console import Console

    from tuneapp.report import live
    from tuneapp.session import Show

    observer = stack.enter_context(live.shown(Console(stderr=True), run.quiet or as_json))
    for note in notes:
        observer.tell(note)
    return Show(observer, list(run.log), run.dashboard, run.pictures)


def finish(study: Study, as_json: bool) -> None:
    """Print the result, and leave."""
    import json

    from tuneapp import report

    assert study.folder is not None
    typer.echo(json.dumps(outcome(study), indent=2) if as_json else report.summary(study))
    typer.echo(f"report {study.folder / 'report.html'}", err=True)
    leave(study)


def leave(study: Study) -> None:
    """The exit code says whether the study is whole: 0, 1 with failed trials, 130 interrupted.

    A study that its time, its condition or its patience ended is whole: it did as it was asked.
    """
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
    """What `--json` prints. `failed` counts diverged trials too and `finished` limited ones; `diverged` and
    `limited` say how many of them. `ended_by` is one of events.ENDINGS, null while it is not complete."""
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
            "finished": counts["finished"] + counts["limited"],
            "limited": counts["limited"],
            "stopped": counts["stopped"],
            "failed": counts["failed"] + counts["diverged"],
            "diverged": counts["diverged"],
            "running": counts["running"],
            "warmup": counts["warmup"],
        },
        "seconds": round(study.seconds, 3),
        "complete": study.closed,
        "ended_by": study.ended_by or None,
    }


def _short(folder: Path) -> str:
    """The name alone where `resume` finds it by name."""
    return folder.name if folder.parent == RUNS.absolute() else str(folder)
