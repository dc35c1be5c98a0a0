"""`tuneapp space`: look at search spaces, and check files of one's own."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Check search-space files and show what a task searches.")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="Search-space file.")]) -> None:
    """Read a search-space file and say what is wrong with it, or that all is well."""
    from tuneapp.spaces import files

    loaded = files.load(str(file))
    typer.echo(f"{file}: {len(loaded.space.searched)} hyperparameters are searched; all is well.")


@app.command()
def show(task: Annotated[str, typer.Argument(help="A task, or a search-space file.")]) -> None:
    """Print the hyperparameters of a task or a file as a table."""
    from rich.console import Console
    from rich.table import Table

    from tuneapp import tasks
    from tuneapp.spaces import files

    loaded = files.load(task) if Path(task).is_file() else tasks.find(task).file
    titles, *rows = files.table(loaded.space)
    table = Table(*titles, box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
