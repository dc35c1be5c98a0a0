"""Plans of cells, the search that runs them, curves from files, and what is told of them."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.effects import judge
from tuneapp.analysis.effects.csv_curves import import_curves
from tuneapp.cli import app
from tuneapp.errors import UnknownName, UsageError
from tuneapp.report.effects import effects_text, to_json
from tuneapp.report.guard import LeftOut
from tuneapp.report.plots import plot_all
from tuneapp.search import make_search
from tuneapp.search.plan import Plan, combinations, make_plan
from tuneapp.settings import Metric, Request, SchedulerSettings, SearchSettings
from tuneapp.settings import config_key as key
from tuneapp.spaces import SearchSpace, files
from tuneapp.spaces.section import EffectsSection, TableRequest
from tuneapp.studies import Iteration, Study, Trial, TrialState

SPACE = SearchSpace(
    {
        "model": {"type": "categorical", "choices": ["cnn", "net"]},
        "lr": {"type": "float", "low": 0.001, "high": 1.0, "log": True},
        "batch_size": {"type": "ordinal", "choices": [16, 32, 64]},
        "kernel": {"type": "ordinal", "choices": [3, 5], "when": {"model": ["cnn"]}},
        "steps": {"derived": "1024 // batch_size"},
        "epochs": 3,
    },
    points=[{"model": "cnn", "lr": 0.01, "batch_size": 32, "kernel": 3}],
)
SCORE = Metric("score")


def plan_for(*asked: TableRequest, seeds: int = 3, **more: Any) -> tuple[Plan, SearchSpace]:
    return make_plan(SPACE, asked, seeds=range(seeds), **more)


def study_of(
    plan: Plan,
    space: SearchSpace,
    score: Callable[[Mapping[str, Any], int], float | None],
    iterations: int = 1,
) -> Study:
    """Every trial of the plan run to its end; a score of None diverges."""
    settings = SearchSettings(algorithm="cells", samples=plan.most_trials, plan=plan.to_json())
    request = Request("digits", space.to_dict(), SCORE, search=settings, scheduler=SchedulerSettings("none"))
    study = Study(request)
    search = make_search(space, SCORE, settings, request.scheduler)
    while (proposal := search.ask()) is not None:
        value = score(proposal.config, proposal.seed)
        trial = Trial(len(study.trials), proposal.config, proposal.origin, proposal.seed)
        search.tell(trial)
        trial.history = [
            Iteration(i, float(i), {"score": value * i / iterations})
            for i in range(1, iterations + 1)
            if value is not None
        ]
        trial.state = TrialState.DIVERGED if value is None else TrialState.FINISHED
        search.tell(trial)
        study.trials.append(trial)
    assert search.exhausted
    return study


def test_a_cell_differs_from_its_base_in_what_is_varied_and_what_follows_from_it() -> None:
    plan, _ = plan_for(TableRequest(("lr",), {"lr": [0.01, 0.1]}), TableRequest(("batch_size",)))
    base = {"model": "cnn", "lr": 0.01, "batch_size": 32, "kernel": 3, "steps": 32, "epochs": 3}
    assert [cell.config for cell in plan.tables[0].cells] == [base, {**base, "lr": 0.1}]
    assert plan.tables[1].cells[0].config == {**base, "batch_size": 16, "steps": 64}
    assert len(plan.configs) == 4  # the base stands in both tables and runs once


def test_values_may_lie_outside_the_space_and_come_in_any_order() -> None:
    plan, space = plan_for(TableRequest(("lr",), {"lr": [30.0, 1e-5]}))
    assert [cell.values for cell in plan.tables[0].cells] == [(30.0,), (1e-5,)]
    assert space.hyperparameters["lr"].read(1e-5) == 1e-5
    assert space.searched == ("lr",)


def test_without_values_the_domain_gives_them() -> None:
    plan, _ = plan_for(TableRequest(("lr",)), TableRequest(("batch_size",)))
    assert [cell.values[0] for cell in plan.tables[0].cells] == pytest.approx([0.001, 0.0316, 1.0], rel=1e-2)
    assert [cell.values[0] for cell in plan.tables[1].cells] == [16, 32, 64]


def test_two_together_are_a_grid() -> None:
    plan, _ = plan_for(TableRequest(("lr", "batch_size"), {"lr": [0.1, 0.2]}))
    assert [cell.values for cell in plan.tables[0].cells] == [
        (lr, batch) for lr in (0.1, 0.2) for batch in (16, 32, 64)
    ]


def test_a_table_may_have_a_base_of_its_own_where_conditions_follow() -> None:
    plan, _ = plan_for(TableRequest(("lr",), {"lr": [0.1, 0.2]}, {"model": "net"}), TableRequest(("kernel",)))
    assert all("kernel" not in cell.config for cell in plan.tables[0].cells)
    assert [cell.config["model"] for cell in plan.tables[1].cells] == ["cnn", "cnn"]


def test_bad_questions_get_one_line() -> None:
    with pytest.raises(UsageError, match="lr"):
        plan_for(TableRequest(("l",)))
    with pytest.raises(UsageError, match="two or more different values"):
        plan_for(TableRequest(("lr",), {"lr": [0.1]}))
    with pytest.raises(UsageError, match="has one value"):
        plan_for(TableRequest(("epochs",)))
    with pytest.raises(UsageError, match="One or two different"):
        plan_for(TableRequest(("lr", "lr")))
    with pytest.raises(UsageError, match="at least one hyperparameter"):
        plan_for()


def test_a_plan_survives_json() -> None:
    plan, _ = plan_for(
        TableRequest(("lr",)),
        named={"both": {"lr": 0.1, "batch_size": 64}},
        claims=[{"says": "more is more", "metric": "score", "more": ["both"], "less": [{}]}],
        scale="1 of 3 epochs",
    )
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@given(st.lists(st.booleans(), min_size=40, max_size=40), st.integers(1, 4), st.booleans())
def test_every_cell_runs_once_with_every_seed_whatever_diverges(
    diverges: list[bool], seeds: int, combine: bool
) -> None:
    plan, space = plan_for(TableRequest(("lr",)), TableRequest(("batch_size",)), seeds=seeds, combine=combine)
    flags = iter(diverges)
    study = study_of(plan, space, lambda config, seed: None if next(flags, False) else config["lr"])
    ran = [(key(trial.config), trial.seed) for trial in study.trials]
    assert len(set(ran)) == len(ran) <= plan.most_trials
    cells = {(key(config), seed) for config in plan.configs for seed in plan.seeds}
    assert set(ran[: len(cells)]) == cells
    assert {trial.origin for trial in study.trials[len(cells) :]} <= {"combination"}


@given(st.integers(0, 14))
def test_a_resumed_search_goes_on_as_if_never_interrupted(told_so_far: int) -> None:
    plan, space = plan_for(TableRequest(("lr",)), TableRequest(("batch_size",)), combine=True)
    whole = study_of(plan, space, lambda config, seed: config["lr"] + config["batch_size"])
    search = make_search(space, SCORE, whole.request.search, whole.request.scheduler)
    for trial in whole.trials[:told_so_far]:
        search.tell(trial)
    proposal = search.ask()
    assert proposal is not None
    assert (proposal.config, proposal.seed) == (
        whole.trials[told_so_far].config,
        whole.trials[told_so_far].seed,
    )


def test_the_single_winners_are_combined_once_all_is_over() -> None:
    plan, space = plan_for(TableRequest(("lr",)), TableRequest(("batch_size",)), combine=True)
    study = study_of(plan, space, lambda config, seed: config["lr"] - config["batch_size"] / 100)
    last = study.trials[-3:]
    assert [trial.origin for trial in last] == ["combination"] * 3
    assert {(trial.config["lr"], trial.config["batch_size"], trial.config["steps"]) for trial in last} == {
        (1.0, 16, 64)
    }
    assert [trial.seed for trial in last] == [0, 1, 2]


def test_a_value_that_lost_a_seed_wins_nothing() -> None:
    plan, space = plan_for(TableRequest(("lr",)), TableRequest(("batch_size",)))
    study = study_of(plan, space, lambda c, seed: None if c["lr"] == 1.0 and seed == 2 else c["lr"])
    (combined,) = combinations(plan, space, study.trials, SCORE)
    assert combined["lr"] < 1.0


def test_the_combination_is_compared_with_the_best_single_change() -> None:
    plan, space = plan_for(TableRequest(("lr",)), TableRequest(("batch_size",)), combine=True)
    study = study_of(plan, space, lambda c, seed: 10 * c["lr"] - c["batch_size"] / 100 + seed)
    (_, words) = judge.Effects(study).combination_sentences
    assert "is significantly better than the best single change (lr 1), by 0.16" in words


def test_what_was_not_run_is_called_so() -> None:
    plan, space = plan_for(TableRequest(("lr",)), TableRequest(("batch_size",)))
    study = study_of(plan, space, lambda c, seed: 10 * c["lr"] - c["batch_size"] / 100)
    coverage, words = judge.Effects(study).combination_sentences
    assert coverage == "Of the 9 combinations of the values of lr, batch_size, 6 were run."
    assert words.endswith("was not run, so nothing can be said about it.")


CLAIMS = [
    {"says": "a", "metric": "score", "more": [{"lr": 0.1}], "less": [{"lr": 0.2}]},
    {"says": "b", "metric": "score", "more": [{"lr": 0.2}], "less": [{"lr": 0.1}]},
    {"says": "c", "metric": "score", "more": [{"lr": 0.1}], "less": [{"lr": 0.3}]},
    {"says": "d", "metric": "score", "more": [{"batch_size": 64}], "less": [{}]},
    {"says": "e", "metric": "score", "alike": [{"lr": 0.1}, {"lr": 0.2}], "within": 0.5},
]


def test_claims_are_judged_by_paired_differences() -> None:
    plan, space = plan_for(TableRequest(("lr",), {"lr": [0.1, 0.2, 0.3]}), claims=CLAIMS)
    noise = {0.1: (0.0, 0.0, 0.0), 0.2: (0.01, 0.0, -0.01), 0.3: (0.5, -0.2, -0.4)}
    study = study_of(plan, space, lambda c, seed: 1 - c["lr"] + noise[c["lr"]][seed])
    verdicts = {judged.claim.says: judged.verdict for judged in judge.Effects(study).judged}
    assert verdicts == {
        "a": "holds",
        "b": "does not hold",
        "c": "undecided",
        "d": "not run",
        "e": "holds",
    }


def test_a_value_that_diverged_with_every_seed_is_worse_than_one_that_came_through() -> None:
    claims = [
        {"says": "a", "metric": "score", "more": [{"lr": 0.1}], "less": [{"lr": 0.3}]},
        {"says": "b", "metric": "score", "more": [{"lr": 0.3}], "less": [{"lr": 0.1}]},
    ]
    plan, space = plan_for(TableRequest(("lr",), {"lr": [0.1, 0.3]}), claims=claims)
    judged = judge.Effects(study_of(plan, space, lambda c, seed: 1.0 if c["lr"] < 0.2 else None)).judged
    assert [one.verdict for one in judged] == ["holds", "does not hold"]
    assert judged[0].numbers == "lr 0.3 diverged with every seed."


def test_the_terminal_the_json_and_the_pictures_tell_the_same(tmp_path: Path) -> None:
    plan, space = plan_for(
        TableRequest(("lr",)), TableRequest(("lr", "batch_size"), {"lr": [0.1, 0.2]}), scale="3 of 30 epochs"
    )
    study = study_of(plan, space, lambda c, seed: c["lr"] + seed / 100, iterations=4)
    words = effects_text(judge.Effects(study))
    assert words.startswith("Effects (scaled down: 3 of 30 epochs)")
    assert "1.01 ± 0.01 (n = 3)" in words
    data = to_json(judge.Effects(study))
    assert data["tables"][0]["values"][2]["last"] == pytest.approx([1.0, 1.01, 1.02])
    left_out = LeftOut()
    plots = plot_all(Analysis(study), tmp_path, left_out)
    assert left_out.lines == []
    assert {"effects-lr-x-batch_size.png", "effects-lr.png"} <= {path.name for path in plots}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)


def test_a_study_without_a_trial_can_be_told_and_drawn(tmp_path: Path) -> None:
    plan, space = plan_for(TableRequest(("lr",)))
    settings = SearchSettings(algorithm="cells", plan=plan.to_json())
    study = Study(Request("digits", space.to_dict(), SCORE, search=settings))
    assert "not run" in effects_text(judge.Effects(study))
    left_out = LeftOut()
    assert "effects-lr.png" in {path.name for path in plot_all(Analysis(study), tmp_path, left_out)}
    assert left_out.lines == []


def test_a_mean_curve_ends_with_its_first_seed() -> None:
    x, mean, sd = judge.mean_curve([[(1, 1.0), (2, 3.0), (3, 9.0)], [(1, 3.0), (2, float("nan"))]])
    assert (x.tolist(), mean.tolist(), sd.tolist()) == ([1.0], [2.0], pytest.approx([2**0.5]))


def test_the_shipped_studies_make_plans() -> None:
    for name, configs in (("study-000", 9), ("study-001", 9), ("study-004", 8)):
        file = files.load(name)
        section = EffectsSection.read(file.effects)
        plan, space = make_plan(
            file.space,
            section.tables,
            seeds=range(section.seeds),
            named=section.combinations,
            claims=section.claims,
        )
        assert len(plan.configs) == configs, name
        assert all(space.allows({n: v for n, v in c.items() if n in space.searched}) for c in plan.configs)
        assert plan.claims


def test_a_study_file_is_refused_with_its_line() -> None:
    text = "version: 1\nhyperparameters: {lr: 0.1}\neffects:\n  tables:\n    - {vary: lr, vals: [1, 2]}\n"
    with pytest.raises(UsageError, match=r"line 5.*vals.*'values'"):
        files.parse(text)


# -- curves from files


def write_curves(folder: Path, **files: list[float]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, accuracies in files.items():
        rows = "".join(f"{i},{2 - a / 100},{a}\n" for i, a in enumerate(accuracies, 1))
        path = folder / f"{name.replace('__', '.')}.csv"
        path.write_text("Epoch,Valid Loss,Valid Accuracy\n" + rows, encoding="utf-8")
    return folder


def test_file_names_tell_configs_and_the_base_is_what_most_are_next_to(tmp_path: Path) -> None:
    folder = write_curves(
        tmp_path / "csv",
        lr_0__1_wd_0_relu_constant=[10, 50],
        lr_0__2_wd_0_relu_constant=[10, 40],
        lr_0__1_wd_0__01_relu_constant=[10, 30],
        lr_0__1_wd_0_relu_cosine_annealing=[10, 60],
    )
    study = import_curves(folder, None, tmp_path / "runs", "made").read()
    assert study.closed
    plan = Plan.from_json(study.request.search.plan or {})
    assert {table.title: [cell.values[0] for cell in table.cells] for table in plan.tables} == {
        "lr": [0.1, 0.2],
        "weight_decay": [0, 0.01],
        "schedule": ["constant", "cosine"],
    }
    assert study.best is not None
    assert study.best.config["schedule"] == "cosine"
    assert study.value(study.best) == 0.6


def test_seeds_of_file_names_are_paired(tmp_path: Path) -> None:
    names = {f"lr_{lr}_seed_{seed}": [10.0, 30.0 + lr + seed] for lr in (1, 2) for seed in (0, 1, 2)}
    study = import_curves(write_curves(tmp_path / "csv", **names), None, tmp_path / "runs", "made").read()
    (table,) = judge.Effects(study).tables
    assert table.verdict[0].startswith("2 is best with a mean val_accuracy of 0.33; it is ahead of 1 by 0.01")


def test_bad_folders_and_files_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 to 1000 CSV files"):
        import_curves(tmp_path, None, tmp_path / "runs", None)
    folder = write_curves(tmp_path / "csv", odd=[1.0])
    with pytest.raises(UsageError, match="'odd' is neither followed by a number"):
        import_curves(folder, None, tmp_path / "runs", None)
    (folder / "odd.csv").unlink()
    (folder / "lr_1.csv").write_text("Epoch,Valid Accuracy\n1,many\n")
    with pytest.raises(UsageError, match="line 2: 'Valid Accuracy' must be a number"):
        import_curves(folder, None, tmp_path / "runs", None)
    assert not (tmp_path / "runs").exists()


def test_the_seven_published_curves_are_read_as_a_careful_reader_would(tmp_path: Path) -> None:
    """Made after data/ai6103: validation loss turns at epoch 8 of 40, one seed per run."""
    folder = tmp_path / "csv"
    folder.mkdir()
    for lr, end in (("0.05", 55.5), ("0.2", 58.0)):
        rows = [
            f"{e},{4 * 0.9**e},{2 + abs(e - 8) * 0.05},{min(99, 5 * e)},{end * (1 - 0.8**e)}"
            for e in range(1, 41)
        ]
        head = "Epoch,Train Loss,Valid Loss,Train Accuracy,Valid Accuracy"
        (folder / f"lr_{lr}_wd_0_relu_constant.csv").write_text("\n".join([head, *rows]))
    arguments = ["effects", "study-004", "--from-csv", str(folder), "--runs-dir", str(tmp_path / "runs")]
    ran = CliRunner().invoke(app, [*arguments, "--name", "seven"])
    assert ran.exit_code == 0, ran.output
    assert re.search(r"0\.2: overfits since iteration [78]:", ran.output)
    assert "One seed each cannot rank the values" in ran.output
    assert "The combination 'recommended' (schedule cosine, weight_decay 0.0005) was not run" in ran.output
    assert (tmp_path / "runs" / "seven" / "plots" / "effects-lr.png").exists()
    assert json.loads((tmp_path / "runs" / "seven" / "effects.json").read_text())["seeds"] == [0]


# -- the command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs a task or a study"),
        (["digits"], "needs at least one hyperparameter"),
        (["digits", "lrr"], "Did you mean 'lr'?"),
        (["digits", "x", "lr"], "must stand between two"),
        (["digits", "lr", "x"], "must stand between two"),
        (["digits", "lr", "batch_size", "--values", "1,2"], "must name its hyperparameter"),
        (["digits", "lr", "--values", "batch_size=16,32"], "which is not varied"),
        (["digits", "lr", "--scale", "2"], "above 0 and at most 1"),
        (["nosuch", "lr"], "No task named 'nosuch'"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    ran = CliRunner().invoke(app, ["effects", *arguments, "--runs-dir", str(tmp_path / "runs")])
    assert ran.exit_code == 2
    assert message in ran.output
    assert not (tmp_path / "runs").exists()


def test_unknown_names_in_claims_are_refused() -> None:
    with pytest.raises(UsageError, match="names the combination 'all'"):
        plan_for(TableRequest(("lr",)), claims=[{"says": "x", "more": ["all"], "less": [{}]}])
    assert issubclass(UnknownName, UsageError)
