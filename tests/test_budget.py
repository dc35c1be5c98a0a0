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
from tuneapp.session import Show, make_request, resume
from tuneapp.settings import Budget, Condition, Metric, Request, Settings, by_section, read_time, time_text
from tuneapp.studies import Ended, Iteration, Observer, RunDirectory, Study, Trial, TrialState, budget
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
    (line,) = [line for line in watching.lines if line.startswith("Ended by")]
    assert "ValueError: it is broken at 0." in line
    assert f"tuneapp resume {study.name}" in line
    assert any("Traceback" in line and "the first of them, trial " in line for line in watching.lines)
    assert "Ended by failures: the first trials failed alike: ValueError" in summary(study)


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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h 1m 1s", 3661), ("90", 90), (2.5, 2.5)],
)
def test_a_time_is_read_as_people_write_it(text: Any, seconds: float) -> None:
    assert Settings.of(by_section({"time": text})).budget.time == seconds
    assert time_text(read_time(time_text(3661))) == "1h1m1s"


@pytest.mark.parametrize("text", ["soon", "2d", "h", "-1h", "30m1h", 0, "0m", True])
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="`time` must be"):
        by_section({"time": text})


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("val_accuracy>=0.95", Condition("val_accuracy", ">=", 0.95)),
        (" loss < 1e-3 ", Condition("loss", "<", 1e-3)),
        ("a:b<=-2", Condition("a:b", "<=", -2.0)),
        ("x>0", Condition("x", ">", 0.0)),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition) -> None:
    assert Settings.of(by_section({"until": text})).budget.condition == condition
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize("text", ["val_accuracy", ">=0.9", "a=>1", "a==1", "a>=nan", "a>=1>=2", "a>=", ""])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="`until` must be"):
        by_section({"until": text})


def timed(make_run: MakeRun, *times: tuple[float, ...], time: float | None = 100.0) -> Study:
    """Trials that started at the first of their times, and reported an iteration at each of the others."""
    study = make_run("quadratic", budget=Budget(time=time)).read()
    for number, (started, *reports) in enumerate(times):
        history = [Iteration(each, at, {"score": 0.0}) for each, at in enumerate(reports, start=1)]
        study.trials.append(Trial(number, {}, "warmup", 0, history=history, started=started))
    return study


def test_no_trial_begins_that_cannot_reach_its_first_rung_in_time(make_run: MakeRun) -> None:
    nobody_has = timed(make_run, (0.0,))
    assert not budget.is_too_late(nobody_has, 99.0, 2)
    assert budget.is_too_late(nobody_has, 100.0, 2)
    study = timed(make_run, (0.0, 5.0, 10.0, 15.0), (0.0, 10.0, 30.0), (15.0, 20.0))  # 10 and 30 s: mean 20
    assert not budget.is_too_late(study, 79.0, 2)
    assert budget.is_too_late(study, 81.0, 2)
    assert not budget.is_too_late(timed(make_run, (0.0, 50.0), time=None), 1e9, 1)


def test_without_rungs_the_whole_trial_must_fit(make_run: MakeRun) -> None:
    study = timed(make_run, (0.0, 10.0, 20.0), (0.0, 10.0))
    study.trials[0].state, study.trials[0].ended = TrialState.FINISHED, 40.0
    assert not budget.is_too_late(study, 59.0, None)
    assert budget.is_too_late(study, 61.0, None)
    assert budget.ending(study, "time", 61.0).startswith("Ended by time: 1m40s leaves too little for another")
    assert budget.ending(study, "time", 100.0).startswith("Ended by time: 1m40s is used up. `tuneapp resume")


def scored(make_run: MakeRun, *scores: float | None, metric: Metric | None = None, **settings: Any) -> Study:
    """Trials that ended in their order; None: failed."""
    study = make_run("quadratic", metric=metric, budget=Budget(**settings)).read()
    for number, score in enumerate(scores):
        trial = Trial(number, {"x": number}, "warmup", 0, TrialState.FINISHED, ended=float(number))
        if score is None:
            trial.state = TrialState.FAILED
        else:
            trial.history = [Iteration(1, 0.0, {"score": score, "loss": 1 - score})]
        study.trials.append(trial)
    return study


def test_patience_counts_the_trials_since_the_incumbent(make_run: MakeRun) -> None:
    study = scored(make_run, 0.1, 0.5, 0.4, None, 0.3, patience=3)
    assert budget.since_incumbent(study) == 3
    assert budget.is_impatient(study)
    assert not budget.is_impatient(scored(make_run, 0.1, 0.5, 0.4, None, patience=3))
    assert budget.is_impatient(scored(make_run, None, None, None, patience=3))
    assert not budget.is_impatient(scored(make_run, 0.5, 0.4, 0.3, 0.2))


