"""Functions and commands of the user's own, found, checked, frozen, and tuned from the command line."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import pytest
from typer.testing import CliRunner

from tuneapp import tasks
from tuneapp.cli import app
from tuneapp.errors import TuneappError, UsageError
from tuneapp.objective import Context
from tuneapp.spaces import Categorical, Float, Int, SearchSpace
from tuneapp.studies import RunDirectory, Study, TrialState
from tuneapp.tasks import commands, functions

runner = CliRunner()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, what it imports, and a file; it is where the user is."""
    files = {
        "ownpkg/__init__.py": "",
        "ownpkg/mod.py": "from ownpkg.more import SHIFT\ndef score(x): return -abs(x - SHIFT)\n",
        "ownpkg/more.py": "SHIFT = 0.25\n",
        "objective.py": """
            from typing import Annotated
            import neighbour
            from tuneapp import Categorical, Float
            def score(x: Annotated[float, Float(0, 1)], kind: Annotated[str, Categorical(["a", "b"])] = "a"):
                print("printed", kind)
                return neighbour.PART + x
            def steps(x, context):
                for step in range(context.max_iterations):
                    yield {"loss": x + 1 / (step + 1), "accuracy": 1 - x}
            def fails(x):
                raise ValueError(x)
            def nan(x):
                return float("nan") if x > 0.5 else x
            """,
        "neighbour.py": "PART = 1.0\n",
        "train.py": """
            import json, sys
            lr, out = float(sys.argv[1]), sys.argv[2]
            print("lr", lr); print("noise", file=sys.stderr)
            for epoch in range(3):
                print(f"epoch {epoch} loss={abs(lr - 0.1) / (epoch + 1):.6f}")
            if lr > 0.9: sys.exit(4)
            if out != "-":
                json.dump({"score": lr, "size": 3}, open(out, "w"))
            """,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - set(before):
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


def tune(*arguments: str, code: int = 0) -> Study:
    options = ["--backend", "local", "--concurrent", "2", "--json"]
    result = runner.invoke(app, ["tune", *arguments, *options])
    assert result.exit_code == code, result.output
    return RunDirectory(Path(json.loads(result.stdout)["run_dir"])).read()


def test_a_file_is_tuned_by_its_annotations_and_its_source_is_kept(project: Path) -> None:
    study = tune("objective.py:score", "--samples", "4")
    assert study.request.metric.name == "score"
    assert set(study.trials[0].config) == {"x", "kind"}
    assert study.folder is not None
    assert {path.name for path in (study.folder / "source").iterdir()} == {"objective.py", "neighbour.py"}
    assert (study.folder / "output" / "00000.txt").read_text().startswith("printed ")


def test_a_module_is_found_from_the_current_folder(project: Path) -> None:
    study = tune("ownpkg.mod:score", "--param", "x=float:0:1", "--samples", "4", "--mode", "min")
    assert study.request.metric.mode == "min"
    assert study.folder is not None
    kept = {str(path.relative_to(study.folder / "source")) for path in study.folder.glob("source/**/*.py")}
    assert {"ownpkg/mod.py", "ownpkg/more.py", "ownpkg/__init__.py"} <= kept


def test_a_function_that_yields_is_stopped_early(project: Path) -> None:
    study = tune(
        "objective.py:steps", "--param", "x=float:0:1", "--samples", "9", "--max-iterations", "9",
        "--metric", "loss", "--search", "random",
    )  # fmt: skip
    assert study.request.metric.mode == "min"
    assert study.counts()["stopped"] > 0
    assert study.counts()["finished"] > 0


@pytest.mark.parametrize(("function", "state"), [("fails", TrialState.FAILED), ("nan", TrialState.DIVERGED)])
def test_the_exit_code_tells_of_failed_trials(project: Path, function: str, state: TrialState) -> None:
    study = tune(
        f"objective.py:{function}", "--param", "x=float:0:1", "--samples", "4", "--keep-going", code=1
    )
    assert state in {trial.state for trial in study.trials}
    assert len(study.trials) == 4


def test_a_commands_output_is_searched_for_its_result(project: Path) -> None:
    command = f"{sys.executable} train.py {{lr}} -"
    study = tune(
        "--command", command, "--param", "lr=float:0.01:1:log", "--metric", "loss",
        "--metric-regex", "loss=([0-9.]+)", "--samples", "5",
    )  # fmt: skip
    for trial in study.trials:
        if trial.config["lr"] > 0.9:
            assert "exit code 4" in trial.reason
        else:
            assert study.value(trial) == pytest.approx(abs(trial.config["lr"] - 0.1) / 3, abs=1e-6)
    assert study.folder is not None
    kept = (study.folder / "output" / "00000.txt").read_text()
    assert kept.startswith("$ ")
    assert "epoch 2 loss=" in kept
    assert "noise" in kept
    assert kept.endswith("exit code 0\n")


def test_a_command_may_write_json_instead(project: Path) -> None:
    command = f"{sys.executable} train.py {{lr}} {{out}}"
    study = tune("--command", command, "--param", "lr=float:0.01:0.8", "--samples", "2")
    assert [study.value(trial) for trial in study.trials] == [t.config["lr"] for t in study.trials]
    assert study.trials[0].value("size") == 3


def run_command(command: str, *patterns: str, timeout: float | None = None, folder: Path) -> Any:
    call = commands.objective("loss", command, patterns, str(folder))
    return call({"x": "a b'c"}, Context(folder=folder, timeout=timeout))


def test_values_with_spaces_and_quotes_stay_one_argument(tmp_path: Path) -> None:
    code = "import sys; print(len(sys.argv), sys.argv[1], 'loss=1')"
    (tmp_path / "p.py").write_text(code)
    assert run_command(f"{sys.executable} p.py {{x}}", "^2 a b'c loss=(.*)", folder=tmp_path) == {"loss": 1.0}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.exit(3)", "ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("print('nothing')", "No line"),
        ("print('loss=much')", "must match a number, but found 'much'"),
        ("import time\nwhile True: time.sleep(1)", "ran longer than the 0.5 s"),
    ],
)
def test_a_command_that_fails_says_how(code: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(code)
    with pytest.raises(TuneappError, match=says):
        run_command(f"{sys.executable} p.py {{x}}", "loss=(.*)", timeout=0.5, folder=tmp_path)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TuneappError, match="'nosuchprogram' cannot be run"):
        run_command("nosuchprogram {x}", "(.*)", folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch.py:score"], "nosuch.py does not"),
        (["objective.py:scor"], "Did you mean 'score'?"),
        (["ownpkg.nosuch:score"], "cannot be imported"),
        (["objective.py:fails"], "--param x=float:-5:5"),
        (["objective.py:fails", "--param", "y=float:0:1"], "has no parameter 'y'"),
        (["objective.py:score", "--param", "x=float:1:0"], "--param x"),
        (["objective.py:score", "--backend", "dask"], "`--backend` must be ray or local, but got 'dask'"),
        (["objective.py:score", "--trial-timeout", "0"], "above 0 seconds"),
        (["objective.py:score", "--metric", "loss:low"], "mode must be max or min"),
        ([], "A task must be named"),
        (["digits", "--command", "x"], "got both"),
        (["--command", "prog {y}", "--param", "x=int:1:3", "--metric-regex", "(.*)"], "has {y}"),
        (["--command", "prog {x}", "--param", "x=int:1:3"], "result must be found"),
        (["--command", "prog {x", "--param", "x=int:1:3"], "cannot be read"),
        (["--command", "prog 'x", "--param", "x=int:1:3"], "cannot be read"),
        (
            ["--command", "prog {x}", "--param", "x=int:1:3", "--metric-regex", "loss"],
            "must say where the number is: 'loss={number}'",
        ),
        (["--command", "prog {x}", "--param", "x=int:1:3", "--metric-regex", "("], "no regular expression"),
        (["--command", "prog", "--metric-regex", "(.*)"], "must have a space"),
    ],
)
def test_a_wrong_request_is_one_clear_line_and_starts_nothing(
    project: Path, arguments: list[str], says: str
) -> None:
    result = runner.invoke(app, ["tune", *arguments])
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert not (project / "runs").exists()


