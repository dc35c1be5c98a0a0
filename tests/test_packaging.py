"""What is installed is whole: dependencies are declared, and the wheel works outside the repository."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", name)[0]).lower()


def imported_packages() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "tuneapp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"tuneapp"}


def test_every_import_is_a_declared_dependency() -> None:
    extras = [item for group in PROJECT["optional-dependencies"].values() for item in group]
    declared = {normal(item) for item in [*PROJECT["dependencies"], *extras]}
    home = packages_distributions()
    for package in imported_packages():
        distributions = {normal(name) for name in home.get(package, [package])}
        assert distributions & declared, f"{package} is imported, but {distributions} is not declared"


def test_every_declared_dependency_is_imported() -> None:
    home = packages_distributions()
    imported = {normal(name) for package in imported_packages() for name in home.get(package, [package])}
    assert {normal(item) for item in PROJECT["dependencies"]} <= imported


def test_constraints_pin_every_dependency_and_name_no_host() -> None:
    text = (ROOT / "constraints.txt").read_text()
    pinned = {normal(line) for line in text.splitlines() if "==" in line}
    assert {normal(item) for item in PROJECT["dependencies"]} <= pinned
    assert "://" not in text


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents, somewhere else."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_finds_its_spaces_outside_the_repository(unpacked: Path, tmp_path: Path) -> None:
    shipped = {path.name for path in (ROOT / "search_spaces").glob("*.yaml")}
    assert {path.name for path in (unpacked / "tuneapp" / "search_spaces").iterdir()} == shipped
    answer = subprocess.run(
        [sys.executable, "-m", "tuneapp", "space", "show", "digits"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "batch_size" in answer.stdout


def test_the_wheel_holds_the_page_its_types_and_the_licence(unpacked: Path) -> None:
    for name in ("py.typed", "report/assets/page.html.j2", "report/assets/echarts.js"):
        assert (unpacked / "tuneapp" / name).is_file(), name
    assert list(unpacked.glob("*.dist-info/licenses/LICENSE"))
