"""Imports keep to the contracts of pyproject.toml, and help answers before torch or Ray could be imported."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """The contracts, held against the package in this folder."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", str(ROOT / "pyproject.toml")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_keep_to_the_contracts() -> None:
    answer = lint_imports(ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_an_import_that_looks_up_breaks_them_even_inside_a_function(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tuneapp", tmp_path / "tuneapp", ignore=shutil.ignore_patterns("__pycache__"))
    rule = tmp_path / "tuneapp" / "stopping" / "none.py"
    upward = "def look_up():\n    import ray\n    from tuneapp.analysis import axes\n    return axes, ray\n"
    rule.write_text(rule.read_text() + upward)
    answer = lint_imports(tmp_path)
    assert answer.returncode == 1
    assert "tuneapp.stopping.none -> tuneapp.analysis.axes" in answer.stdout
    assert "tuneapp.stopping.none -> ray" in answer.stdout


def test_the_contracts_make_no_exception() -> None:
    contracts = LINTER["contracts"]
    assert {contract["type"] for contract in contracts} >= {"layers", "acyclic_siblings", "protected"}
    assert not any("ignore" in key for contract in contracts for key in contract)


def test_help_of_every_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, typer; from typer.testing import CliRunner; from tuneapp.cli import app\n"
        "names = [[], *([name] for name in typer.main.get_command(app).commands)]\n"
        "assert all(CliRunner().invoke(app, [*name, '--help']).exit_code == 0 for name in names)\n"
        "assert len(names) > 10\n"
        "heavy = {'torch', 'ray', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'torchvision', 'bayes_opt'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