def test_the_task_may_stand_in_the_space_file(project: Path) -> None:
    text = "task: objective.py:score\nhyperparameters: {x: {type: float, low: 0, high: 1}}"
    (project / "space.yaml").write_text(text)
    study = tune("--space", "space.yaml", "--samples", "2")
    assert study.request.task == f"{project / 'objective.py'}:score"


def test_a_file_named_as_a_module_of_pythons_own_leaves_that_alone(project: Path) -> None:
    import random

    (project / "random.py").write_text("def score(x): return x")
    assert functions.load(f"{project / 'random.py'}:score")(2) == 2
    assert sys.modules["random"] is random


def test_a_module_that_exits_when_it_is_imported_is_refused(project: Path) -> None:
    (project / "script.py").write_text("raise SystemExit(1)")
    with pytest.raises(UsageError, match="cannot be imported: SystemExit"):
        functions.load(f"{project / 'script.py'}:score")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


SCORE = "def score(x): return -abs(x - CENTRE)\n"
# What is tuned, its files, and the folder that its imports start from.
PACKAGES = {
    "a package": (
        "own/train.py",
        {"own/helper.py": "CENTRE = 0.3", "own/train.py": "from .helper import CENTRE"},
        ".",
    ),
    "two deep": (
        "own/deep/er/train.py",
        {
            "own/helper.py": "CENTRE = 0.3",
            "own/deep/__init__.py": "from ..helper import CENTRE",
            "own/deep/er/__init__.py": "",
            "own/deep/er/train.py": "from .. import CENTRE\nfrom ...helper import CENTRE as same",
        },
        ".",
    ),
    "a folder without an __init__.py": (
        "own/sub/train.py",
        {"own/util.py": "CENTRE = 0.3", "own/sub/train.py": "def score(x):\n    from ..util import CENTRE"},
        ".",
    ),
    "no __init__.py at all": (
        "bare/train.py",
        {"bare/helper.py": "CENTRE = 0.3", "bare/train.py": "from .helper import CENTRE"},
        ".",
    ),
    "a src layout, imports from its top": (
        "src/srcpkg/train.py",
        {
            "src/srcpkg/__init__.py": "",
            "src/srcpkg/util.py": "CENTRE = 0.3",
            "src/srcpkg/train.py": "from srcpkg.util import CENTRE",
        },
        "src",
    ),
    "a file named as a module of Python's own": (
        "own/random.py",
        {
            "own/helper.py": "import random\nCENTRE = 0.3 + 0 * random.random()",
            "own/random.py": "from .helper import CENTRE",
        },
        ".",
    ),
    "a package named as a module of Python's own": (
        "json/train.py",
        {
            "json/__init__.py": "",
            "json/helper.py": "CENTRE = 0.3",
            "json/train.py": "from .helper import CENTRE",
        },
        ".",
    ),
    "a package that imports the file back": (
        "own/train.py",
        {
            "own/__init__.py": "from .train import score\nfrom .helper import CENTRE",
            "own/helper.py": "CENTRE = 0.3",
            "own/train.py": "from .helper import CENTRE",
        },
        ".",
    ),
    "a package's siblings by their bare names": (
        "own/train.py",
        {"own/barehelper.py": "CENTRE = 0.3", "own/train.py": "from barehelper import CENTRE"},
        ".",
    ),
    "a package's own __init__.py": (
        "own/__init__.py",
        {"own/__init__.py": "from .helper import CENTRE", "own/helper.py": "CENTRE = 0.3"},
        ".",
    ),
    "a file with dots in its name": (
        "own/train.v2.py",
        {"own/helper.py": "CENTRE = 0.3", "own/train.v2.py": "from .helper import CENTRE"},
        ".",
    ),
    "a folder with a hyphen in its name": (
        "own/my-models/train.py",
        {"own/helper.py": "CENTRE = 0.3", "own/my-models/train.py": "from ..helper import CENTRE"},
        ".",
    ),
}


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_file_of_a_package_is_imported_as_its_packages_module(project: Path, kind: str) -> None:
    place, files, root = PACKAGES[kind]
    own = {"own/__init__.py": "", **files} if place.startswith("own") else files
    inside = "CENTRE" in own[place] and own[place].startswith("def")
    own[place] += "\n    return -abs(x - CENTRE)\n" if inside else f"\n{SCORE}"
    write(project, own)
    task = tasks.find(f"{place}:score")
    assert task.function is not None
    assert task.function(x=0.3) == 0
    assert task.name == f"{project / place}:score"
    assert task.options == {"folder": str((project / root).resolve())}
    kept = {path.relative_to(project / "kept") for path in task.freeze(project / "kept")}
    assert kept == {Path(name).relative_to(root) for name in own}
    code = f"from tuneapp import tasks; print(tasks.find({task.name!r}).function(x=.3)); "
    code += "import json; json.dumps(1)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False
    )
    assert answer.stdout.split() == ["-0.0"], answer.stderr


