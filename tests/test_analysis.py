"""Numbers about a study: who leads when, what is imported for what, and that nothing is computed twice."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from records import append
from test_report import add_trial, new_run

from tuneapp import report
from tuneapp.analysis import importance, landscape
from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.compare import course
from tuneapp.analysis.pareto import front
from tuneapp.analysis.progress import progress, random_baseline
from tuneapp.report import tables
from tuneapp.settings import Metric, Request, SchedulerSettings, SearchSettings
from tuneapp.studies import Iteration, RunDirectory, Study, Trial, TrialState

STOPPED, FINISHED, LIMITED = TrialState.STOPPED, TrialState.FINISHED, TrialState.LIMITED


def study_of(*trials: tuple[TrialState, Sequence[float]], metric: Metric | None = None) -> Study:
    """Trials in the order of their ends, each with its state and its values."""
    request = Request(
        "digits", {"hyperparameters": {}}, metric or Metric("score"),
        search=SearchSettings(), scheduler=SchedulerSettings(max_iterations=9),
    )  # fmt: skip
    return Study(
        request,
        [
            Trial(
                number, {"x": number}, "random", 0, state,
                [Iteration(i, float(number), {"score": v, "size": 1.0 * i}) for i, v in enumerate(values, 1)],
                started=float(number), ended=number + 1.0,
            )
            for number, (state, values) in enumerate(trials)
        ],
    )  # fmt: skip


# Trial 0 was stopped at 1, where trial 1 was better; trial 1 ended below.
LOST = ((STOPPED, [0.6]), (FINISHED, [0.7, 0.4, 0.5]), (FINISHED, [0.1, 0.2, 0.3]))


def test_the_line_of_the_best_follows_the_one_rule() -> None:
    study = study_of(*LOST)
    assert progress(study).values == (0.6, 0.5, 0.5)
    assert study.best is study.trials[1]
    assert course(study).value == [0.6, 0.5, 0.5]


def test_a_trial_that_lost_where_it_was_stopped_is_below_the_one_it_lost_to() -> None:
    analysis = Analysis(study_of(*LOST))
    assert [trial.number for trial in analysis.ranked] == [1, 2, 0]
    assert [trial.number for trial in analysis.curves.top] == [1, 2, 0]
    assert "stopped at 1" in tables.top_table(analysis).splitlines()[-1]
    assert [trial.number for trial in front(analysis.study, Metric("size", "min")).best] == [1]


def test_a_random_trial_that_lost_where_it_was_stopped_counts_as_the_worst() -> None:
    study = study_of(*LOST, (FINISHED, [0.1, 0.1]), (FINISHED, [0.1, 0.15]))
    band = random_baseline(study, 100)
    assert band is not None
    assert band.high[-1] == 0.5


def test_a_metric_that_counts_at_its_best_is_told_with_its_iteration() -> None:
    study = study_of((FINISHED, [0.2, 0.9, 0.4]), (STOPPED, [0.95]), metric=Metric("score", at="best"))
    assert progress(study).values == (0.9, 0.95)
    study = study_of((FINISHED, [0.2, 0.9, 0.4]), metric=Metric("score", at="best"))
    assert "score = 0.9 (max), at iteration 2 of 3" in tables.best_config(Analysis(study))


def test_trials_cut_at_the_limit_are_told_with_the_flag_that_raises_it(tmp_path: Path) -> None:
    study = study_of((LIMITED, [0.1] * 9), (LIMITED, [0.2] * 9), (FINISHED, [0.3]))
    sentence = "2 trials were cut at the limit of 9 iterations with more to give; --max-epochs raises it."
    assert sentence in report.summary(study).splitlines()
    run = new_run(tmp_path)
    add_trial(run, 0, [0.5] * 9, end="limited")
    page = report.write(run, plots=False).read_text()
    assert "1 trial was cut at the limit of 9 iterations with more to give; --max-epochs raises it." in page


def test_the_seconds_of_a_study_leave_its_pauses_out(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "made", Request("digits", {}, Metric("score")), {})
    for number in range(2):  # a day of pause between the two
        at = {"trial": number, "time": 1e9 + 86400.0 * number}
        append(run, "asked", config={}, origin="random", seed=0, clock=10.0 * number, **at)
        append(run, "started", clock=10.0 * number, **at)
        append(run, "iteration", iteration=1, metrics={"score": 1.0}, clock=10.0 * number + 5, **at)
        append(run, "finished", clock=10.0 * number + 5, **at)
    analysis = Analysis(run.read())
    assert [(bar.start, bar.end) for bar in analysis.timeline.bars] == [(0.0, 5.0), (10.0, 15.0)]
    assert analysis.timeline.unit == "s"
    assert "; 15 s" in tables.headline(analysis)


def test_a_report_fits_its_models_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path)
    for number in range(20):
        add_trial(run, number, [number / 20], lr=0.001 * (number + 1), optimizer=["sgd", "adamw"][number % 2])
    fits: list[str] = []
    forests, process = importance.importances, landscape.Landscape.map

    def counted(sample: importance.Sample) -> importance.Importances:
        fits.append("forests")
        return forests(sample)

    def counted_map(self: landscape.Landscape, across: int, up: int) -> landscape.Map:
        fits.append(f"{id(self)} {across} {up}")
        return process(self, across, up)

    monkeypatch.setattr(importance, "importances", counted)
    monkeypatch.setattr(landscape.Landscape, "map", counted_map)
    report.write(run)
    assert fits.count("forests") == 1
    assert len(fits) == len(set(fits))
    assert len({fit.split()[0] for fit in fits} - {"forests"}) == 1


HEAVY = {"matplotlib", "pandas", "sklearn", "torch", "ray"}


@pytest.mark.parametrize(
    "module",
    [
        "analysis", "axes", "compare", "curves", "diagnosis", "effects.judge", "importance", "landscape",
        "numbers", "pareto", "progress", "repeats", "replay", "scale", "timeline",
    ],
)  # fmt: skip
def test_a_module_of_numbers_can_be_imported_without_what_draws(module: str) -> None:
    assert not loaded(f"import tuneapp.analysis.{module}") & {
        "matplotlib",
        "pandas",
        "sklearn",
        "torch",
        "ray",
    }


def test_a_summary_loads_neither_tables_nor_models_nor_plots(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for number in range(12):
        add_trial(run, number, [number / 12])
    code = f"""
from tuneapp import report
from tuneapp.studies import RunDirectory
from pathlib import Path
assert "Best: trial 11" in report.summary(RunDirectory(Path({str(run.path)!r})).read())
"""
    assert not loaded(code) & HEAVY


def loaded(code: str) -> set[str]:
    code += "\nimport sys; print(*sorted(name for name in sys.modules if '.' not in name))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def test_penalties_on_several_seeds_have_a_best_config() -> None:
    largest = sys.float_info.max
    request = Request("digits", {}, Metric("score", "min"), search=SearchSettings(repeats=2))
    trials = [
        Trial(n, {"x": n // 2}, "random", n % 2, FINISHED, [Iteration(1, 0.0, {"score": score})])
        for n, score in enumerate([largest, largest, 0.5, 0.25])
    ]
    assert Study(request, trials).best is trials[3]
