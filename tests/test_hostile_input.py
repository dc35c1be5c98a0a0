"""What comes from elsewhere, whatever is in it: one clear line, no traceback, and no link is followed."""

import csv
import gzip
import os
import pickle
import random
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import append
from typer.testing import CliRunner

from tuneapp import report, session
from tuneapp.cli import app
from tuneapp.data import formats
from tuneapp.data.formats import read_cifar_pickles
from tuneapp.errors import TuneappError, UsageError
from tuneapp.studies import RunDirectory

MakeRun = Callable[..., RunDirectory]
EXAMPLES = 3000 if settings.get_current_profile_name() == "explore" else 40
LONG = "n" * 5000
HUGE = "9" * 400


def invoke(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.output
    return result


CSVS = {
    "latin-1": "epoch,val_accuracy\n1,0.5\n2,ä\n".encode("latin-1"),
    "NUL": b"epoch,val_accuracy\n1,0\x00.5\n",
    "empty": b"",
    "names only": b"epoch,val_accuracy\n",
    "ragged": b"epoch,val_accuracy\n1,0.5\n2\n",
    "too many": b"epoch,val_accuracy\n1,0.5,3\n",
    "twice": b"epoch,val_accuracy,val_accuracy\n1,0.5,3\n",
    "huge field": b"epoch,val_accuracy\n1," + b"9" * 200_000 + b"\n",
    "infinite iteration": b"epoch,val_accuracy\ninf,0.5\n",
    "huge iteration": b"epoch,val_accuracy\n1e300,0.5\n",
    "falling": b"epoch,val_accuracy\n2,0.5\n1,0.6\n",
    "no number": b"epoch,val_accuracy\n1,much\n",
    "UTF-16": "epoch,val_accuracy\n1,0.5\n".encode("utf-16"),
}
PASSES_IN_EFFECTS = {"infinite iteration", "huge iteration", "falling"}  # which number rows themselves


@pytest.mark.parametrize("name", CSVS)
def test_curves_that_are_none_are_one_line_with_the_file(tmp_path: Path, name: str) -> None:
    for k, rows in enumerate([CSVS[name], b"epoch,val_accuracy\n1,0.5\n2,0.6\n"]):
        (tmp_path / f"lr_0.{k + 1}.csv").write_bytes(rows)
    result = invoke("replay", str(tmp_path), "--metric", "val_accuracy")
    assert result.exit_code == 2
    assert "lr_0.1.csv" in result.output
    result = invoke(
        "effects", "--from-csv", str(tmp_path), "--runs-dir", str(tmp_path / "runs"), "--no-pictures"
    )
    assert result.exit_code == (0 if name in PASSES_IN_EFFECTS else 2)


def test_a_curve_without_a_finite_value_is_left_out_of_a_replay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("epoch,val_accuracy\n1,nan\n")
    result = invoke("replay", str(tmp_path), "--metric", "val_accuracy")
    assert result.exit_code == 2
    assert "nothing to replay" in result.output


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32))
def test_no_curves_end_in_a_traceback(seed: int) -> None:
    rng = random.Random(seed)
    rows = [b"epoch,val_accuracy,loss", *(b"%d,0.%d,%d" % (k, k, 9 - k) for k in range(1, 9))]
    junk = [
        b"inf",
        b"nan",
        b"-1",
        b"1e308",
        b"",
        b'"',
        b"\x00",
        b"\xff",
        b"=1",
        b"9" * 400,
        b"x" * 140_000,
        b",",
    ]
    with tempfile.TemporaryDirectory() as parent:
        for activation in (b"relu", b"tanh"):
            raw = b"\n".join(rows) + b"\n"
            for _ in range(rng.choice([1, 1, 2, 6])):
                at = rng.randrange(len(raw) + 1)
                raw = (
                    raw[:at]
                    + rng.choice([rng.randbytes(2), b"", rng.choice(junk)])
                    + raw[at + rng.choice([0, 1, 3]) :]
                )
            (Path(parent) / f"lr_0.1_{activation.decode()}.csv").write_bytes(raw)
        invoke("replay", parent, "--metric", "val_accuracy", "--orders", "2")
        if seed % 4 == 0:  # a page is drawn
            invoke("effects", "--from-csv", parent, "--runs-dir", f"{parent}/runs", "--no-pictures")


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", LONG],
        ["resume", LONG],
        ["replay", LONG],
        ["compare", LONG, LONG],
        ["export", LONG, "out"],
        ["predict", LONG, "x.png"],
        ["runs", "--runs-dir", LONG],
        ["tune", "digits", "--name", LONG],
        ["tune", "digits", "--space", LONG],
        ["effects", "digits", "--from-csv", LONG],
        ["tune", "digits", "--max-iterations", HUGE],
        ["tune", "digits", "--samples", HUGE],
        ["tune", "digits", "--seed", HUGE],
        ["tune", "digits", "--trial-timeout", HUGE],
        ["tune", "digits", "--set", f"lr={HUGE}"],
        ["tune", "digits", "--param", f"lr=float:0:{HUGE}"],
        ["tune", "digits", "--param", f"lr=int:0:{HUGE}"],
    ],
    ids=lambda each: " ".join(each)[:40],
)
def test_a_name_or_a_number_that_is_too_long_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code in (1, 2)
    assert "tuneapp: " in result.output
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    run = make_run("quadratic", samples=2)
    append(run, "asked", trial=0, config={"x": 0.5, "=kind": "=cmd|' /C calc'!A0"}, origin="warmup", seed=0)
    append(run, "started", trial=0)
    append(run, "iteration", trial=0, iteration=1, metrics={"score": -0.5, "@more": 1.0}, worker="-host:1")
    append(run, "finished", trial=0)
    append(run, "asked", trial=1, config={"x": 0.5, "=kind": "+1"}, origin="warmup", seed=0)
    append(run, "failed", trial=1, reason="@SUM(1)")
    append(run, "closed")
    return run


