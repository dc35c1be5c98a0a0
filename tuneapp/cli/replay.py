"""The what-if of early stopping, from a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from tuneapp.cli import options
from tuneapp.cli.flags import help_of


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    run: Annotated[
        str, typer.Argument(help="A run's name or path, `latest`, or a folder of CSV curves.")
    ] = "latest",
    grace: Annotated[str, typer.Option(help="Iterations before the first cut, comma-separated.")] = "1,3,10",
    reduction: Annotated[
        str, typer.Option(help="One in so many goes on at a rung, comma-separated.")
    ] = "2,3,4",
    orders: Annotated[int, typer.Option(min=1, help="Random arrival orders to replay.")] = 400,
    metric: Annotated[
        str | None,
        typer.Option(help="Column of CSV curves, perhaps with its mode: loss:min; a run has its own metric."),
    ] = None,
    mode: Annotated[str | None, typer.Option(help=help_of("mode"))] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the orders.")] = 0,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Replay ASHA offline: which trials each setting would have stopped, and whether the winner survives."""
    from rich.console import Console
    from rich.table import Table

    from tuneapp.analysis import replay as replays
    from tuneapp.errors import UsageError
    from tuneapp.session import guess
    from tuneapp.settings import Metric
    from tuneapp.studies import find_run

    folder = Path(run)
    if folder.is_dir() and any(folder.glob("*.csv")) and not (folder / "run.json").exists():
        if metric is None:
            raise UsageError("A folder of CSV curves needs the name of a column: add --metric.")
        parsed, guessed = Metric.parse(metric, mode)  # type: ignore[arg-type]
        if guessed:
            typer.echo(guess(parsed), err=True)
        curves = replays.curves_of_folder(folder, parsed)
    else:
        curves = replays.curves_of_study(find_run(run, runs_dir).read())
    if not curves:
        raise UsageError(f"{run} has no trial that reported its metric: there is nothing to replay.")
    longest = max(curve.points[-1][0] for curve in curves)
    winner = replays.incumbent(curves)
    table = Table(
        "grace", "reduction", "winner kept", "iterations saved", "stopped in the run's order", box=None
    )
    for wanted in _numbers(grace, "--grace", 1):
        for share in _numbers(reduction, "--reduction", 2):
            found = replays.what_if(curves, wanted, share, longest, orders, seed)
            stopped = ", ".join(f"{name}@{at}" for name, at in found.stopped.items())
            table.add_row(
                str(wanted), str(share), f"{found.kept:.0%}", f"{1 - found.used:.0%}", stopped or "none"
            )
    console = Console()
    console.print(table)
    console.print(
        f"{len(curves)} trials, the longest of {longest} iterations; the winner is {winner.name}. Kept and "
        f"saved are means over {orders} random arrival orders; name@iteration is where a trial "
        "would have ended.",
        highlight=False,
    )
    cut = sum(curve.points[-1][0] < longest for curve in curves)
    if cut:
        console.print(
            f"{cut} trials ended before {longest} iterations: how they would have gone on is not known, so "
            "what a laxer setting saves is overstated and a better trial among them cannot win.",
            highlight=False,
        )


def _numbers(text: str, option: str, low: int) -> list[int]:
    from tuneapp.errors import UsageError

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < low:
        raise UsageError(
            f"{option} must be whole numbers from {low}, comma-separated as in 1,3,10, but got '{text}'."
        )
    return numbers
