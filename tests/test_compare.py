"""Runs side by side, at equal trials, iterations and seconds."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from records import append
from typer.testing import CliRunner

from tuneapp.analysis import compare
from tuneapp.cli import app
from tuneapp.errors import UsageError
from tuneapp.report.compare import comparison_text
from tuneapp.report.plots.compare import comparison_plot
from tuneapp.settings import Metric, Request, SearchSettings
from tuneapp.studies import Iteration, RunDirectory, Study, Trial, TrialState


def search(name: str, ends: Sequence[tuple[float, int, float]], mode: str = "max") -> Study:
    """A study whose trials ended with (value, iterations, second of the end)."""
    request = Request("digits", {"hyperparameters": {}}, Metric("score", mode), search=SearchSettings())  # type: ignore[arg-type]
    trials = [
        Trial(
            number,
            {"x": number},
            "random",
            0,
            TrialState.FINISHED,
            [Iteration(i, 100.0, {"score": value}) for i in range(1, iterations + 1)],
            asked=100.0,
            started=100.0,
            ended=100.0 + seconds,
        )
        for number, (value, iterations, seconds) in enumerate(ends)
    ]
    return Study(request, trials, Path(name))


def test_a_course_sums_what_was_spent_in_the_order_of_ends() -> None:
    one = compare.course(search("a", [(0.5, 9, 30.0), (0.7, 3, 10.0), (0.6, 1, 20.0)]))
    assert one.cost == {"trials": [1, 2, 3], "iterations": [3, 4, 13], "seconds": [10.0, 20.0, 30.0]}
    assert one.value == [0.7, 0.7, 0.7]


def test_the_incumbent_at_a_budget_knows_only_what_ended_by_then() -> None:
    one = compare.course(search("a", [(0.5, 2, 10.0), (0.9, 5, 20.0)]))
    assert one.at("seconds", 9.9) is None
    assert one.at("seconds", 10.0) == 0.5
    assert one.at("iterations", 6) == 0.5
    assert one.at("iterations", 7) == 0.9


def test_of_a_loss_the_lowest_is_the_incumbent() -> None:
    assert compare.course(search("a", [(2.0, 1, 1), (3.0, 1, 2), (1.0, 1, 3)], "min")).value == [
        2.0,
        2.0,
        1.0,
    ]


def test_runs_are_compared_up_to_the_smallest_budget() -> None:
    few = search("few", [(0.5, 1, 1.0), (0.6, 1, 2.0)])
    many = search("many", [(0.1, 1, 1.0), (0.2, 1, 2.0), (0.9, 1, 3.0)])
    told = comparison_text(compare.compare([few, many]))
    at_trials = told.split("Best score at equal trials\n")[1].split("\n\n")[0].splitlines()
    assert [line.split() for line in at_trials] == [
        ["run", "1", "2"],
        ["few", "0.5", "0.6"],
        ["many", "0.1", "0.2"],
    ]


def test_configs_that_runs_share_are_compared_at_an_equal_iteration() -> None:
    short, long = search("short", [(0.5, 2, 1.0)]), search("long", [(0.8, 9, 1.0)])
    row = comparison_text(compare.compare([short, long])).splitlines()[-1].split()
    assert row[:2] == ["all", "alike"]
    assert row[2] == "2"


def test_other_metrics_and_single_runs_are_refused() -> None:
    with pytest.raises(UsageError, match="same metric"):
        comparison_text(compare.compare([search("a", []), search("b", [], "min")]))
    with pytest.raises(UsageError, match="2 to 12 runs"):
        comparison_plot(compare.compare([search("a", [])]))


def test_runs_without_an_ended_trial_are_drawn_and_told() -> None:
    empty, one = search("empty", []), search("one", [(0.5, 1, 1.0)])
    assert "empty" in comparison_text(compare.compare([empty, one]))
    assert len(comparison_plot(compare.compare([empty, one])).axes) == 3


def test_the_command_prints_tables_and_draws_a_picture(tmp_path: Path) -> None:
    for name, score in (("a", 0.5), ("b", 0.6)):
        request = Request("digits", {"hyperparameters": {}}, Metric("score"))
        run = RunDirectory.create(tmp_path, name, request, {})
        append(run, "asked", trial=0, config={"x": 1}, origin="random", seed=0)
        append(run, "started", trial=0)
        append(run, "iteration", trial=0, iteration=1, metrics={"score": score})
        append(run, "finished", trial=0)
    picture = tmp_path / "both.png"
    ran = CliRunner().invoke(
        app, ["compare", "a", "b", "--runs-dir", str(tmp_path), "--picture", str(picture)]
    )
    assert ran.exit_code == 0, ran.output
    assert "Best score at equal seconds" in ran.output
    assert picture.read_bytes().startswith(b"\x89PNG")
