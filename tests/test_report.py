"""Tables, pictures and the page, from runs in every state."""

import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import append

from tuneapp import report
from tuneapp.analysis import landscape, progress, repeats, timeline
from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.axes import Axis, axes, axis
from tuneapp.analysis.pareto import front
from tuneapp.analysis.scale import Scale
from tuneapp.errors import UnknownName, UsageError
from tuneapp.report import plots, tables
from tuneapp.settings import Metric, Request, SchedulerSettings, SearchSettings
from tuneapp.studies import RunDirectory

SPACE = {
    "hyperparameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 0.3, "log": True},
        "batch_size": {"type": "ordinal", "choices": [32, 64, 128]},
        "optimizer": {"type": "categorical", "choices": ["sgd", "adamw"]},
        "momentum": {"type": "float", "low": 0.8, "high": 0.99, "when": {"optimizer": ["sgd"]}},
        "model": "small_cnn",
    }
}
NASTY = "ValueError: </script><script>alert(1)</script> & \x1b[31mred\nsecond line"


def new_run(folder: Path, name: str = "made", mode: str = "max", space: Any = None) -> RunDirectory:
    request = Request(
        task="cifar10",
        space=SPACE if space is None else space,
        metric=Metric("val_accuracy" if mode == "max" else "val_loss", mode),  # type: ignore[arg-type]
        search=SearchSettings(samples=12),
        scheduler=SchedulerSettings(max_iterations=9),
    )
    facts = {
        "argv": ["tune", "cifar10", "--set", "note=a b"],
        "versions": {"tuneapp": "0.1.0", "torch": "2.15.0"},
        "machine": {"cpus": 4},
        "data": {"name": "cifar10", "checksum": "sha256:1234"},
    }
    return RunDirectory.create(folder, name, request, facts)


def add_trial(
    run: RunDirectory,
    number: int,
    values: Sequence[float],
    end: str | None = "finished",
    origin: str = "bayes",
    reason: str = "",
    **config: Any,
) -> None:
    """Append one whole trial: asked, started, its iterations and its end."""
    metric = run.read().metric.name
    whole = {
        "lr": 0.01 * (number + 1),
        "batch_size": 64,
        "optimizer": "adamw",
        "model": "small_cnn",
        **config,
    }
    append(run, "asked", trial=number, config=whole, origin=origin, seed=number)
    if end == "waiting":
        return
    append(run, "started", trial=number)
    for iteration, value in enumerate(values, 1):
        metrics = {metric: value, "train_loss": 1 / iteration, "lr": 0.01}
        append(run, "iteration", trial=number, iteration=iteration, metrics=metrics, worker="host:1")
    if end is not None:
        append(run, end, trial=number, reason=reason)


def assert_whole(run: RunDirectory) -> None:
    """Every part of the report was made."""
    left_out: list[str] = []
    assert report.write(run, tell=left_out.append).is_file()
    assert left_out == []
    assert {file.stem for file in (run.path / "plots").glob("*.png")} >= set(plots.PLOTS)
    assert "left out" not in report.summary(run.read())


@pytest.fixture
def mixed(tmp_path: Path) -> RunDirectory:
    """Every state, a conditional hyperparameter, one that is missing, and words that try to break out."""
    run = new_run(tmp_path)
    for number in range(6):
        curve = [0.2, 0.3, 0.4 + 0.01 * number]
        add_trial(run, number, curve, origin="warmup", optimizer="sgd", momentum=0.9)
    add_trial(run, 6, [0.3, 0.5, 0.7], lr=0.02)
    add_trial(run, 7, [0.1], end="stopped", reason="below the cut at rung 1", batch_size=128)
    add_trial(run, 8, [0.2, math.nan], end="diverged", reason="val_accuracy is nan", lr=0.3)
    add_trial(run, 9, [], end="failed", reason=NASTY)
    add_trial(run, 10, [0.2, 0.3], end=None)
    add_trial(run, 11, [], end="waiting")
    return run


