"""How a TuneappError reaches the user: one message on stderr, its exit code, no traceback."""

from typing import Any

import typer
from typer.core import TyperGroup

from tuneapp.errors import TuneappError

INTERRUPTED = 130  # as shells number a process that SIGINT ended


class ReportingGroup(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TuneappError as error:
            typer.echo(f"tuneapp: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo(
                "tuneapp: interrupted; `tuneapp runs` lists what `tuneapp resume` can go on with.", err=True
            )
            raise typer.Exit(INTERRUPTED) from None
