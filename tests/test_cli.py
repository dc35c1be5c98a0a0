"""The command line as its users meet it: errors of one line, exit codes, which stream gets what."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tuneapp.cli import app
from tuneapp.studies import RunDirectory, TrialState

runner = CliRunner()


def invoke(*arguments: str) -> Any:
    return runner.invoke(app, list(arguments))


def tuneapp(*arguments: str, cwd: Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tuneapp", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tune", "nosuch"], "No task named 'nosuch'"),
        (["tune", "digit"], "Did you mean 'digits'?"),
        (["tune", "digits", "--samples", "0"], "--samples"),
        (["tune", "digits", "--sample", "3"], "--sample"),
        (["tune", "digits", "--search", "bayse"], "Did you mean 'bayes'?"),
        (["tune", "digits", "--scheduler", "ahsa"], "Did you mean 'asha'?"),
        (["tune", "digits", "--model", "small-cnn"], "Did you mean 'small_cnn'?"),
        (["tune", "digits", "--set", "learning_rate=1"], "learning_rate"),
        (["tune", "digits", "--param", "lr=float:1:0.1"], "low=1.0, high=0.1"),
        (["tune", "digits", "--gpus-per-trial", "1.5"], "`--gpus-per-trial` must be a fraction or a whole"),
        (["tune", "digits", "--backend", "lcal"], "Did you mean 'local'?"),
        (["tune", "digits", "--metric", "val_loss:mni"], "Did you mean 'min'?"),
        (["tune", "digits", "--metric-regex", "x"], "is a setting of a command, but digits is an image set"),
        (["tune", "digits", "--gpus-per-trial", "64"], "this machine has"),
        (["tune", "digits", "--cpus-per-trial", "4096"], "this machine has"),
        (["tune", "digits", "--examples", "3"], "3"),
        (["tune", "digits", "--precision", "float8"], "float8"),
        (["tune", "digits", "--name", "../up"], "name must be"),
        (["tune", "digits", "--space", "missing.yaml"], "missing.yaml"),
        (["tune", "digits", "--log", "tensorbord"], "Did you mean 'tensorboard'?"),
        (["resume", "nosuch"], "No run named 'nosuch'"),
        (["report", "nosuch"], "No run named 'nosuch'"),
        (["export", "nosuch", "out"], "No run named 'nosuch'"),
        (["space", "show", "nosuch"], "No task named 'nosuch'"),
        (["data", "import", "Bad Name", "."], "Bad Name"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_wrong_request_is_one_clear_line_and_starts_nothing(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_an_unwritable_runs_folder_is_refused_before_ray_starts(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    result = invoke("tune", "digits", "--runs-dir", str(tmp_path / "taken" / "runs"))
    assert (result.exit_code, "--runs-dir" in result.stderr) == (2, True)


def test_a_corrupt_data_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for split, count in (("train", 20), ("test", 10)):
        np.save(folder / f"{split}_images.npy", np.zeros((count, 8, 8, 1), np.uint8))
        np.save(folder / f"{split}_labels.npy", np.arange(count, dtype=np.int64) % 2)
    (folder / "meta.json").write_text(json.dumps({"classes": ["a", "b"], "source": "made"}))
    whole = (folder / "train_images.npy").read_bytes()
    (folder / "train_images.npy").write_bytes(whole[: len(whole) // 2])
    result = invoke("tune", "mine", "--data-dir", str(tmp_path), "--runs-dir", str(tmp_path / "runs"))
    assert result.exit_code == 1
    assert "train_images.npy" in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


def test_help_says_what_every_command_does() -> None:
    listed = invoke("--help").output
    for command in ("tune", "resume", "report", "runs", "export", "predict", "data", "space"):
        assert command in listed
        assert invoke(command, "--help").exit_code == 0
    assert invoke("--version").output.startswith("tuneapp ")


def test_a_space_file_is_checked_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("version: 1\nhyperparameters:\n  lr: {type: flaot, low: 1e-4, high: 1}\n")
    result = invoke("space", "check", str(file))
    assert result.exit_code == 2
    assert "line 3, column 14" in result.stderr
    assert "float" in result.stderr
    file.write_text(file.read_text().replace("flaot", "float"))
    assert invoke("space", "check", str(file)).exit_code == 0


def test_space_show_prints_every_hyperparameter() -> None:
    shown = invoke("space", "show", "digits").stdout
    assert all(name in shown for name in ("lr", "batch_size", "optimizer", "momentum", "log"))


def test_runs_of_an_empty_folder_say_how_to_make_one(tmp_path: Path) -> None:
    result = invoke("runs", "--runs-dir", str(tmp_path))
    assert result.exit_code == 0
    assert "tuneapp tune digits" in result.stdout


def test_an_imported_image_folder_becomes_a_task(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for label in ("bright", "dark"):
            (tmp_path / "raw" / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 100, (12, 10, 3)) + (150 if label == "bright" else 0)
                path = tmp_path / "raw" / split / label / f"{number}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    data_dir = ["--data-dir", str(tmp_path / "data")]
    result = invoke("data", "import", "lights", str(tmp_path / "raw"), "--size", "8", *data_dir)
    assert result.exit_code == 0, result.output
    assert "24 training and 8 test pictures of 2 classes" in result.stdout
    assert "lights" in invoke("data", "list", *data_dir).stdout
    assert "lights is whole." in invoke("data", "verify", "lights", *data_dir).stdout


def test_a_file_may_name_a_command_and_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "metric: {name: loss}\n"
        "search: {samples: 2, algorithm: random}\n"
        f"options: {{command: '{sys.executable} -c \"print({{x}})\"', metric_regex: '(.*)'}}\n"
        f"run: {{backend: local, pictures: false, runs_dir: {tmp_path / 'runs'}, name: one}}\n"
        "hyperparameters: {x: {type: float, low: 0, high: 1}}\n"
    )
    result = invoke("tune", "--space", str(tmp_path / "space.yaml"))
    assert result.exit_code == 0, result.output
    assert "metric loss: less is better, to judge by its name" in result.stderr
    study = RunDirectory(tmp_path / "runs" / "one").read()
    losses = [trial.history[0].metrics["loss"] for trial in study.trials]
    assert losses == [trial.config["x"] for trial in study.trials]


def test_effects_of_a_function_take_the_settings_of_any_study(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def loss(lr):\n    for step in (3, 0, 2):\n        yield {'loss': lr + step}\n"
    )
    result = invoke(
        "effects", f"{tmp_path / 'mine.py'}:loss", "lr", "--param", "lr=float:0:1", "--values", "0.25,0.5",
        "--metric", "loss:min:best", "--seeds", "2", "--backend", "local", "--trial-timeout", "60", "--grace",
        "2", "--no-pictures", "--runs-dir", str(tmp_path / "runs"), "--name", "one",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    study = RunDirectory(tmp_path / "runs" / "one").read()
    assert [trial.iterations for trial in study.trials] == [3, 3, 3, 3]
    assert (study.request.scheduler.grace, study.request.resources.trial_timeout) == (2, 60)
    assert study.best is not None
    assert study.best.config == {"lr": 0.25}


@pytest.mark.parametrize("command", ["tune", "fed", "effects", "resume"])
def test_a_command_of_many_settings_groups_them_and_fits_80_columns(command: str) -> None:
    shown = invoke(command, "--help").stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "Output" in shown
    assert "Rarely needed" in shown
    assert "…" not in shown.replace("cifar10 …", "").replace("study-004 …", "").replace("model=….", "")


ray = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One real run of digits through the command line; (folder it ran in, what --json printed)."""
    cwd = tmp_path_factory.mktemp("tuned")
    done = tuneapp(
        "tune",
        "digits",
        "--samples",
        "5",
        "--max-epochs",
        "6",
        "--name",
        "one",
        "--json",
        "--seed",
        "1",
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return cwd, json.loads(done.stdout)


class TestARealRun:
    pytestmark = ray

    def test_json_is_one_object_and_nothing_else_is_on_stdout(
        self, tuned: tuple[Path, dict[str, Any]]
    ) -> None:
        cwd, printed = tuned
        assert Path(printed["run_dir"]) == cwd / "runs" / "one"
        assert printed["trials"]["total"] == 5
        assert printed["trials"]["warmup"] == 2
        assert sum(printed["trials"][state] for state in ("finished", "stopped", "failed")) == 5
        assert printed["best"]["metric"] == "val_accuracy"
        assert 0.5 < printed["best"]["value"] <= 1
        assert 0.5 < printed["test"]["test_accuracy"] <= 1
        assert printed["seconds"] > 0

    def test_the_run_directory_holds_what_the_design_says(self, tuned: tuple[Path, dict[str, Any]]) -> None:
        folder = Path(tuned[1]["run_dir"])
        for name in ("run.json", "trials.jsonl", "trials.csv", "report.html", "best/config.yaml"):
            assert (folder / name).stat().st_size > 0, name
        assert (folder / "best/model.safetensors").stat().st_size > 1000
        assert json.loads((folder / "best/metrics.json").read_text())["test"] == tuned[1]["test"]
        assert any((folder / "plots").glob("*.png"))
        facts = json.loads((folder / "run.json").read_text())
        assert facts["argv"][:2] == ["tune", "digits"]
        assert {"ray", "torch", "bayesian-optimization"} <= set(facts["versions"])
        assert facts["data"]["checksum"]

    def test_only_the_test_set_of_the_incumbent_was_read(self, tuned: tuple[Path, dict[str, Any]]) -> None:
        lines = (Path(tuned[1]["run_dir"]) / "trials.jsonl").read_text().splitlines()
        tested = [json.loads(line) for line in lines if json.loads(line)["event"] == "tested"]
        assert [event["trial"] for event in tested] == [tuned[1]["best"]["trial"]]

    def test_report_runs_export_and_predict_read_it(
        self, tuned: tuple[Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        runs = ["--runs-dir", str(tuned[0] / "runs")]
        assert "val_accuracy" in invoke("report", "one", *runs).stdout
        assert "complete" in invoke("runs", *runs).stdout
        exported = invoke("export", "one", str(tmp_path / "out"), *runs)
        assert exported.exit_code == 0
        assert (tmp_path / "out" / "model.safetensors").is_file()
        from tuneapp import data

        images = data.load("digits")
        for number in range(20):
            Image.fromarray(images.test_images[number, :, :, 0]).save(tmp_path / f"{number}.png")
        pictures = [str(tmp_path / f"{number}.png") for number in range(20)]
        answer = invoke("predict", str(tmp_path / "out"), *pictures, "--json")
        guesses = [item["classes"][0]["class"] for item in json.loads(answer.stdout)]
        right = sum(
            guess == images.classes[label] for guess, label in zip(guesses, images.test_labels, strict=False)
        )
        assert right >= 14
        assert invoke("predict", str(tmp_path / "out"), __file__).exit_code != 0

    def test_resume_with_more_samples_goes_on_from_what_is_known(
        self, tuned: tuple[Path, dict[str, Any]]
    ) -> None:
        before = RunDirectory(Path(tuned[1]["run_dir"])).read()
        done = tuneapp("resume", "one", "--samples", "+2", "--json", cwd=tuned[0])
        assert done.returncode == 0, done.stderr
        after = RunDirectory(Path(tuned[1]["run_dir"])).read()
        assert json.loads(done.stdout)["trials"]["total"] == len(after.trials) == 7
        assert after.trials[:5] == before.trials
        assert all(trial.origin == "bayes" for trial in after.trials[5:])


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_reports_and_says_how_to_go_on(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "tuneapp", "tune", "digits", "--samples", "40", "--scheduler", "none"]
    command += ["--name", "cut", "--max-epochs", "200"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        run = RunDirectory(tmp_path / "runs" / "cut")
        deadline = time.monotonic() + 120
        while not (run.path / "run.json").exists() or not any(t.iterations >= 2 for t in run.read().trials):
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(driver.pid, how)
        _, stderr = driver.communicate(timeout=60)
    assert driver.returncode == 130, stderr
    assert "tuneapp resume cut" in stderr
    assert "Traceback" not in stderr
    assert (run.path / "report.html").is_file()
    study = run.read()
    assert any(trial.state is TrialState.RUNNING and trial.checkpoint for trial in study.trials)
