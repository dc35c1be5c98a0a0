"""Reports of numbers of any finite size, in any column, and of any names and texts: every part is made."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import append

from tuneapp import report
from tuneapp.analysis.axes import Axis
from tuneapp.analysis.numbers import deviation, mean
from tuneapp.analysis.scale import PLAIN, Scale
from tuneapp.report import page, plots
from tuneapp.report.plots import course
from tuneapp.settings import Metric, Request, SchedulerSettings, SearchSettings
from tuneapp.studies import RunDirectory

MAX = sys.float_info.max
SPACE = {
    "hyperparameters": {
        "x": {"type": "float", "low": 0, "high": 1},
        "y": {"type": "float", "low": 0, "high": 1},
    }
}
TRIALS = 12
FEW = 6  # too few for a model: their reports are quick


def make_run(
    folder: Path,
    results: Sequence[dict[str, float] | Sequence[float]],
    metric: Metric | None = None,
    configs: Sequence[dict[str, Any]] | None = None,
    also: tuple[Metric, ...] = (),
    space: dict[str, Any] | None = None,
    **fields: Any,
) -> RunDirectory:
    """One trial per result: its metrics, or the values of its iterations."""
    metric = metric or Metric("cost", "min")
    request = Request(
        "digits", SPACE if space is None else space, metric, also=also,
        search=SearchSettings(samples=len(results)), scheduler=SchedulerSettings(max_iterations=9),
    )  # fmt: skip
    run = RunDirectory.create(folder, "extreme", request, {})
    rng = np.random.default_rng(0)
    for number, result in enumerate(results):
        config = configs[number] if configs else {"x": float(rng.random()), "y": float(rng.random())}
        origin = "warmup" if number < 7 else "bayes"
        append(run, "asked", trial=number, config=config, origin=origin, seed=0)
        append(run, "started", trial=number)
        history = [result] if isinstance(result, dict) else [{metric.name: value} for value in result]
        for iteration, metrics in enumerate(history, 1):
            append(
                run, "iteration", trial=number, iteration=iteration, metrics=metrics, worker="a:1", **fields
            )
        append(run, "finished", trial=number, **fields)
    append(run, "closed")
    return run


def assert_whole(run: RunDirectory) -> None:
    left_out: list[str] = []
    text = report.write(run, tell=left_out.append).read_text()
    assert left_out == []
    assert "left out" not in text.split("<main")[1].split("<script")[0]
    assert {file.stem for file in (run.path / "plots").glob("*.png")} >= set(plots.PLOTS)
    assert "left out" not in report.summary(run.read())


def penalties(count: int, *, mode: str, share: float, penalty: float) -> list[list[float]]:
    """Results between 0 and 1, but a penalty for that share of the trials."""
    sign = 1 if mode == "min" else -1
    rng = np.random.default_rng(1)
    return [[sign * penalty] if i % 10 < 10 * share else [float(rng.random())] for i in range(count)]


@pytest.mark.parametrize(
    ("mode", "share", "penalty"),
    [("min", 0.4, MAX), ("max", 0.1, MAX), ("max", 0.4, 1e154), ("min", 0.8, MAX), ("min", 0.1, 1e30)],
)
def test_penalties_flatten_nothing(tmp_path: Path, mode: str, share: float, penalty: float) -> None:
    results = penalties(TRIALS, mode=mode, share=share, penalty=penalty)
    run = make_run(tmp_path, results, Metric("cost", mode))  # type: ignore[arg-type]
    assert_whole(run)
    best = (min if mode == "min" else max)(value for (value,) in results)
    assert f"cost = {best:.4g}" in report.summary(run.read())
    if share < 0.5:
        scale = Scale.of((value for (value,) in results), mode)  # type: ignore[arg-type]
        assert (scale.unit, scale.low >= 0, scale.high <= 1) == (1.0, True, True)


@pytest.mark.parametrize(
    "values",
    [
        [MAX, -MAX, 0.5],
        [MAX],
        [-MAX, -MAX / 2],
        [1.7e308, -1.7e308],
        [1e300, 2e300, 3e300],
        [1e-310, 2e-310, 5e-324],
        [1e12, 1e12 + 1e-3],
        [0.0, -0.0],
        [1e-300, 1.0, 1e300],
    ],
)
def test_results_of_any_size_are_drawn(tmp_path: Path, values: list[float]) -> None:
    curves = [[values[(i + k) % len(values)] for k in range(1 + i % 3)] for i in range(TRIALS)]
    assert_whole(make_run(tmp_path, curves, Metric("cost", "min" if len(values) % 2 else "max")))


@pytest.mark.parametrize("second", [MAX, -MAX, math.nan, math.inf, 1e-310, 0.0])
def test_a_second_metric_of_any_size_is_drawn(tmp_path: Path, second: float) -> None:
    results = [{"cost": i / FEW, "size": second if i % 2 else float(i), "odd": second} for i in range(FEW)]
    assert_whole(make_run(tmp_path, results, also=(Metric("size", "min"),)))


@pytest.mark.parametrize(
    "values",
    [
        [MAX, -MAX, 0.0],
        [1e300, 1.0, 1e-300],
        [1e-310, 2e-310, 3e-310],
        [10**400, 1, 2],
        [2**70, 2**71, 5],
        [1e17 + k * 16 for k in range(3)],
        ["a\x1b[31m", "b\n", "\x00"],
        [None, "", [1, 2]],
    ],
    ids=lambda values: str(values)[:30],
)
def test_hyperparameters_of_any_size_are_drawn(tmp_path: Path, values: list[Any]) -> None:
    configs = [{"x": values[i % len(values)], "y": i / TRIALS} for i in range(TRIALS)]
    results = [[math.sin(i)] for i in range(TRIALS)]
    assert_whole(make_run(tmp_path, results, configs=configs, space={}))


def test_a_space_of_all_floats_is_drawn(tmp_path: Path) -> None:
    results = [[math.sin(i)] for i in range(TRIALS)]
    wide = {"hyperparameters": {"x": {"type": "float", "low": -MAX, "high": MAX}}}
    numbers = [{"x": (i / TRIALS - 0.5) * MAX} for i in range(TRIALS)]
    assert_whole(make_run(tmp_path, results, configs=numbers, space=wide))


@pytest.mark.parametrize("seconds", [1e308, 1e9, 0.0])
def test_seconds_of_any_size_are_drawn(tmp_path: Path, seconds: float) -> None:
    results = [[i / FEW] for i in range(FEW)]
    assert_whole(
        make_run(tmp_path, results, also=(Metric("seconds", "min"),), clock=seconds, seconds=seconds)
    )


FEW = 6  # trials
NAMES = [
    "time", "iteration", "metrics", "checkpoint", "done", "reason", "ended", "trial", "state", "seed",
    "origin", "x", "config.x", "metric.x", "a=b, c", "ü", "val.loss", "metrics/mAP50-95(B)", "$a_b$",
    "{}", "%s", "n" * 200, "<script>", "日本", "a:min", "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_may_have_any_name(tmp_path: Path, name: str) -> None:
    results = [{name: 1 / (i + 1), "other": float(i)} for i in range(FEW)]
    run = make_run(tmp_path, results, Metric(name, "min"), also=(Metric("other", "min"),))
    assert_whole(run)
    frame = report.trials_frame(run.read())
    assert list(frame.columns).count("x") == 1
    assert frame.iloc[:, 3].tolist() == [1 / (i + 1) for i in range(FEW)]


def test_texts_with_control_characters_stay_on_their_lines(tmp_path: Path) -> None:
    run = make_run(tmp_path, [[0.5]] * 3, configs=[{"x": f"a\x1b[31m\r\n{i}"} for i in range(3)], space={})
    append(run, "asked", trial=3, config={"x": "\x00"}, origin="bayes", seed=0)
    append(run, "failed", trial=3, reason="\x1b]0;title\x07\x00 bad\nworse")
    assert_whole(run)
    assert "\x1b" not in report.summary(run.read())


def test_huge_results_on_several_seeds_have_a_mean(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, [[MAX], [MAX], [MAX / 2], [0.0]], configs=[{"x": i // 2} for i in range(4)], space={}
    )
    assert_whole(run)
    assert "1.798e+308 ± 0 (n = 2)" in report.summary(run.read())


# -- a part that can't be made


def broken(*_: Any, **__: Any) -> Any:
    raise ValueError("no\nway")


def test_a_plot_that_fails_is_left_out_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, [[i / TRIALS] for i in range(TRIALS)])
    monkeypatch.setitem(plots.PLOTS, "results", broken)
    left_out: list[str] = []
    written = report.write(run, tell=left_out.append)
    assert left_out == ["plots/results.png could not be made and is left out (ValueError: no way)."]
    assert written.is_file()
    assert {file.stem for file in (run.path / "plots").glob("*.png")} == set(plots.PLOTS) - {"results"}
    assert list((run.path / "plots").glob(".*")) == []  # nothing half-written


@pytest.mark.parametrize("part", ["_progress", "_curves", "_timeline", "_model", "_results"])
def test_a_chart_that_fails_leaves_a_sentence_in_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    run = make_run(tmp_path, [[i / TRIALS] for i in range(TRIALS)])
    monkeypatch.setattr(page.charts, part, broken)
    left_out: list[str] = []
    text = report.write(run, plots=False, tell=left_out.append).read_text()
    assert len(left_out) == 1
    assert left_out[0] in text.split("<main")[1].split("<script")[0]


def test_a_page_that_fails_is_a_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, [[0.5]])
    monkeypatch.setattr(page, "_template", broken)
    left_out: list[str] = []
    text = report.write(run, plots=False, tell=left_out.append).read_text()
    assert "cost = 0.5" in text
    assert left_out == ["report.html could not be made and is left out (ValueError: no way)."]
    assert left_out[0] in text
    assert (run.path / "trials.csv").is_file()


def test_numbers_that_fail_leave_the_rest_of_the_summary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = make_run(tmp_path, [[0.5], [0.25]])
    monkeypatch.setitem(report.BLOCKS, "the table of the best", broken)
    text = report.summary(run.read())
    assert "cost = 0.25" in text
    assert text.endswith("The table of the best could not be made and is left out (ValueError: no way).")


# -- laws

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1, max_size=12), st.sampled_from(["min", "max", None]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_scale_is_drawable_whatever_the_values(values: list[float], mode: Any) -> None:
    scale = Scale.of(values, mode)
    assert scale.low < scale.high
    assert max(abs(scale.low), abs(scale.high)) <= PLAIN
    places = scale.place(values)
    assert ((places >= scale.low) & (places <= scale.high)).all()
    assert list(np.argsort(places, kind="stable")) == sorted(range(len(values)), key=lambda i: (places[i], i))
    best = {"min": min, "max": max, None: min}[mode](values)
    assert mode is None or len(set(values)) == 1 or not scale.cut(best) or len(values) > 10


@given(FINITE, FINITE, st.floats(0, 1), st.booleans())
def test_an_axis_has_a_place_for_each_of_its_numbers(a: float, b: float, share: float, log: bool) -> None:
    low, high = min(a, b), max(a, b)
    axis = Axis("x", low, high, log=log and low > 0)
    value = axis.at(share)
    assert low <= value <= high or math.isclose(value, low) or math.isclose(value, high)
    assert -1e-6 <= axis.unit(value) <= 1 + 1e-6
    assert len(axis.ticks()) <= 16
    assert all(-1e-6 <= unit <= 1 + 1e-6 and math.isfinite(unit) for unit, _ in axis.ticks())


@given(st.lists(FINITE, min_size=2, max_size=9))
def test_means_of_finite_numbers_lie_between_them(values: list[float]) -> None:
    assert min(values) <= mean(values) <= max(values) or math.isclose(mean(values), min(values))
    assert deviation(values) >= 0


def test_the_plot_of_penalties_shows_the_others(tmp_path: Path) -> None:
    from tuneapp.analysis.analysis import Analysis

    run = make_run(tmp_path, penalties(20, mode="min", share=0.4, penalty=MAX))
    figure = course.results(Analysis(run.read()))
    assert figure.axes[0].get_ylim()[1] < 1.2
    assert "far outside the scale" in {text.get_text() for text in figure.legends[0].get_texts()}
