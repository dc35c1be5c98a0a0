"""What a running study shows, in a terminal and in a log."""

import io
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import append
from rich.console import Console

from tuneapp.report import live
from tuneapp.settings import Metric, Request, SearchSettings
from tuneapp.studies import Observer, RunDirectory, Study
from tuneapp.studies.events import from_line


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make(tmp_path)


def make(tmp_path: Path) -> RunDirectory:
    space = {"hyperparameters": {"lr": {"type": "float", "low": 1e-4, "high": 1}, "model": "mlp"}}
    request = Request("digits", space, Metric("val_accuracy"), search=SearchSettings(samples=4))
    run = RunDirectory.create(tmp_path, "one", request, {})
    ends = [("finished", ""), ("diverged", "train_loss is nan in epoch 2"), (None, "")]
    for number, (end, reason) in enumerate(ends):
        config = {"lr": 0.1 * (number + 1), "model": "mlp"}
        append(run, "asked", trial=number, config=config, origin="warmup", seed=0)
        append(run, "started", trial=number)
        for iteration in (1, 2):
            metrics = {"val_accuracy": 0.25 * iteration, "examples_per_second": 1234.0}
            append(run, "iteration", trial=number, iteration=iteration, metrics=metrics)
        if end:
            append(run, end, trial=number, reason=reason)
    return run


def replay(run: RunDirectory, observer: Observer) -> None:
    """Tell the observer of a run's events as its driver did."""
    study = Study(run.read().request)
    for line in run.events_file.read_text().splitlines():
        event = from_line(line)
        assert event is not None
        study.apply(event)
        observer.on_event(study, event)
        observer.on_tick(study)


def text_of(study: Study, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    progress = live.LiveProgress(study)
    progress.over_at_start, progress.began = 0, time.monotonic() - 90
    console.print(live.live_table(study, progress))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_table_shows_states_curves_and_what_varies(run: RunDirectory) -> None:
    shown = text_of(run.read())
    assert "2/4 trials" in shown
    assert "1 running · 1 finished · 1 diverged" in shown
    assert all(title in shown for title in ("trial", "state", "val_accuracy", "curve", "config"))
    assert "▁█" in shown
    assert "lr=0.1" in shown
    assert "model" not in shown
    assert "1,234 examples/s" in shown
    assert "about 1:30 left" in shown


def test_a_narrow_terminal_keeps_numbers_and_cuts_the_config(run: RunDirectory) -> None:
    shown = text_of(run.read(), width=60)
    assert "finished" in shown
    assert "0.5" in shown
    assert all(len(line) <= 60 for line in shown.splitlines())


def test_a_log_gets_one_line_for_each_trial_that_ends(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with live.shown(console) as observer:
        replay(make(tmp_path), observer)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "[1/4] trial 0 finished val_accuracy 0.5 after 2 · best 0.5 (trial 0)",
        "[2/4] trial 1 diverged val_accuracy 0.5 after 2 train_loss is nan in epoch 2 · best 0.5 (trial 0)",
    ]


def test_trials_that_a_resumed_study_brings_along_are_no_news(run: RunDirectory) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with live.shown(console) as observer:
        observer.on_tick(run.read())
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_quiet_says_nothing(run: RunDirectory) -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with live.shown(console, quiet=True) as observer:
        replay(run, observer)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=40))
def test_a_sparkline_has_a_bar_for_each_of_the_last_finite_values(values: list[float]) -> None:
    finite = [value for value in values if abs(value) != float("inf") and value == value]
    line = live.sparkline(values)
    assert len(line) == min(len(finite), live.CURVE)
    assert set(line) <= set(live.BARS)