def test_a_condition_looks_at_the_value_that_counts_of_trials_that_ended_well(make_run: MakeRun) -> None:
    study = scored(make_run, 0.1, None, 0.5, 0.9, until="score>=0.5")
    assert budget.fulfilling(study, study.trials) is study.trials[2]
    study.trials[2].state = TrialState.RUNNING
    assert budget.fulfilling(study, study.trials) is study.trials[3]
    assert budget.fulfilling(scored(make_run, 0.9), study.trials) is None
    by_another = scored(make_run, 0.1, 0.9, until="loss<0.2")
    assert budget.fulfilling(by_another, by_another.trials) is by_another.trials[1]
    at_best = scored(make_run, 0.6, until="score>0.55", metric=Metric("score", at="best"))
    at_best.trials[0].history.append(Iteration(2, 1.0, {"score": 0.1}))
    assert budget.fulfilling(at_best, at_best.trials) is at_best.trials[0]
    absent = scored(make_run, 0.6, until="accuracy>0")
    assert budget.fulfilling(absent, absent.trials) is None


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def drive(request: pytest.FixtureRequest) -> Any:
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return getattr(driving, request.param)


def go_on(run: RunDirectory, samples: int | None = None, tell: Observer | None = None, **new: Any) -> Study:
    show = Show(tell or Observer(), pictures=False, refresh=None)
    return resume(run, samples, show, "local", budget=new)


def test_time_leaves_trials_unfinished_and_a_resume_goes_on_with_them(make_run: MakeRun, drive: Any) -> None:
    run, watching = make_run("slow_curve", max_iterations=100_000, budget=Budget(time=1.0)), Lines()
    study = drive(run, watching)
    assert study.closed
    assert study.ended_by == "time"
    left = {trial.number: trial.iterations for trial in study.trials if not trial.over}
    assert left
    assert any(line.startswith("Ended by time: 1s is used up") for line in watching.lines)
    assert f"`tuneapp resume {study.name} --time 1h` goes on" in summary(study)
    assert f"{len(left)} left unfinished" in summary(study)
    again = go_on(run, time=1.0)
    assert again.ended_by == "time"
    assert again.request.budget.time == pytest.approx(1.0 + study.clock)
    assert again.clock >= 1.0 + study.clock
    on = [trial for number, trial in enumerate(again.trials) if trial.iterations > left.get(number, 10**9)]
    assert on
    assert on[0].last["begins"] == 2  # from its checkpoint


def test_time_that_is_used_up_ends_a_resume_at_once_and_says_so(make_run: MakeRun) -> None:
    run, watching = make_run("quadratic", samples=2, budget=Budget(time=1000.0)), Lines()
    assert driving.local(run).ended_by == "samples"
    again = go_on(run, 4, watching, time=1e-9)
    assert again.ended_by == "time"
    assert len(again.trials) == 2
    assert [line for line in watching.lines if line.startswith("Ended by time")]
    assert go_on(run, time=1000.0).over == 4


def test_a_condition_ends_a_study_with_its_first_trial(make_run: MakeRun, drive: Any) -> None:
    study = drive(make_run("quadratic", samples=50, budget=Budget(until="score>=-1")))
    assert study.ended_by == "until"
    assert len(study.trials) < 50
    assert "Ended by --until: trial " in summary(study)
    assert " has score>=-1. `tuneapp resume" in summary(study)


def test_patience_ends_a_study_and_more_of_it_goes_on(make_run: MakeRun) -> None:
    run = make_run("quadratic", samples=200, algorithm="random", concurrent=1, budget=Budget(patience=3))
    study = driving.local(run)
    assert study.ended_by == "patience"
    assert budget.since_incumbent(study) == 3
    assert len(study.trials) < 200
    assert "Ended by patience: 3 trials have ended without a new incumbent" in summary(study)
    assert driving.local(run).trials == study.trials  # nothing more comes of the same patience
    again = go_on(run, patience=5)
    assert again.ended_by == "patience"
    assert len(again.trials) >= len(study.trials) + 2


def test_a_condition_on_a_metric_that_a_task_does_not_have_is_refused() -> None:
    task, request = request_for("digits", budget={"until": "val_acuracy>=0.9"})
    with pytest.raises(UsageError, match="Did you mean 'val_accuracy'"):
        task.check(request)


def test_what_ends_a_study_is_asked_for_on_the_command_line_or_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("hyperparameters: {x: {type: float, low: 0, high: 1}}\nbudget: {time: 1h30m}\n")
    space = ["--space", str(file), "--until", "score>=-1", "--backend", "local", "--json", "--no-pictures"]
    command = ["tune", f"{HERE / 'objectives.py'}:quadratic", *space, "--runs-dir", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--name", "one"])
    assert done.exit_code == 0, done.output
    assert '"ended_by": "until"' in done.stdout
    assert RunDirectory(tmp_path / "one").read().request.budget == Budget(time=5400.0, until="score>=-1")


def test_one_federation_has_no_budget() -> None:
    refused = CliRunner().invoke(app, ["fed", "digits", "--time", "1h"])
    assert refused.exit_code == 2
    assert "`--time` is for a search" in refused.output