@pytest.fixture(params=["mixed", "empty", "one", "asked", "all failed", "no space", "constant", "min"])
def any_run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunDirectory]:
    state = request.param
    if state == "mixed":
        yield request.getfixturevalue("mixed")
        return
    run = new_run(
        tmp_path, mode="min" if state == "min" else "max", space={} if state == "no space" else None
    )
    if state == "one":
        add_trial(run, 0, [0.5])
    elif state == "asked":
        add_trial(run, 0, [], end="waiting")
    elif state == "all failed":
        for number in range(4):
            add_trial(run, number, [], end="failed", reason=NASTY)
    elif state in ("no space", "min"):
        for number in range(12):
            add_trial(run, number, [5.0, 1.0 / (number + 1)], note=["a", "b"][number % 2])
    elif state == "constant":
        for number in range(12):
            add_trial(run, number, [0.5, 0.5], lr=0.01)
    yield run


def test_a_report_is_written_from_any_state(any_run: RunDirectory) -> None:
    left_out: list[str] = []
    page = report.write(any_run, tell=left_out.append)
    assert left_out == []
    assert page == any_run.path / "report.html"
    assert "</html>" in page.read_text()
    assert {file.stem for file in (any_run.path / "plots").glob("*.png")} == set(plots.PLOTS)
    assert (any_run.path / "trials.csv").read_text().startswith("trial,")
    assert any_run.path.name in report.summary(any_run.read())


def test_a_torn_last_line_is_tolerated(mixed: RunDirectory) -> None:
    with mixed.events_file.open("a") as file:
        file.write('{"event": "finished", "tri')
    assert report.write(mixed).is_file()


def test_the_table_of_a_running_study_is_left_to_its_driver(mixed: RunDirectory) -> None:
    table = mixed.path / "trials.csv"
    table.write_text("the driver's\n")
    with mixed.lock():
        report.write(mixed, plots=False)
    assert table.read_text() == "the driver's\n"
    report.write(mixed, plots=False)
    assert table.read_text().startswith("trial,")
    assert not (mixed.path / "plots").exists()


def test_the_summary_names_the_incumbent_the_leaders_and_the_failures(mixed: RunDirectory) -> None:
    append(mixed, "tested", trial=6, metrics={"test_accuracy": 0.68})
    words = report.summary(mixed.read())
    assert "12 trials: 7 finished, 1 stopped early, 1 diverged, 1 failed, 2 running (6 warm-up)" in words
    assert "Best: trial 6, val_accuracy = 0.7 (max), 3 iterations" in words
    assert "test_accuracy = 0.68" in words
    assert "trial 8 diverged: val_accuracy is nan" in words
    assert "\x1b" not in words
    assert max(map(len, words.splitlines())) <= tables.WIDTH


def test_the_frame_has_a_row_a_trial_and_keeps_names_apart(mixed: RunDirectory) -> None:
    frame = report.trials_frame(mixed.read())
    assert list(frame["trial"]) == list(range(12))
    assert frame["val_accuracy"][6] == 0.7
    assert frame["lr"][6] == 0.02  # the hyperparameter
    assert frame["metric.lr"][6] == 0.01  # the schedule's
    assert math.isnan(frame["momentum"][6])
    assert frame["reason"][9] == "ValueError: </script><script>alert(1)</script> & [31mred second line"


def test_a_hyperparameter_called_like_a_column_gets_a_prefix(tmp_path: Path) -> None:
    run = new_run(tmp_path, space={})
    add_trial(run, 0, [0.5], seed=7)
    frame = report.trials_frame(run.read())
    assert frame["config.seed"][0] == 7
    assert frame["seed"][0] == 0


