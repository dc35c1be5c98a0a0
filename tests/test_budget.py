"""What ends a study before its samples do: failures that are alike, time, a condition, patience."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import driving
import pytest
from typer.testing import CliRunner

from tuneapp.cli import app
from tuneapp.errors import UsageError
from tuneapp.report import summary
from tuneapp.session import make_request
from tuneapp.settings import Request, Settings
from tuneapp.studies import Ended, Observer, RunDirectory, Study, Trial, TrialState, budget
from tuneapp.tasks import find

MakeRun = Callable[..., RunDirectory]
HERE = Path(__file__).parent


class Lines(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


def failed(*reasons: str) -> list[Ended]:
    return [Ended(number, TrialState.FAILED, reason) for number, reason in enumerate(reasons)]


def study_of(make_run: MakeRun, *states: TrialState) -> Study:
    study = make_run("quadratic").read()
    study.trials = [Trial(number, {}, "warmup", 0, state) for number, state in enumerate(states)]
    return study


@pytest.mark.parametrize(
    ("reasons", "alike"),
    [
        (("ValueError: no good: 0.1", "ValueError: no good: 2e-7", "ValueError: no good: 33\nmore"), True),
        (("KeyError: <f at 0x7f01>", "KeyError: <f at 0xab12>", "KeyError: <f at 0x1>"), True),
        (("ValueError: a", "ValueError: a", "TypeError: a"), False),
        (("ValueError: a", "ValueError: a", "ValueError: b"), False),
        (("ValueError: a", "ValueError: a"), False),
        (("", "", ""), True),
    ],
)
def test_failures_are_alike_by_their_first_line_without_numbers(
    make_run: MakeRun, reasons: tuple[str, ...], alike: bool
) -> None:
    study = study_of(make_run, *[TrialState.FAILED] * len(reasons))
    assert bool(budget.alike(study, failed(*reasons))) is alike


@pytest.mark.parametrize("state", [TrialState.FINISHED, TrialState.LIMITED, TrialState.STOPPED])
def test_one_trial_that_ended_well_keeps_a_study_going(make_run: MakeRun, state: TrialState) -> None:
    study = study_of(make_run, *[TrialState.FAILED] * 3, state)
    assert not budget.alike(study, failed("a", "a", "a"))
    study.trials[3].state = TrialState.RUNNING
    assert budget.alike(study, failed("a", "a", "a"))


def expect_an_early_end(study: Study, watching: Lines) -> None:
    assert study.closed
    assert study.ended_by == "failures"
    assert 3 <= len(study.trials) < 8
    (line,) = [line for line in watching.lines if "failed alike" in line]
    assert "ValueError: it is broken at 0." in line
    assert f"tuneapp resume {study.name}" in line
    assert any("Traceback" in line and "trial 0" in line for line in watching.lines)
    assert "Failures ended the study, as the first trials failed alike: ValueError" in summary(study)


def test_three_first_trials_that_fail_alike_end_the_study_and_a_resume_tries_again(make_run: MakeRun) -> None:
    run, watching = make_run("is_broken", scheduler="none"), Lines()
    expect_an_early_end(driving.local(run, watching), watching)
    before = len(run.read().trials)
    study = driving.local(run)
    assert study.ended_by == "failures"
    assert before + 3 <= len(study.trials) <= 8


@pytest.mark.ray
def test_three_first_trials_that_fail_alike_end_the_study_on_ray(make_run: MakeRun, ray_here: None) -> None:
    watching = Lines()
    expect_an_early_end(driving.ray(make_run("is_broken"), watching), watching)


def test_keep_going_is_kept_over_a_resume_and_shows_in_the_exit_code(tmp_path: Path) -> None:
    def tuneapp(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--backend", "local", "--no-pictures"])

    run = ["tune", f"{HERE / 'objectives.py'}:is_broken", "--param", "x=float:0:1", "--samples", "5"]
    one = [*run, "--concurrent", "1", "--runs-dir", str(tmp_path), "--name", "broken"]
    ended = tuneapp(*one)
    assert ended.exit_code == 1, ended.output
    assert "3 trials: 3 failed" in ended.stdout
    assert "ended by failures" in CliRunner().invoke(app, ["runs", "--runs-dir", str(tmp_path)]).stdout
    gone_on = tuneapp("resume", "broken", "--keep-going", "--runs-dir", str(tmp_path), "--json")
    assert gone_on.exit_code == 1
    assert '"total": 5' in gone_on.stdout
    assert '"ended_by": "samples"' in gone_on.stdout
    assert RunDirectory(tmp_path / "broken").read().request.budget.keep_going


def request_for(name: str, **sections: Any) -> tuple[Any, Request]:
    task = find(name, None, None)
    return task, make_request(task, task.file.space, Settings.of(task.file.sections, sections))[0]


@pytest.mark.parametrize(
    ("name", "metric", "says"),
    [
        ("digits", ("val_acuracy",), r"choose from val_accuracy, .* Did you mean 'val_accuracy'\?"),
        ("digits", ("seconds",), "reports no metric 'seconds'"),
        ("digits", ("val_loss", "worst"), "reports no metric 'worst'"),
        ("fed-digits", ("client_accuracy_mean",), "reports no metric"),
    ],
)
def test_a_metric_that_a_task_does_not_have_is_refused(name: str, metric: tuple[str, ...], says: str) -> None:
    task, request = request_for(name, metric={"metric": metric})
    with pytest.raises(UsageError, match=says):
        task.check(request)


def test_the_time_of_a_trial_may_be_traded_off() -> None:
    task, request = request_for("digits", metric={"metric": ("val_loss", "seconds")})
    assert task.check(request).objective


@pytest.mark.parametrize("name", ["digits", "fed-digits"])
def test_gpus_that_a_trial_would_not_use_are_refused(name: str) -> None:
    task, request = request_for(name, resources={"gpus": 2.0})
    with pytest.raises(UsageError, match="uses 1 GPU at most, but got --gpus-per-trial 2; ask for 1"):
        task.check(request)


@pytest.mark.parametrize(("name", "options"), [("digits", {}), ("fed-digits", {"per_client": True})])
def test_a_task_reports_the_metrics_that_it_names(name: str, options: dict[str, Any]) -> None:
    from tuneapp.objective import Context

    task, request = request_for(name, scheduler={"max_iterations": 1}, options=options)
    config = {} if name == "digits" else {"clients": 2, "local_steps": 1}
    metrics = next(iter(task.build(request).objective(config, Context.of(request, 0))))
    assert set(metrics) == set(task.metric_names(request.options))