def test_no_cell_of_the_table_is_a_formula_and_numbers_stay(run: RunDirectory) -> None:
    report.write(run, plots=False)
    with (run.path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["'=kind"] == "'=cmd|' /C calc'!A0"
    assert rows[0]["worker"] == "'-host:1"
    assert rows[1]["reason"] == "'@SUM(1)"
    assert float(rows[0]["score"]) == -0.5
    assert float(rows[0]["'@more"]) == 1.0


@pytest.mark.parametrize("place", ["best", "best/metrics.json", "target"])
def test_an_export_follows_no_link(run: RunDirectory, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    out = tmp_path / "out"
    out.mkdir()
    (run.path / "best").mkdir(exist_ok=True)
    if place == "best":
        outside.mkdir()
        (run.path / "best").rmdir()
        (run.path / "best").symlink_to(outside)
    else:
        outside.write_text("mine")
        (out / "config.yaml" if place == "target" else run.path / place).symlink_to(outside)
    with pytest.raises(UsageError, match="must be no link"):
        session.export(run, out)
    assert not any(outside.iterdir()) if outside.is_dir() else outside.read_text() == "mine"


def test_the_request_is_its_owners_alone(run: RunDirectory) -> None:
    assert (run.path / "run.json").stat().st_mode & 0o777 == 0o600


def test_a_class_name_that_is_not_in_utf_8_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"caf\xe9"]}, protocol=2))
    with pytest.raises(TuneappError, match=r"batches\.meta must name its classes in UTF-8"):
        read_cifar_pickles(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_an_archive_that_unpacks_to_too_much_is_refused_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(formats, "ALWAYS_FITS", 10**5)
    zeros = tmp_path / "zeros.png"
    zeros.write_bytes(bytes(10**7))
    folder = tmp_path / "packed"
    folder.mkdir()
    path = folder / {"zip": "a.zip", "tar": "a.tar.gz", "gz": "train-images-idx3-ubyte.gz"}[kind]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(zeros, "zeros.png")
    elif kind == "tar":
        with tarfile.open(path, "w:gz") as archive:
            archive.add(zeros, "zeros.png")
    else:
        path.write_bytes(gzip.compress(zeros.read_bytes()))
    result = invoke("data", "import", "mine", str(path), "--data-dir", str(tmp_path / "data"))
    assert result.exit_code == 1
    assert "must unpack to at most" in " ".join(result.output.split())


def test_a_folder_that_takes_no_file_is_one_line(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("mkdir", "replace", "write_text"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "open", refuse)
    told = invoke("report", "--no-pictures", str(run.path))
    assert told.exit_code in (0, 1)
    assert "Permission denied" in told.output
    for command in (["resume", str(run.path)], ["export", str(run.path), "out"]):
        result = invoke(*command)
        assert result.exit_code in (1, 2)
        assert result.output.startswith("tuneapp: ")
    assert "complete" in invoke("runs", "--runs-dir", str(run.path.parent)).output
