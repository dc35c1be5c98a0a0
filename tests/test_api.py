"""The Python API: tune a function, look at its study, run a loop of one's own."""

import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import tuneapp
from tuneapp.cli import app
from tuneapp.search import SEARCHES
from tuneapp.spaces.files import parse
from tuneapp.studies import TrialState

SPACE = {"x": tuneapp.Float(-5, 5), "y": tuneapp.Ordinal([1.2, 3.4, 5.4, 6.3])}


def griewank(x: float, y: float) -> float:
    return (x * x + y * y) / 4000 - math.cos(x) * math.cos(y / math.sqrt(2)) + 1


def declared(
    x: Annotated[float, tuneapp.Float(-5, 5)], kind: Annotated[str, tuneapp.Categorical(["a", "b"])] = "a"
) -> float:
    return x + (kind == "b")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {
        "backend": "local",
        "concurrent": 2,
        "runs_dir": tmp_path / "runs",
        "quiet": True,
        "pictures": False,
    }


def test_a_function_is_tuned_and_its_study_can_be_looked_at(options: dict[str, Any]) -> None:
    study = tuneapp.tune(griewank, SPACE, samples=12, warmup=6, mode="min", seed=0, **options)
    assert study.best is not None
    assert study.best.config["y"] in (1.2, 3.4, 5.4, 6.3)
    assert study.value(study.best) == min(griewank(**trial.config) for trial in study.trials)
    frame = study.to_dataframe()
    assert list(frame["origin"]) == ["warmup"] * 6 + ["bayes"] * 6
    assert {"x", "y", "score", "worker", "started", "ended"} <= set(frame.columns)
    assert all(study.plot(name).axes for name in ("results", "timeline", "parallel"))
    assert all(study.plot(name, "x", "y").axes for name in ("map", "contour"))
    assert "12 trials" in repr(study)
    assert study.folder is not None
    assert tuneapp.read(study.folder).trials == study.trials
    assert "def griewank" in (study.folder / "source" / "test_api.py").read_text()


def test_an_unknown_plot_names_those_that_there_are() -> None:
    study = tuneapp.ask_tell(SPACE).study
    with pytest.raises(tuneapp.UsageError, match="contour"):
        study.plot("countour")


def test_the_space_may_be_the_functions_own(options: dict[str, Any]) -> None:
    study = tuneapp.tune(declared, samples=4, **options)
    assert set(study.trials[0].config) == {"x", "kind"}


def test_points_come_first_and_callbacks_hear_of_each_trial(options: dict[str, Any]) -> None:
    heard = []

    def callback(study: tuneapp.Study, trial: Any) -> None:
        heard.append((trial.number, len(study.trials)))
        if trial.number == 1:
            raise RuntimeError("a fault of the callback's own")

    points = [{"x": 0.0, "y": 1.2}, {"x": 1.0, "y": 3.4}]
    study = tuneapp.tune(griewank, SPACE, points=points, samples=4, callbacks=[callback], **options)
    assert [trial.config for trial in study.trials[:2]] == points
    assert sorted(number for number, _ in heard) == [0, 1, 2, 3]


def test_a_closure_is_passed_by_value_and_needed_again_to_go_on(options: dict[str, Any]) -> None:
    shift = 0.25

    def shifted(x: float) -> float:
        return -abs(x - shift)

    study = tuneapp.tune(shifted, {"x": tuneapp.Float(0, 1)}, samples=3, **options)
    assert study.counts()["finished"] == 3
    folder = study.folder
    assert folder is not None
    assert "shifted" in folder.name
    assert "return -abs(x - shift)" in (folder / "source" / "shifted.py").read_text()
    assert not list(folder.rglob("*.pkl"))
    with pytest.raises(tuneapp.UsageError, match=r"tuneapp.resume\(run, .*shifted\)"):
        tuneapp.resume(folder, samples=5, backend="local", quiet=True)
    more = tuneapp.resume(folder, shifted, samples=5, quiet=True, pictures=False)
    assert more.counts()["finished"] == 5
    assert [t.ended for t in more.trials[:3]] == [t.ended for t in study.trials]


def test_what_cannot_reach_a_worker_is_refused_before_anything_is_made(options: dict[str, Any]) -> None:
    lock = threading.Lock()

    def holds_a_lock(x: float) -> float:
        with lock:
            return x

    with pytest.raises(tuneapp.UsageError, match="must be picklable"):
        tuneapp.tune(holds_a_lock, {"x": tuneapp.Float(0, 1)}, **options)
    assert not options["runs_dir"].exists()


@pytest.mark.parametrize(
    ("score", "space", "says"),
    [
        (griewank, {"x": tuneapp.Float(0, 1)}, "needs 'y'"),
        (griewank, {**SPACE, "yy": 1}, "has no parameter 'yy'.*Did you mean 'y'"),
        (griewank, {"x": 1, "y": 2}, "must have a space"),
        (griewank, None, "must have a space"),
        (3, SPACE, "must be a function"),
        ("nosuch", None, "No task named 'nosuch'"),
    ],
)
def test_a_wrong_request_says_what_must_hold(
    score: Any, space: Any, says: str, options: dict[str, Any]
) -> None:
    with pytest.raises(tuneapp.UsageError, match=says):
        tuneapp.tune(score, space, **options)
    assert not options["runs_dir"].exists()


