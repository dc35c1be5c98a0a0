"""Ray's dashboard: whether it can be had, and how to log in."""

import os
from importlib.util import find_spec
from pathlib import Path

from tuneapp.errors import UsageError


def wanted(asked: bool | None) -> bool:
    """None: wherever the dashboard extra is installed. Raises UsageError where it is asked for and is not."""
    installed = find_spec("aiohttp_cors") is not None  # of all that we install, ray[default] alone needs it
    if asked and not installed:
        raise UsageError("--dashboard needs Ray's dashboard; install tuneapp[dashboard].")
    return installed if asked is None else asked


def announcement(url: str) -> str:
    return f"dashboard http://{url} (log in with the token that `ray get-auth-token` prints)"


def protect_token() -> None:
    """Ray writes its token readable by everybody on the machine: make it the user's alone."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if path.is_file() and path.stat().st_uid == os.getuid():
        path.chmod(0o600)
