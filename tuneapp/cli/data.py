"""`tuneapp data`: image sets on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from tuneapp.cli import options

app = typer.Typer(no_args_is_help=True, help="List, import and verify image sets.")
Name = Annotated[str, typer.Argument(help="Name of the set: a-z, 0-9, '_' and '-'.")]


@app.command("list")
def list_(data_dir: options.DataDir = None) -> None:
    """List the image sets that are here or can be downloaded."""
    from rich.console import Console
    from rich.table import Table

    from tuneapp import data

    table = Table("name", "train", "test", "size", "classes", "state", box=None)
    for row in data.available(data_dir):
        table.add_row(*(str(cell) for cell in row[:6]))
    Console().print(table)
    typer.echo(f"data dir {data.data_folder(data_dir)}", err=True)


@app.command("import")
def import_(
    name: Name,
    path: Annotated[Path, typer.Argument(help="Image folder, idx or CIFAR archive, or folder of arrays.")],
    size: Annotated[int | None, typer.Option(help="Pixels per side that images are resized to.")] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Whether a mirrored image is of the same class."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a set of that name.")] = False,
    data_dir: options.DataDir = None,
    quiet: options.Quiet = False,
) -> None:
    """Bring a folder or archive of images into the data dir as a set of uint8 arrays."""
    from rich.console import Console
    from rich.progress import Progress

    from tuneapp.data.imports import import_images

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(f"import {name}", total=None)
        imported = import_images(
            name,
            path,
            data_dir,
            size,
            flip=flip,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for note in imported.notes:
        typer.echo(note, err=True)
    images = imported.images
    typer.echo(
        f"{name}: {len(images.train_labels)} training and {len(images.test_labels)} test pictures "
        f"of {len(images.classes)} classes; `tuneapp tune {name}` tunes a classifier of them."
    )


@app.command()
def verify(name: Name, data_dir: options.DataDir = None) -> None:
    """Check a set's arrays against their recorded checksums, and count its classes."""
    from rich.console import Console
    from rich.table import Table

    from tuneapp import data

    found = data.verify(name, data_dir)
    table = Table("class", "train", "test", box=None)
    for label in found.images.classes:
        table.add_row(label, str(found.train_counts[label]), str(found.test_counts[label]))
    Console().print(table)
    for array, checksum in found.sha256.items():
        typer.echo(f"sha256 {checksum}  {array}")
    typer.echo(
        f"{name} is whole." if found.recorded else f"{name} is whole; its checksums were not recorded."
    )
