"""docs/architecture.md tells what is there: modules, signatures, functions, formats, public names."""

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

import tuneapp
from tuneapp.settings import Metric, Request
from tuneapp.studies import RunDirectory, events
from tuneapp.studies.provenance import provenance

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SEAMS = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STEPS = re.findall(r"^\d\. \[(tuneapp/\S+)\]\(\.\./\S+\) (.*?):", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def structure() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("structure")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def section(title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    return re.split(r"^#+ ", PAGE.partition(f" {title}\n")[2], flags=re.MULTILINE)[0]


def keys(title: str) -> list[list[str]]:
    """The names in backticks of each row of a section's tables: those of the first column, of the second."""
    rows = [line.split("|")[1:3] for line in section(title).splitlines() if line.startswith("| `")]
    return [re.findall(r"`(\w+)`", first) + re.findall(r"`(\w+)`", second) for first, second in rows]


def defined(path: str) -> dict[str, ast.AST]:
    """Functions of a file by name, methods as Class.method, classes too."""
    names: dict[str, ast.AST] = {}
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    names[f"{node.name}.{inner.name}"] = inner
    return names


def signature(node: ast.AST) -> tuple[str, str]:
    assert isinstance(node, ast.FunctionDef)
    return ast.unparse(node.args), "" if node.returns is None else ast.unparse(node.returns)


def test_the_tree_names_every_module(structure: ModuleType) -> None:
    shown = PAGE.partition("<!-- tree -->\n")[2].partition("<!-- /tree -->")[0]
    names = [line.split()[0] for line in shown.splitlines() if line.strip()]
    there = [line.split()[0] for line in structure.tree(ROOT / "tuneapp")]
    assert names == there, "write it anew with: python scripts/structure.py tuneapp --tree"


def test_the_numbers_are_those_of_the_package(structure: ModuleType) -> None:
    mine = structure.read(ROOT / "tuneapp")
    assert structure.ways_upward(mine) == 0
    assert structure.cycles(mine.imports) == []
    assert structure.cycles(structure.nouns(mine)) == []


@pytest.mark.parametrize(("path", "code"), SEAMS, ids=[path for path, _ in SEAMS])
def test_the_seams_have_the_signatures_shown(path: str, code: str) -> None:
    there = defined(path)
    (shown,) = ast.parse(code).body
    assert isinstance(shown, ast.ClassDef)
    for method in shown.body:
        assert isinstance(method, ast.FunctionDef)
        assert signature(method) == signature(there[f"{shown.name}.{method.name}"]), method.name


def test_all_seams_are_shown() -> None:
    classes = {
        line.split()[1].partition("(")[0].rstrip(":") for _, code in SEAMS for line in code.splitlines()[:1]
    }
    assert classes == {"Task", "Search", "Algorithm", "Rule", "Session", "Observer", "Analysis"}


def test_a_trials_way_leads_through_functions_that_are_there() -> None:
    assert len(STEPS) == 6
    for path, names in STEPS:
        mentioned = re.findall(r"`([\w.]+)`", names)
        assert mentioned, path
        assert set(mentioned) <= set(defined(path))


def test_run_json_has_the_keys_of_the_page(tmp_path: Path) -> None:
    request = Request("digits", {"hyperparameters": {}, "points": []}, Metric("score"))
    facts = {**provenance([]), "backend": "local", "data": {}}
    run = RunDirectory.create(tmp_path, "run", request, facts)
    written = json.loads((run.path / "run.json").read_text())
    named = {row[0] for row in keys("run.json")}
    assert named == set(written) | set(written["request"])


def test_trials_jsonl_has_the_events_and_fields_of_the_page() -> None:
    rows = {row[0]: set(row[1:]) for row in keys("trials.jsonl")}
    assert set(rows) == set(events.NAMES)
    for name, kind in events.NAMES.items():
        there = {field.name for field in fields(kind)} - {"time", "clock", "state"}
        same = kind is events.Ended and not rows[name]
        assert same or rows[name] == there, name


def test_json_has_the_keys_of_the_page() -> None:
    from tuneapp.cli.options import outcome
    from tuneapp.studies import Study

    printed = outcome(Study(Request("digits", {"hyperparameters": {}, "points": []}, Metric("score"))))
    named = set(re.findall(r"`(\w+)`", section("What is public").partition("`--json`")[2].partition(";")[0]))
    assert named == {*printed, *printed["trials"], "trial", "config", "metric", "value"}


def test_the_public_names_are_all_there_and_all_told() -> None:
    told = section("What is public").partition("Names in `tuneapp.__all__`")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", told) == tuneapp.__all__
    assert sorted(tuneapp.__all__) == tuneapp.__all__
    for name in tuneapp.__all__:
        assert getattr(tuneapp, name).__doc__, f"{name} has no docstring"
    public = {name for name in dir(tuneapp) if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(tuneapp, name), ModuleType)}
    assert public - modules - {"TYPE_CHECKING", "Any"} == set(tuneapp.__all__)