def test_the_incumbent_never_gets_worse_and_follows_the_order_of_ends(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for number, value in enumerate([0.3, 0.2, 0.5, 0.4]):
        add_trial(run, number, [value])
    study = run.read()
    study.trials[2].ended = 0.0  # it ended first
    course = progress.progress(study)
    assert [trial.number for trial in course.ended] == [2, 0, 1, 3]
    assert course.values == (0.5,) * 4


def test_the_random_baseline_starts_at_the_quantiles_and_ends_at_the_best_draw(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for number in range(10):
        add_trial(run, number, [0.1 * (number + 1)], origin="warmup")
    band = progress.random_baseline(run.read(), 50)
    assert band is not None
    assert [band.low[0], band.middle[0], band.high[0]] == pytest.approx([0.1, 0.5, 0.9])
    assert band.low[-1] == band.middle[-1] == band.high[-1] == pytest.approx(1.0)


def test_four_random_trials_make_no_baseline(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for number in range(4):
        add_trial(run, number, [0.5], origin="warmup")
    assert progress.random_baseline(run.read(), 10) is None


def test_overlapping_trials_of_one_worker_get_lanes_of_their_own(mixed: RunDirectory) -> None:
    study = mixed.read()
    for trial, (start, end) in zip(study.trials[:3], [(0, 10), (5, 8), (10, 12)], strict=True):
        trial.started, trial.ended = float(start), float(end)
    assert timeline.worker_lanes(study.trials[:3]) == {0: "host:1", 1: "host:1 (2)", 2: "host:1"}


def test_places_on_a_log_axis_are_even_in_the_log() -> None:
    lr = Axis("lr", 1e-4, 1.0, log=True)
    assert lr.unit(1e-2) == pytest.approx(0.5)
    assert [lr.at(unit) for unit in (0.0, 0.5, 1.0)] == pytest.approx([1e-4, 1e-2, 1.0])


def test_axes_are_the_searched_hyperparameters_with_their_domains(mixed: RunDirectory) -> None:
    study = mixed.read()
    assert [one.name for one in axes(study)] == ["lr", "batch_size", "optimizer", "momentum"]
    assert axes(study)[0].log
    assert axis(study, "model").choices == ("small_cnn",)


def test_a_plot_of_an_unknown_hyperparameter_suggests_the_nearest(mixed: RunDirectory) -> None:
    with pytest.raises(UnknownName, match="'momentum'"):
        report.plot(mixed.read(), "map", "lr", "momentun")
    with pytest.raises(UsageError, match="two different"):
        report.plot(mixed.read(), "map", "lr", "lr")


def test_odd_names_and_values_are_drawn_as_they_are(tmp_path: Path) -> None:
    run = new_run(tmp_path, space={})
    for number in range(12):
        odd = {"$a_b$": number / 12, "x^{": ["$y$", "\\frac", "日本"][number % 3], "n" * 200: "v" * 900}
        add_trial(run, number, [0.1, number / 12], widths=[[64], [8, 8]][number % 2], **odd)
    assert_whole(run)


@pytest.mark.parametrize("ends", [[1e300, -1e300, 0.5], [1e-310, 2e-310], [math.inf, 0.5, 0.7]])
def test_extreme_results_are_drawn(tmp_path: Path, ends: list[float]) -> None:
    run = new_run(tmp_path)
    for number in range(12):
        add_trial(run, number, [0.1, ends[number % len(ends)]])
    assert_whole(run)


def test_the_page_lets_nothing_in_and_nothing_run_but_its_own_scripts(mixed: RunDirectory) -> None:
    page = report.write(mixed).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith(
        "default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;; script-src &#39;sha256-"
    )
    assert not re.search(r"<(link|iframe|object|embed|img|base)\b", page)
    assert "<script>alert(1)" not in page
    assert "tuneapp tune cifar10 --set &#39;note=a b&#39;" in page


def test_what_matters_stands_out_from_random_numbers(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(40):
        lr = float(10 ** rng.uniform(-4, -1))
        optimizer = ["sgd", "adamw"][number % 2]
        active = {"momentum": float(rng.uniform(0.8, 0.99))} if optimizer == "sgd" else {}
        value = 0.9 - 0.1 * (math.log10(lr) + 2) ** 2
        add_trial(run, number, [value], lr=lr, optimizer=optimizer, **active)
    analysis = Analysis(run.read())
    found, sample = analysis.importances, analysis.sample
    assert found is not None
    assert found.items[0].name == "lr"
    assert found.items[0].low > found.noise.high
    assert found.explained > 0.7
    assert found.summary.endswith(f"lr ({found.items[0].share:.0%}).")
    along = analysis.dependence(0)
    assert sample.axes[0].at(along.grid[along.mean.argmax()]) == pytest.approx(0.01, rel=0.5)
    assert (along.deviation > 0).all()
    # No momentum without sgd: that half of the map is empty.
    table = landscape.Landscape(sample, "max").over(2, 3, np.array([0.0, 1.0]), np.array([0.2, 0.8]))
    assert np.isnan(table[:, 1]).all()
    assert not np.isnan(table[:, 0]).any()


def test_an_early_stopped_trial_counts_as_what_it_would_have_come_to(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for number, final in enumerate([0.6, 0.7, 0.8]):
        add_trial(run, number, [final - 0.3, final])
    add_trial(run, 3, [0.25], end="stopped")
    add_trial(run, 4, [], end="failed")
    sample = Analysis(run.read()).sample
    assert list(sample.scores) == pytest.approx([0.6, 0.7, 0.8, 0.55])


def test_values_far_off_do_not_flatten_the_rest() -> None:
    assert Scale.of([0.1, 0.5, 0.9, 0.95, 1.0]) == Scale(0.1, 1.0)
    scale = Scale.of([*np.linspace(1, 2, 30), 1e9])
    assert scale.low == 1.0
    assert 2 < scale.high < 5


def test_a_config_on_several_seeds_is_worth_its_mean(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for number, (value, lr) in enumerate([(0.9, 0.1), (0.7, 0.1), (0.85, 0.2), (0.83, 0.2), (0.95, 0.3)]):
        add_trial(run, number, [value], lr=lr)
    found = repeats.repeated_configs(run.read())
    assert [(one.numbers, one.spread) for one in found] == [
        ("2, 3", "0.84 ± 0.014 (n = 2)"),
        ("0, 1", "0.8 ± 0.14 (n = 2)"),
    ]
    assert "Configs on several seeds" in report.summary(run.read())


def test_too_few_trials_are_told_so(mixed: RunDirectory) -> None:
    study = mixed.read()
    assert Analysis(study).sample.why_not == "Too few trials: 9 have ended with a result, 10 are needed."


@pytest.mark.slow
def test_ten_thousand_trials_make_a_small_page_soon(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(10_000):
        config = {"lr": float(10 ** rng.uniform(-4, -1)), "optimizer": "adamw", "batch_size": 64}
        start, trial = 1000.0 + number, {"trial": number}
        lines.append(
            {"event": "asked", "time": start, **trial, "config": config, "origin": "bayes", "seed": 0}
        )
        lines.append({"event": "started", "time": start, **trial})
        for iteration in range(1, 10):
            metrics = {"val_accuracy": float(rng.random()), "train_loss": 1.0, "lr": config["lr"]}
            told = {"iteration": iteration, "metrics": metrics, "worker": f"host:{number % 64}"}
            lines.append({"event": "iteration", "time": start + iteration, **trial, **told})
        ended = {"reason": f"reason {number}"} if number % 3 == 0 else {}
        lines.append({"event": "failed" if ended else "finished", "time": start + 10, **trial, **ended})
    run.events_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    begun = time.process_time()
    page = report.write(run)
    assert time.process_time() - begun < 60
    assert page.stat().st_size < 3_000_000
    assert "The best" in page.read_text()


def test_the_front_keeps_the_trials_that_no_other_beats_in_both(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for number, (value, size) in enumerate([(0.9, 9.0), (0.8, 3.0), (0.7, 5.0), (0.6, 1.0), (0.6, 1.0)]):
        config = {"lr": 0.1, "optimizer": "adamw", "batch_size": 64}
        append(run, "asked", trial=number, config=config, origin="bayes", seed=0)
        append(run, "started", trial=number)
        append(run, "iteration", trial=number, iteration=1, metrics={"val_accuracy": value, "size": size})
        append(run, "finished", trial=number)
    study = run.read()
    assert [trial.number for trial in front(study, Metric("size", "min")).best] == [0, 1, 3]
    assert [trial.number for trial in front(study, Metric("size", "max")).best] == [0]
    assert report.plot(study, "pareto", "size:min").axes