def test_the_table_of_results_grows_as_trials_end(options: dict[str, Any]) -> None:
    lengths = []

    def look(study: tuneapp.Study, trial: Any) -> None:
        assert study.folder is not None
        lengths.append(len((study.folder / "trials.csv").read_text().splitlines()) - 1)

    tuneapp.tune(griewank, SPACE, samples=4, callbacks=[look], **options)
    assert lengths[0] == 1
    assert sorted(lengths) == lengths


def test_a_script_without_a_guard_tunes_its_own_function(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import tuneapp\n"
        "def score(x): return -(x - 0.3) ** 2\n"
        "space = {'x': tuneapp.Float(0, 1)}\n"
        "study = tuneapp.tune(score, space, samples=3, backend='local', pictures=False)\n"
        "print(study.counts()['finished'])\n"
    )
    answer = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "3\n"
    assert "trial 0 finished" in answer.stderr


def test_asking_and_telling_finds_the_best() -> None:
    loop = tuneapp.ask_tell({"x": tuneapp.Float(-5, 5)}, mode="min", warmup=5, seed=1)
    for _ in range(20):
        trial = loop.ask()
        assert trial is not None
        loop.tell(trial, (trial.config["x"] - 2) ** 2)
    assert loop.best is not None
    assert abs(loop.best.config["x"] - 2) < 0.1
    assert len(loop.study.to_dataframe()) == 20


def test_what_is_told_may_be_a_failure_and_is_told_once() -> None:
    loop = tuneapp.ask_tell({"x": tuneapp.Float(0, 1)}, metric="loss:min", warmup=2)
    trials = [loop.ask() for _ in range(4)]
    assert len({trial.config["x"] for trial in trials if trial}) == 4
    results = [0.5, float("nan"), ValueError("no"), {"loss": 0.25, "more": 1}]
    for trial, result in zip(trials, results, strict=True):
        assert trial is not None
        loop.tell(trial, result)
    assert [t.state for t in loop.study.trials] == [
        TrialState.FINISHED,
        TrialState.DIVERGED,
        TrialState.FAILED,
        TrialState.FINISHED,
    ]
    assert loop.best is loop.study.trials[3]
    with pytest.raises(tuneapp.UsageError, match="pending"):
        loop.tell(3, 1.0)
    with pytest.raises(tuneapp.UsageError, match="pending"):
        loop.tell(7, 1.0)
    assert loop.ask() is not None


@settings(max_examples=20, deadline=None)  # a busy machine is no bug
@given(size=st.integers(2, 6), seed=st.integers(0, 5), search=st.sampled_from(["bayes", "random", "grid"]))
def test_a_finite_space_is_used_up_without_a_duplicate(size: int, seed: int, search: str) -> None:
    loop = tuneapp.ask_tell({"k": tuneapp.Int(1, size)}, search=search, warmup=3, seed=seed, samples=50)
    seen = []
    while (trial := loop.ask()) is not None:
        seen.append(trial.config["k"])
        loop.tell(trial, float(trial.config["k"]))
    assert sorted(seen) == list(range(1, size + 1))


