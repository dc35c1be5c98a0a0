"""The README's table of what one file adds is true: each row is tried in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Addition:
    """What somebody writes: `above` in a file, and a line in the dictionary that stands at its foot."""

    file: str
    dictionary: str
    line: str
    above: str
    command: str
    new_file: str = ""  # holds `above`; the file of the dictionary then imports it
    result: str = ""  # what the command's output must hold

    def make(self, package: Path) -> None:
        path = package / self.file
        text = path.read_text(encoding="utf-8")
        head = re.search(rf"^{self.dictionary}\b.*$", text, re.MULTILINE)
        assert head is not None, f"{self.file} has no {self.dictionary}"
        above = self.above
        if self.new_file:
            (package / self.new_file).write_text(self.above, encoding="utf-8")
            module = "tuneapp." + self.new_file.removesuffix(".py").replace("/", ".")
            above = f"from {module} import mine"
        foot = text.index("\n}", head.start())
        text = f"{text[: head.start()]}{above}\n\n\n{text[head.start() : foot]}\n    {self.line}{text[foot:]}"
        path.write_text(text, encoding="utf-8")


SHORT = "--samples 1 --backend local --no-pictures --json"

ADDITIONS = {
    "a data set": Addition(
        "data/datasets.py",
        "DATASETS",
        '"mine": Dataset(mine, flip=False, stored=False),',
        """
def mine(scratch: Path) -> ImageSet:
    rng = np.random.default_rng(0)
    images = lambda count: rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    labels = lambda count: np.arange(count) % 2
    return ImageSet("mine", images(200), labels(200), images(40), labels(40), ["even", "odd"])
""",
        f"tune mine --set model=mlp --max-epochs 1 {SHORT}",
        result="test_accuracy",
    ),
    "a model": Addition(
        "models.py",
        "MODELS",
        '"mine": mine,',
        """
def mine(*, classes: int, channels: int, size: int, units: int = 8) -> nn.Module:
    pixels = channels * size**2
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, units), nn.ReLU(), nn.Linear(units, classes))
""",
        f"tune --space mine.yaml --max-epochs 1 {SHORT}",
        result='"units": ',
    ),
    "a search": Addition(
        "search/trials.py",
        "SEARCHES",
        '"mine": _trials(Mine),',
        """
class Mine:
    def __init__(self, problem):
        pass

    def learns(self, number):
        return False

    def choose(self, evidence):
        return {"x": evidence.number / 10}, "mine"

    def used_up(self, tried):
        return False
""",
        "tune score.py:score --search mine --samples 3 --backend local --no-pictures --json",
        result='"x": 0.2',
    ),
    "a stopping rule": Addition(
        "stopping/__init__.py",
        "RULES",
        '"mine": mine,',
        """
from tuneapp.stopping.base import Rule, Stop


class Mine(Rule):
    def report(self, trial, iteration, score):
        return Stop("two are enough") if iteration == 2 else None

    def rungs(self, below):
        return [2]


def mine(settings, metric):
    return Mine()
""",
        f"tune score.py:steps --scheduler mine {SHORT}",
        "stopping/mine.py",
        result='"stopped": 1',
    ),
    "a federated strategy": Addition(
        "federated/strategies.py",
        "STRATEGIES",
        '"mine": mine,',
        """
def mine(state: Weights, update: Weights, memory: Memory, server: ServerSettings) -> tuple[Weights, Memory]:
    return state + update / 2, memory
""",
        "fed digits --clients 2 --strategy mine --rounds 1 --backend local --no-pictures --json",
        result='"strategy": "mine"',
    ),
    "a kind of task": Addition(
        "tasks/__init__.py",
        "KINDS",
        '"mine": mine,',
        """
from tuneapp.spaces import Float, SearchSpace
from tuneapp.spaces.files import SpaceFile
from tuneapp.tasks.base import Runnable, Task


class Mine(Task):
    @classmethod
    def takes(cls, target):
        return target == "mine"

    @classmethod
    def find(cls, target, file, data_dir):
        return cls(target, {}, file or SpaceFile(SearchSpace({"x": Float(0, 1)})))

    def build(self, request):
        return Runnable(lambda config, context: config["x"])


mine = Mine
""",
        f"tune mine {SHORT}",
        "tasks/mine.py",
        result='"metric": "score"',
    ),
    "a backend": Addition(
        "backends/__init__.py",
        "BACKENDS",
        '"mine": lambda: mine,',
        """
from tuneapp.backends.outcomes import Report, End
from tuneapp.studies import TrialState


def mine(session):
    session.plan(at_once=1)
    while (trial := session.next()) is not None:
        session.start(trial)
        session.take(trial, (Report(1, {"score": 5.0}, None, 0.1), End(TrialState.FINISHED)), "here")
""",
        "tune score.py:score --samples 1 --backend mine --no-pictures --json",
        "backends/mine.py",
        result='"value": 5.0',
    ),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, in a folder with a function to tune."""
    shutil.copytree(ROOT / "tuneapp", tmp_path / "tuneapp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    (tmp_path / "score.py").write_text(
        "from typing import Annotated\n"
        "import tuneapp\n"
        "X = Annotated[float, tuneapp.Float(0, 1)]\n"
        "def score(x: X):\n    return x\n"
        "def steps(x: X):\n    for step in range(9):\n        yield x + step\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "version: 1\ntask: digits\n"
        "hyperparameters: {model: mine, lr: 0.1, units: {type: int, low: 4, high: 6}}\n"
    )
    return tmp_path


def run(folder: Path, command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tuneapp", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def rows() -> list[str]:
    section = README.partition("## To add something, change one file")[2].partition("\n## ")[0]
    return [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| a")]


def test_each_row_of_the_readme_is_tried() -> None:
    assert set(rows()) == {*ADDITIONS, "a setting"}


@pytest.mark.parametrize("noun", ADDITIONS)
def test_a_line_adds_it(noun: str, copy: Path) -> None:
    addition = ADDITIONS[noun]
    addition.make(copy / "tuneapp")
    printed = run(copy, addition.command.split())
    assert json.loads(printed)["complete"]
    assert addition.result in printed


def test_a_field_adds_a_setting(copy: Path) -> None:
    path = copy / "tuneapp" / "settings.py"
    text = path.read_text(encoding="utf-8")
    field = '    mine: Annotated[int, Setting("Mine, in pixels.", "Search", low=1)] = 7\n'
    head = "class SearchSettings:\n"
    assert text.count(head) == 1
    docstring_end = text.index('"""\n\n', text.index(head)) + len('"""\n\n')
    path.write_text(text[:docstring_end] + field + text[docstring_end:], encoding="utf-8")
    for command in ("tune", "fed", "effects"):
        assert "--mine" in run(copy, [command, "--help"])
    assert (
        "`search.mine`"
        in subprocess.run(
            [sys.executable, "-m", "tuneapp.settings"], cwd=copy, capture_output=True, text=True, check=True
        ).stdout
    )
    space = "hyperparameters: {x: {type: float, low: 0, high: 1}}"
    space = f"version: 1\ntask: score.py:score\nsearch: {{mine: 9}}\n{space}\n"
    (copy / "space.yaml").write_text(space)
    for flags, value in (["--mine", "8"], 8), ([], 9):
        name = f"run{value}"
        run(copy, ["tune", "--space", "space.yaml", "--name", name, *flags, *SHORT.split()])
        request = json.loads((copy / "runs" / name / "run.json").read_text())["request"]
        assert request["search"]["mine"] == value
