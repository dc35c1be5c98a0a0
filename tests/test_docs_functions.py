"""Everything that docs/functions.md shows runs as it is shown."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuneapp.cli import app

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = re.findall(
    r"^```(sh|python)\n(.*?)^```", (DOCS / "functions.md").read_text(), re.MULTILINE | re.DOTALL
)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


@pytest.fixture(autouse=True)
def _examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DOCS / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    monkeypatch.syspath_prepend(str(tmp_path / "examples"))
    for name in ("griewank", "boosting", "digits_svc"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_the_python_of_the_docs_runs(text: str) -> None:
    scope = {"__name__": "__main__"}
    exec(compile(text, "docs/functions.md", "exec"), scope)
    found = scope.get("study") or scope["loop"]
    assert found.best is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", [line for line in COMMANDS if "--backend local" in line])
def test_the_commands_of_the_docs_run(line: str) -> None:
    line = line.replace("python ", f"{shlex.quote(sys.executable)} ", 1) if "--command" in line else line
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert "Best: trial" in result.stdout


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("line", [line for line in COMMANDS if "--backend local" not in line])
def test_the_quick_start_runs_on_ray(line: str, ray_here: None) -> None:
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert "30 trials: 30 finished (20 warm-up)" in result.stdout
    plots = next(Path("runs").iterdir()) / "plots"
    assert {"results.png", "map.png", "parallel.png"} <= {path.name for path in plots.iterdir()}
