"""The command line: a command parses, calls one function and prints. Heavy imports go inside the bodies."""

from importlib.metadata import version
from typing import Annotated

import typer

from tuneapp.cli import compare, data, doctor, effects, fed, replay, runs, space, tune
from tuneapp.cli.errors import ReportingGroup

app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find good hyperparameters, see which matter, and trust the answer.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (tune, fed, effects, compare, runs, replay, doctor):
    module.register(app)
app.add_typer(data.app, name="data")
app.add_typer(space.app, name="space")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tuneapp {version('tuneapp')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    app()
