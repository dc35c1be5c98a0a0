"""How a TuneappError reaches the user: one message on stderr, its exit code, no traceback."""

import errno
from typing import Any

import typer
from typer.core import TyperGroup

from tuneapp.errors import TuneappError

REMEDIES = {
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOSPC: "make room, and try again",
    errno.EDQUOT: "make room, and try again",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "make it readable and writable, or choose another folder"
    ),
}
INTERRUPTED = 130  # as shells number a process that SIGINT ended


class ReportingGroup(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TuneappError as error:
            typer.echo(f"tuneapp: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.filename is None:  # of no file: a bug, which keeps its traceback
                raise
            remedy = REMEDIES.get(error.errno or 0, "look at that path, and try again")
            typer.echo(f"tuneapp: {_short(error.filename)}: {error.strerror}; {remedy}.", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo(
                "tuneapp: interrupted; `tuneapp runs` lists what `tuneapp resume` can go on with.", err=True
            )
            raise typer.Exit(INTERRUPTED) from None


def _short(path: Any) -> str:
    text = str(path)
    return text if len(text) <= 300 else f"{text[:150]}…{text[-100:]}"
