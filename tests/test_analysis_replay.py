"""ASHA replayed offline: what-ifs say what it would have done."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tuneapp.analysis.replay import Curve, curves_of_folder, curves_of_study, incumbent, what_if
from tuneapp.errors import UsageError
from tuneapp.settings import Metric, Request
from tuneapp.studies import Iteration, Study, Trial, TrialState


def curve(name: str, *scores: float) -> Curve:
    return Curve(name, list(enumerate(scores, start=1)))


def test_a_slow_starter_that_wins_is_kept_by_a_long_grace_only():
    curves = [
        curve("slow", 0.1, 0.2, 0.5, 0.9),
        curve("fast", 0.4, 0.5, 0.5, 0.5),
        curve("flat", 0.3, 0.3, 0.3, 0.3),
    ]
    assert incumbent(curves).name == "slow"
    short, long = what_if(curves, 1, 2, 4, orders=200), what_if(curves, 3, 2, 4, orders=200)
    assert short.kept == pytest.approx(1 / 3, abs=0.1)  # only where it comes first
    assert long.kept == 1.0
    assert long.used > short.used
    assert short.kept_as_run
    assert "flat" in short.stopped


def test_a_metric_in_every_fifth_iteration_is_judged_at_the_first_report_after_a_rung():
    fast, slow = ([(i, level + i / 100) for i in range(5, 26, 5)] for level in (0.6, 0.2))
    found = what_if([Curve("fast", fast), Curve("slow", slow)], 3, 3, 25)
    assert found.stopped == {"slow": 5}
    assert found.kept == 1.0


def test_a_hundred_thousand_decisions_take_seconds():
    rng = np.random.default_rng(0)
    curves = [curve(str(k), *rng.random(300).tolist()) for k in range(50)]
    began = time.perf_counter()
    what_if(curves, 1, 2, 300, orders=400)
    assert time.perf_counter() - began < 10


def test_only_a_whole_curve_can_win():
    curves = [curve("whole", 0.1, 0.2, 0.3), curve("stopped", 0.9)]
    assert incumbent(curves).name == "whole"


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8), min_size=1, max_size=8),
    st.integers(1, 8),
)
def test_no_setting_uses_more_than_is_known_or_less_than_its_grace(scores: list[list[float]], grace: int):
    curves = [curve(str(k), *values) for k, values in enumerate(scores)]
    found = what_if(curves, grace, 3, 8, orders=5)
    assert 0 <= found.kept <= 1
    assert grace / 8 <= found.used <= 1
    assert all(grace <= at < 8 for at in found.stopped.values())


def test_no_grace_beyond_the_longest_trial_and_no_replay_of_nothing():
    with pytest.raises(UsageError, match="at most 2"):
        what_if([curve("a", 0.1, 0.2)], 3, 2, 2)
    with pytest.raises(UsageError, match="at least one trial"):
        what_if([], 1, 2, 2)


def test_curves_of_a_study_are_scores_and_leave_out_what_never_reported():
    study = Study(Request("task", {"hyperparameters": {}}, Metric("loss", "min")))
    for number, losses in enumerate([[0.9, 0.5], [0.8, float("nan")], []]):
        history = [Iteration(k, 0.0, {"loss": loss}) for k, loss in enumerate(losses, 1)]
        study.trials.append(Trial(number, {}, "random", 0, TrialState.FINISHED, history))
    assert curves_of_study(study) == [Curve("0", [(1, -0.9), (2, -0.5)]), Curve("1", [(1, -0.8)])]


def write(folder: Path, name: str, accuracies: list[float], first: int = 0) -> None:
    rows = [f"{first + k}, {accuracy}" for k, accuracy in enumerate(accuracies)]
    (folder / f"{name}.csv").write_text("Epoch, Valid Accuracy\n" + "\n".join(rows) + "\n")


def test_a_folder_of_csv_curves_is_read_whether_epochs_count_from_zero_or_one(tmp_path: Path):
    write(tmp_path, "a", [10.0, 20.0])
    write(tmp_path, "b", [15.0, 12.0], first=1)
    a, b = curves_of_folder(tmp_path, Metric("Valid Accuracy"))
    assert a == Curve("a", [(1, 10.0), (2, 20.0)])
    assert b == Curve("b", [(1, 15.0), (2, 12.0)])


def test_csv_curves_name_what_is_wrong_with_them(tmp_path: Path):
    with pytest.raises(UsageError, match="holds none"):
        curves_of_folder(tmp_path, Metric("Valid Accuracy"))
    write(tmp_path, "a", [10.0])
    with pytest.raises(UsageError, match="Did you mean 'Valid Accuracy'"):
        curves_of_folder(tmp_path, Metric("Valid Acuracy"))
    (tmp_path / "b.csv").write_text("Epoch, Valid Accuracy\n1, high\n")
    with pytest.raises(UsageError, match="must hold numbers"):
        curves_of_folder(tmp_path, Metric("Valid Accuracy"))


def test_the_command_replays_a_folder_of_curves(tmp_path: Path):
    from tuneapp.cli import app

    write(tmp_path, "slow", [1.0, 2.0, 5.0, 9.0])
    write(tmp_path, "fast", [4.0, 5.0, 5.0, 5.0])
    arguments = ["replay", str(tmp_path), "--metric", "Valid Accuracy", "--grace", "1,3", "--reduction", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "the winner is slow" in " ".join(result.output.split())
    wrong = CliRunner().invoke(app, [*arguments, "--reduction", "1"])
    assert wrong.exit_code == 2
