"""Imports only look down, and the command line answers before torch or Ray could be imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tuneapp"

# Each module may import from lower rows only; modules of one row may import each other.
ROWS = [
    {"errors"},
    {"settings", "spaces"},
    {"objective", "studies"},
    {"data", "models", "search", "stopping"},
    {"training", "federated", "analysis", "report"},
    {"tasks"},
    {"backends"},
    {"session", "api"},
    {"cli", "__main__", "__init__"},
]
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def noun(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_look_down(path: Path) -> None:
    for name in imported(path):
        head, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if head == "tuneapp" and other in RANK:
            assert RANK[other] <= RANK[noun(path)], f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_one_folder_imports_ray(path: Path) -> None:
    takes_ray = any(name == "ray" or name.startswith("ray.") for name in imported(path))
    assert not takes_ray or "backends/ray" in str(path)


def test_every_module_has_a_row() -> None:
    assert {noun(path) for path in modules()} <= set(RANK)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from tuneapp.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'ray', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'torchvision', 'bayes_opt'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
