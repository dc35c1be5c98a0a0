"""Ray's dashboard is offered only where it is installed, and its token is nobody else's."""

import importlib.util
from pathlib import Path

import pytest

from tuneapp.backends.ray import dashboard
from tuneapp.errors import UsageError

INSTALLED = importlib.util.find_spec("aiohttp_cors") is not None


def test_the_dashboard_is_on_by_itself_only_where_its_extra_is_installed() -> None:
    assert dashboard.wanted(None) is INSTALLED
    assert dashboard.wanted(False) is False


@pytest.mark.skipif(INSTALLED, reason="the dashboard extra is installed here")
def test_asking_for_a_dashboard_that_is_not_there_names_the_extra() -> None:
    with pytest.raises(UsageError, match=r"tuneapp\[dashboard\]"):
        dashboard.wanted(True)


def test_the_token_file_becomes_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "auth_token"
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    dashboard.protect_token()
    assert token.stat().st_mode & 0o777 == 0o600
