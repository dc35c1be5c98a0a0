"""A run directory that was damaged is one clear error, and hides no other run."""

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import append
from typer.testing import CliRunner

from tuneapp.analysis.effects.csv_curves import import_curves
from tuneapp.cli import app
from tuneapp.errors import TuneappError
from tuneapp.studies import RunDirectory

MakeRun = Callable[..., RunDirectory]
OLD = Path(__file__).parent / "runs_0_1_0"
EXAMPLES = 3000 if settings.get_current_profile_name() == "explore" else 30
VALUES: list[Any] = [
    None, True, -1, 0, 1, 5, 1.5, 1e308, float("inf"), float("nan"), 10**400, "", "x", "nan", "\ud800",
    "=1+1", "x" * 5000, [], [None], [[]], {}, {"a": 1}, {"type": "float"}, 2**63,
]  # fmt: skip
RUN_JSON = [
    "",
    "null",
    "5",
    "[]",
    "{}",
    '"x"',
    "{",
    '{"request": 5}',
    '{"request": {}}',
    '{"format": "x"}',
    "[" * 10**5,
]


def invoke(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.output
    if result.exit_code:
        assert "tuneapp: " in result.output, result.output
    return result


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    run = make_run("curve", samples=4, max_iterations=3)
    for trial in range(4):
        append(run, "asked", trial=trial, config={"x": 0.25 * trial}, origin="warmup", seed=0)
        append(run, "started", trial=trial)
        append(run, "iteration", trial=trial, iteration=1, metrics={"score": 0.5}, worker="host:1")
        append(run, "finished", trial=trial)
    append(run, "closed")
    return run


@pytest.mark.parametrize("content", RUN_JSON, ids=lambda text: text[:20] or "empty")
def test_a_damaged_run_json_is_one_error_with_its_path(run: RunDirectory, content: str) -> None:
    (run.path / "run.json").write_text(content)
    with pytest.raises(TuneappError, match=r"run\.json cannot be read: .+; restore it from a copy\."):
        run.read()


@pytest.mark.parametrize(
    "key", ["task", "space", "metric", "search", "scheduler", "resources", "also", "options"]
)
@pytest.mark.parametrize(
    "value", [5, "x", [5], {"hyperparameters": 5, "samples": "x", "name": 5, "type": 5, "cpus": "x"}]
)
def test_a_request_of_wrong_types_is_one_error(run: RunDirectory, key: str, value: Any) -> None:
    facts = json.loads((run.path / "run.json").read_text())
    if (key, type(value)) in (("task", str), ("options", dict)):
        value = None
    facts["request"][key] = value
    (run.path / "run.json").write_text(json.dumps(facts))
    with pytest.raises(TuneappError, match=r"run\.json cannot be read: .+; restore it from a copy\."):
        run.read()


def reported(trial: int, iteration: int) -> dict[str, Any]:
    return {"event": "iteration", "time": 1.0, "trial": trial, "iteration": iteration, "metrics": {}}


ASKED = {"event": "asked", "time": 1.0, "trial": 4, "config": {"x": 0.5}, "origin": "warmup", "seed": 0}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["null"], "must be an object with an `event`"),
        (["5"], "must be an object"),
        (["{"], "is not JSON"),
        ([reported(9, 1)], "trial 9 was never asked"),
        ([{"event": "finished", "time": 1.0, "trial": 0}], "trial 0 has ended before"),
        ([{"event": "tested", "time": 1.0, "trial": 9, "metrics": {}}], "trial 9 was never asked"),
        ([{"event": "asked", "time": 1.0, "trial": 9, "config": {}, "origin": "x", "seed": 0}], "in order"),
        ([{"event": "asked", "time": 1.0, "trial": 4, "config": 5, "origin": "x", "seed": 0}], "`config`"),
        ([ASKED | {"config": {"x": "much"}}], "hyperparameter x"),
        (
            [ASKED, reported(4, 2), reported(4, 1)],
            "1 of trial 4 comes after 2",
        ),
        ([{"event": "extended", "time": 1.0, "samples": 10**30, "warmup": 10**31}], "line"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_named_with_what_to_do(run: RunDirectory, lines: list[Any], says: str) -> None:
    number = len(run.events_file.read_text().splitlines()) + len(lines)
    with run.events_file.open("a") as file:
        file.writelines(line + "\n" if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    with pytest.raises(TuneappError, match=f"line {number}") as raised:
        run.read()
    assert says in str(raised.value)
    assert "delete" in str(raised.value)
    for command in ("report", "resume", "export", "compare", "replay"):
        more = [str(run.path.parent / "out")] if command == "export" else []
        result = invoke(command, str(run.path), *more)
        assert result.exit_code == 1
        assert f"line {number}" in result.output


def test_a_bad_run_hides_no_other(run: RunDirectory) -> None:
    for number, content in enumerate(RUN_JSON):
        shutil.copytree(run.path, run.path.parent / f"bad{number}")
        (run.path.parent / f"bad{number}" / "run.json").write_text(content)
    output = invoke("runs", "--runs-dir", str(run.path.parent)).output
    assert output.count("unreadable") == len(RUN_JSON)
    assert "complete" in output


def _values(data: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value below."""
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        yield data, key
        if isinstance(value, dict | list):
            yield from _values(value)


def _mutate_json(text: str, rng: random.Random) -> str:
    data = json.loads(text)
    container, key = rng.choice(list(_values(data)) or [(None, None)])
    if container is None:
        return text
    deed = rng.randrange(4)
    if deed == 0:
        del container[key]
    elif deed == 1 and isinstance(container, dict):
        container[rng.choice(["x", "", "lr", "trial"])] = container.pop(key)
    else:
        container[key] = rng.choice(VALUES)
    return json.dumps(data, indent=None)


def mutate(folder: Path, rng: random.Random) -> None:
    """Damage one of the two files: its bytes, its lines, or values in its JSON."""
    file = folder / rng.choice(["run.json", "trials.jsonl", "trials.jsonl"])
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        raw = file.read_bytes()
        deed = rng.randrange(4)
        if deed == 0:
            at, length = rng.randrange(len(raw) + 1), rng.choice([0, 1, 4, 50])
            raw = raw[:at] + rng.randbytes(rng.choice([0, 1, 4])) + raw[at + length :]
        elif deed == 1:
            lines = raw.splitlines(keepends=True)
            junk = [b"null\n", b"5\n", b"[]\n", b"{}\n", b"\n", rng.choice(lines or [b"\n"])]
            at = rng.randrange(len(lines) + 1)
            lines[at : at + rng.choice([0, 1, 2])] = rng.choice(
                [[], [rng.choice(junk)], [lines[-1]] if lines else []]
            )
            raw = b"".join(lines)
        else:
            try:
                if file.name == "run.json":
                    raw = _mutate_json(raw.decode(), rng).encode()
                else:
                    lines = raw.splitlines(keepends=True)
                    at = rng.randrange(len(lines))
                    lines[at] = _mutate_json(lines[at].decode(), rng).encode() + b"\n"
                    raw = b"".join(lines)
            except (ValueError, TypeError, AttributeError, RecursionError):  # it was damaged before
                continue
        file.write_bytes(raw)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of 0.1.0, one of a study of effects, one of today with a space of all kinds."""
    folder = tmp_path_factory.mktemp("curves")
    for activation in ("relu", "tanh", "gelu"):
        for seed in (0, 1):
            rows = "".join(f"{k},{0.1 * k + 0.01 * seed}\n" for k in range(1, 4))
            (folder / f"lr_0.1_{activation}_seed_{seed}.csv").write_text("epoch,val_accuracy\n" + rows)
    effects = import_curves(folder, None, folder / "runs", "effects")
    return [OLD / "digits", OLD / "interrupted", effects.path]


def look(folder: Path) -> None:
    """Every command that reads a run and computes nothing."""
    runs, run = str(folder.parent), str(folder)
    invoke("runs", "--runs-dir", runs)
    if invoke("report", "--no-pictures", run).exit_code == 0:
        invoke("replay", run, "--orders", "2")
        invoke("compare", run, run, "--picture", str(folder / "compare.png"))
    else:
        for command in (
            ["resume", run],
            ["export", run, str(folder / "out")],
            ["replay", run],
            ["compare", run, run],
        ):
            assert invoke(*command).exit_code in (1, 2)


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32))
def test_no_damage_ends_in_a_traceback(originals: list[Path], seed: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "runs" / "one"
        shutil.copytree(rng.choice(originals), folder)
        mutate(folder, rng)
        look(folder)
