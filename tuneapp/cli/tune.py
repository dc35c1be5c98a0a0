"""`tuneapp tune`: search the hyperparameters of a task."""

import sys
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from tuneapp.cli import options
from tuneapp.cli.flags import takes_settings


def register(app: typer.Typer) -> None:
    app.command()(tune)


@takes_settings("tune")
def tune(
    what: options.What,
    given: dict[str, Any],
    task: Annotated[
        str | None,
        typer.Argument(
            help="An image set: digits, mnist, cifar10 … (`tuneapp data list`), or a function: "
            "file.py:function, package.module:function. Else the one in the --space file."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Search hyperparameters: random warm-up, then Bayesian; ASHA stops the weak early."""
    from tuneapp import session
    from tuneapp.settings import Settings, by_section

    flags = by_section(given, "tune")
    subject = session.find_task(task, what.path, flags.get("options", {}))
    settings = Settings.of(subject.file.sections, flags)
    searched = what.applied(subject.file.space, extends=subject.open)
    request, notes = session.make_request(subject, searched, settings)
    run = settings.run
    with ExitStack() as stack:
        show = options.show(stack, run, as_json, notes)
        study = session.start(request, run.runs_dir, run.name, sys.argv[1:], show, run.backend, subject)
    options.finish(study, as_json)
