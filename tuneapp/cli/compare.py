"""`tuneapp compare`: runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from tuneapp.cli import options


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    runs: Annotated[list[str], typer.Argument(help="Names or paths of two runs or more, or `latest`.")],
    picture: Annotated[Path, typer.Option(help="PNG file to draw the comparison to.")] = Path("compare.png"),
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Set searches side by side at equal trials, epochs and seconds, and effects value by value."""
    from tuneapp.analysis.compare import compare as compared
    from tuneapp.errors import UsageError
    from tuneapp.report.compare import comparison_text
    from tuneapp.report.plots.compare import comparison_plot
    from tuneapp.studies import find_run

    comparison = compared([find_run(run, runs_dir).read() for run in runs])
    typer.echo(comparison_text(comparison))
    try:
        comparison_plot(comparison).savefig(picture, dpi="figure")
    except OSError as error:
        raise UsageError(
            f"{picture} cannot be written: {error.strerror}; choose another --picture."
        ) from None
    typer.echo(f"picture {picture}", err=True)