def test_a_package_is_found_where_its_folder_was_copied_to(project: Path) -> None:
    write(
        project,
        {
            "a/own/__init__.py": "",
            "a/own/helper.py": "CENTRE = 1",
            "a/own/train.py": f"from .helper import CENTRE\n{SCORE}",
        },
    )
    task = tasks.find("a/own/train.py:score")
    shutil.copytree(project / "a", project / "b")
    moved = task.moved(project / "b")
    assert moved.name == f"{project / 'b/own/train.py'}:score"
    assert Path(sys.modules[moved.function.__module__].__file__ or "") == project / "b/own/train.py"  # type: ignore[union-attr]


def test_a_file_that_is_a_link_is_where_it_points_to(project: Path) -> None:
    write(
        project,
        {
            "real/linked.py": "from realneighbour import CENTRE\n" + SCORE,
            "real/realneighbour.py": "CENTRE = 0.3",
        },
    )
    (project / "linked.py").symlink_to("real/linked.py")
    task = tasks.find("linked.py:score")
    assert task.options["folder"] == str(project / "real")
    assert {path.name for path in task.freeze(project / "kept")} == {"linked.py", "realneighbour.py"}


def test_a_package_is_tuned_from_the_command_line(project: Path) -> None:
    write(
        project,
        {
            "own/__init__.py": "",
            "own/helper.py": "CENTRE = 0.3",
            "own/train.py": f"from .helper import CENTRE\n{SCORE}",
        },
    )
    study = tune("own/train.py:score", "--param", "x=float:0:1", "--samples", "4")
    assert study.counts()["finished"] == 4
    assert study.folder is not None
    assert (study.folder / "source" / "own" / "helper.py").is_file()


