"""`tuneapp data`: image sets on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from tuneapp.cli import options

app = typer.Typer(no_args_is_help=True, help="List, import and verify image sets.")


@app.command("list")
def list_(data_dir: options.DataDir = None) -> None:
    """List the image sets that are here or can be downloaded."""
    from rich.console import Console
    from rich.table import Table

    from tuneapp import data

    table = Table("name", "train", "test", "size", "classes", "state", box=None)
    for row in data.available(data_dir):
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)
    typer.echo(f"data dir {data.data_folder(data_dir)}", err=True)