def test_importing_tuneapp_is_light() -> None:
    code = (
        "import json, sys, tuneapp; tuneapp.Float(0, 1)\n"
        "heavy = {'torch', 'ray', 'pandas', 'sklearn', 'matplotlib'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == []


def test_every_public_name_is_there() -> None:
    assert all(getattr(tuneapp, name) is not None for name in tuneapp.__all__)
    assert set(tuneapp.__all__) <= set(dir(tuneapp))
    with pytest.raises(AttributeError, match="nosuch"):
        _ = tuneapp.nosuch


def test_file_flags_and_keywords_ask_for_the_same_study(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def score(x):\n    for step in range(5):\n        yield {'loss': x * x + step}\n"
    )
    task, space = f"{tmp_path / 'mine.py'}:score", "hyperparameters: {x: {type: float, low: 0, high: 1}}\n"
    (tmp_path / "bare.yaml").write_text(space)
    (tmp_path / "all.yaml").write_text(
        f"task: {task}\n"
        "metric: {name: loss, mode: min, at: best}\n"
        "search: {algorithm: random, samples: 2, seed: 3, warmup_design: random}\n"
        "scheduler: {type: median, max_iterations: 4, grace: 2}\n"
        "resources: {concurrent: 1, trial_timeout: 60}\n"
        f"run: {{backend: local, runs_dir: {tmp_path / 'runs'}, name: file, quiet: true, pictures: false}}\n"
        + space
    )
    flags = (
        f"tune {task} --space {tmp_path / 'bare.yaml'} --metric loss:min:best --search random --samples 2 "
        "--seed 3 --warmup-design random --scheduler median --max-iterations 4 --grace 2 --concurrent 1 "
        f"--trial-timeout 60 --backend local --runs-dir {tmp_path / 'runs'} --name flags -q --no-pictures"
    )
    answer = CliRunner().invoke(app, flags.split())
    assert answer.exit_code == 0, answer.output
    by_file = tuneapp.tune(space=tmp_path / "all.yaml")
    by_keywords = tuneapp.tune(
        task,
        tmp_path / "bare.yaml",
        metric="loss:min:best",
        search="random",
        samples=2,
        seed=3,
        warmup_design="random",
        scheduler="median",
        max_iterations=4,
        grace=2,
        concurrent=1,
        trial_timeout=60,
        backend="local",
        runs_dir=tmp_path / "runs",
        name="keywords",
        quiet=True,
        pictures=False,
    )
    by_flags = tuneapp.read("flags", tmp_path / "runs")
    assert by_flags.request == by_file.request == by_keywords.request
    assert [trial.config for trial in by_flags.trials] == [trial.config for trial in by_file.trials]
    assert by_file.name == "file"


def test_a_line_in_searches_makes_a_search_usable(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SEARCHES, "mine", SEARCHES["random"])
    space = {"x": tuneapp.Float(0, 1)}
    study = tuneapp.tune(declared, {**space, "kind": "a"}, search="mine", samples=2, **options)
    assert study.request.search.algorithm == "mine"
    assert parse("search: {algorithm: mine}\nhyperparameters: {}").search == {"algorithm": "mine"}
    assert tuneapp.ask_tell(space, search="mine").ask() is not None
    flags = ["tune", "digits", "--search", "mine", "--gpus-per-trial", "64"]
    assert "this machine has" in CliRunner().invoke(app, flags).stderr  # it came as far as the machine


def test_a_guessed_mode_is_told_and_a_named_one_is_not(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def score(x: float) -> dict[str, float]:
        return {"loss": x}

    space, shown = {"x": tuneapp.Float(0, 1)}, {**options, "quiet": False}
    study = tuneapp.tune(score, space, metric="loss", samples=1, **shown)
    assert study.metric == tuneapp.Metric("loss", "min")
    assert "metric loss: less is better, to judge by its name" in capsys.readouterr().err
    tuneapp.tune(score, space, metric="loss:min", samples=1, **shown)
    assert "to judge by its name" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sampels": 3}, "No setting named 'sampels'.*Did you mean 'samples'"),
        ({"search": "cells"}, "The search `cells` runs the plan of `tuneapp effects`"),
        ({"eval_every": 2}, "`eval_every` is a setting of a federation, but digits is an image set"),
        ({"metric": ["a", "b", "c"]}, "two metrics at most"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: dict[str, Any], says: str, options: dict[str, Any]
) -> None:
    with pytest.raises(tuneapp.UsageError, match=says):
        tuneapp.tune("digits", **settings, **options)
    assert not options["runs_dir"].exists()


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_closure_reaches_rays_workers(options: dict[str, Any], ray_here: None) -> None:
    shift = 0.25
    study = tuneapp.tune(
        lambda x: -abs(x - shift), {"x": tuneapp.Float(0, 1)}, samples=3, **{**options, "backend": "ray"}
    )
    assert study.counts()["finished"] == 3


def test_effects_are_judged_from_python(options: dict[str, Any]) -> None:
    study = tuneapp.effects(
        lambda x, y: x + 0.1 * y,
        ["x", ("x", "y")],
        {"x": tuneapp.Float(0, 1), "y": tuneapp.Float(0, 1)},
        values={"x": [0.25, 0.75]},
        seeds=2,
        **options,
    )
    assert study.counts()["finished"] == len(study.trials) == 12  # six cells, x alone among them
    assert study.best is not None
    assert study.best.config["x"] == 0.75
    assert "x = 0.75" in repr(study) or "0.75" in repr(study)
    with pytest.raises(tuneapp.UsageError, match="Did you mean 'x'"):
        tuneapp.effects(lambda x: x, "xx", {"x": tuneapp.Float(0, 1)}, **options)


def test_runs_are_compared_and_replayed_from_python(options: dict[str, Any]) -> None:
    def curve(x: float) -> Iterator[float]:
        yield from (x, 2 * x, 3 * x)

    for name in ("one", "two"):
        tuneapp.tune(
            curve, {"x": tuneapp.Float(0, 1)}, samples=3, scheduler="none", seed=len(name) + ord(name[0]),
            **{**options, "name": name},
        )  # fmt: skip
    compared = tuneapp.compare(["one", "two"], options["runs_dir"])
    assert [course.name for course in compared.courses] == ["one", "two"]
    told = tuneapp.replay("one", grace=1, reduction=2, orders=20, runs_dir=options["runs_dir"])
    assert 0 <= told.kept <= 1
    assert 0 < told.used <= 1