def whole(config: dict[str, Any]) -> float:
    return float(config["x"])


def loose(x: float, **others: Any) -> float:
    return x + len(others)


class Model:
    def __call__(self, x: Annotated[int, Int(1, 3)], context: Context) -> float:
        return x + context.seed


def test_functions_of_each_shape_are_called_as_they_want() -> None:
    context = Context(seed=4)
    assert functions.objective(whole)({"x": 1, "y": 2}, context) == 1
    assert functions.objective(loose)({"x": 1, "y": 2}, context) == 2
    assert functions.objective(Model())({"x": 1}, context) == 5
    assert functions.annotated_space(Model()) == {"x": Int(1, 3)}
    space = SearchSpace({"x": Float(0, 1), "y": Categorical(["a", "b"])})
    assert functions.check(whole, space) is None
    assert functions.check(loose, space) is None
    with pytest.raises(UsageError, match="has no parameter 'y'"):
        functions.check(Model(), space)


def test_what_can_be_imported_is_referred_to_and_what_cannot_is_not() -> None:
    import json as module

    name, folder = functions.reference(module.dumps) or ("", Path())
    assert name == "json:dumps"
    assert (folder / "json" / "__init__.py").is_file()
    assert functions.reference(lambda x: x) is None
    assert functions.reference(Model()) is None


def test_python_m_tuneapp_tunes_a_file_and_says_what_failed(project: Path) -> None:
    words = ["tune", "objective.py:fails", "--param", "x=float:0:1", "--samples", "2", "--backend", "local"]
    answer = subprocess.run(
        [sys.executable, "-m", "tuneapp", *words], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "ValueError: 0." in answer.stderr
    assert 'objective.py", line' in answer.stderr  # the function's own traceback
    assert "ray" not in answer.stderr.lower().replace("array", "").replace(str(project).lower(), "")
