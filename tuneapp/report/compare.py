"""Runs side by side: searches at equal trials, iterations and seconds; studies of effects cell by cell."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.figure import Figure

from tuneapp.analysis.axes import number, text
from tuneapp.analysis.diagnosis import paired
from tuneapp.errors import UsageError
from tuneapp.report.style import SERIES, brief, dress, metric_label, new_figure
from tuneapp.report.tables import duration, table
from tuneapp.search.plan import runs_of
from tuneapp.settings import Config
from tuneapp.settings import config_key as key
from tuneapp.studies import Study, Trial

SHARES = (0.25, 0.5, 1.0)  # of the smallest run's budget, where runs are compared
MOST_RUNS = 12
UNITS = {
    "trials": "trials ended",
    "iterations": "iterations, of all trials",
    "seconds": "seconds since the start",
}


@dataclass(frozen=True)
class Course:
    """A search's incumbent as its cost grows: at cost[i] of a unit it had value[i]. Both rise with i."""

    name: str
    cost: dict[str, list[float]]  # unit -> cumulated cost at the end of each trial
    value: list[float | None]  # of the incumbent then; None before the first that counts

    def at(self, unit: str, budget: float) -> float | None:
        """The incumbent's value once `budget` is spent."""
        ended = bisect_right(self.cost[unit], budget)
        return self.value[ended - 1] if ended else None

    def whole(self, unit: str) -> float:
        return self.cost[unit][-1] if self.cost[unit] else 0.0


def course(study: Study) -> Course:
    """Trials in the order of their ends. Iterations are those of ended trials; seconds are of the clock."""
    ended = sorted(
        (trial for trial in study.trials if trial.over), key=lambda trial: (trial.ended or 0.0, trial.number)
    )
    first = min((trial.asked for trial in study.trials), default=0.0)
    cost: dict[str, list[float]] = {unit: [] for unit in UNITS}
    value: list[float | None] = []
    spent, best = 0, -math.inf
    for count, trial in enumerate(ended, 1):
        spent += trial.iterations
        cost["trials"].append(count)
        cost["iterations"].append(spent)
        cost["seconds"].append(max(0.0, (trial.ended or first) - first))
        score = study.score(trial)
        if score is not None and score > best:
            best = score
        value.append(None if best == -math.inf else study.metric.score(best))
    return Course(study.name, cost, value)


def words(studies: Sequence[Study]) -> str:
    """Tables for the terminal: what each run is, searches at equal cost, and configs that runs share.

    Raises UsageError for fewer than two runs, and for runs whose metrics differ.
    """
    _check(studies)
    blocks = [_overview(studies), *(_at_equal(studies, unit) for unit in UNITS), _shared(studies)]
    return "\n\n".join(block for block in blocks if block)


def figure(studies: Sequence[Study]) -> Figure:
    """The incumbent over trials, iterations and seconds, a line a run; grey where only some runs go on."""
    _check(studies)
    found = [course(study) for study in studies]
    drawing = new_figure(12.0, 4.4)
    for axes, (unit, label) in zip(drawing.subplots(1, len(UNITS), sharey=True), UNITS.items(), strict=True):
        dress(axes)
        for position, one in enumerate(found):
            points = [(c, v) for c, v in zip(one.cost[unit], one.value, strict=True) if v is not None]
            if points:
                x, y = zip(*points, strict=True)
                axes.step(
                    x, y, where="post", linewidth=1.8, label=brief(one.name, 40),
                    color=SERIES[position % len(SERIES)], linestyle=("-", "--")[position // len(SERIES) % 2],
                )  # fmt: skip
                axes.plot(x[-1], y[-1], "o", color=SERIES[position % len(SERIES)], markersize=4)
        budget, largest = _budget(found, unit), max(one.whole(unit) for one in found)
        if 0 < budget < largest:
            axes.axvspan(budget, largest, color="#000000", alpha=0.06, linewidth=0)
        axes.set_xlabel(label)
    drawing.axes[0].set_ylabel(f"best {metric_label(studies[0].metric.name)} so far")
    tasks = ", ".join(dict.fromkeys(study.request.task for study in studies))
    drawing.suptitle(
        f"{tasks}: best {studies[0].metric.name} so far at equal cost (grey: beyond the smallest run's)",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    handles, labels = drawing.axes[0].get_legend_handles_labels()
    if handles:
        drawing.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return drawing


def _check(studies: Sequence[Study]) -> None:
    if not 2 <= len(studies) <= MOST_RUNS:
        raise UsageError(f"`tuneapp compare` takes 2 to {MOST_RUNS} runs, but got {len(studies)}.")
    metrics = {study.metric for study in studies}
    if len(metrics) > 1:
        told = ", ".join(f"{study.name}: {study.metric.name} ({study.metric.mode})" for study in studies)
        raise UsageError(f"Runs must have the same metric to be compared, but have {told}.")


def _overview(studies: Sequence[Study]) -> str:
    name = studies[0].metric.name
    head = ["run", "task", "search", "scheduler", "trials", "iterations", "seconds", f"best {name}", "test"]
    rows = []
    for study in studies:
        one = course(study)
        best = study.best
        tested = (study.test or {}).get(name.replace("val_", "test_"))
        rows.append(
            [
                study.name,
                study.request.task,
                study.request.search.algorithm,
                study.request.scheduler.type,
                str(len(one.value)),
                str(int(one.whole("iterations"))),
                duration(one.whole("seconds")),
                "-" if best is None else number(study.value(best) or 0.0),
                "-" if tested is None else number(tested),
            ]
        )
    text_of = table(head, rows)
    tasks = {study.request.task for study in studies}
    data = {json_of(study.facts.get("data")) for study in studies}
    if len(tasks) > 1 or len(data) > 1:
        text_of += "\nThese runs differ in task or data: their numbers do not measure the same thing."
    if len({study.request.options.get("examples") for study in studies}) > 1:
        text_of += "\nThese runs differ in the number of training examples."
    return text_of


def json_of(facts: object) -> str:
    return text(facts) if facts is not None else ""


def _budget(found: Sequence[Course], unit: str) -> float:
    """What the cheapest run has spent."""
    return min(one.whole(unit) for one in found)


def _at_equal(studies: Sequence[Study], unit: str) -> str:
    found = [course(study) for study in studies]
    budget = _budget(found, unit)
    if budget <= 0 or all(study.request.search.plan is not None for study in studies):
        return ""
    whole: Callable[[float], float] = (lambda at: max(1.0, float(round(at)))) if unit != "seconds" else float
    budgets = list(dict.fromkeys(whole(budget * share) for share in SHARES))
    shown = [duration(at) if unit == "seconds" else str(int(at)) for at in budgets]
    rows = []
    for one in found:
        values = [one.at(unit, at) for at in budgets]
        rows.append([one.name, *("-" if value is None else number(value) for value in values)])
    return f"Best {studies[0].metric.name} at equal {unit}\n{table(['run', *shown], rows)}"


def _shared(studies: Sequence[Study]) -> str:
    """Configs that two runs or more have, at the last iteration that all of them reached: each run's mean,
    and the paired difference of the second to the first."""
    metric = studies[0].metric
    by_run = [runs_of(trial for trial in study.trials if trial.over) for study in studies]
    counts: dict[str, int] = {}
    configs: dict[str, Config] = {}
    for found, study in zip(by_run, studies, strict=True):
        configs |= {key(trial.config): trial.config for trial in study.trials}
        for known in found:
            counts[known] = counts.get(known, 0) + 1
    both = [known for known, count in counts.items() if count > 1]
    if not both:
        return ""
    varied = _varied([configs[known] for known in both])
    head = ["config", "at", *(study.name for study in studies), f"{studies[1].name} - {studies[0].name}"]
    rows = []
    for known in both:
        trials = [found.get(known, {}) for found in by_run]
        common = min((t.iterations for seeds in trials for t in seeds.values() if t.succeeded), default=0)
        ends = [_at_iteration(seeds, metric.name, common) for seeds in trials]
        gap = paired(ends[1], ends[0], (studies[1].name, studies[0].name))
        said = " ".join(f"{name}={text(configs[known][name])}" for name in varied if name in configs[known])
        rows.append(
            [
                said or "all alike",
                str(common),
                *(f"{number(fmean(end.values()))} (n = {len(end)})" if end else "-" for end in ends),
                "-" if gap is None else gap.words + (", told apart" if gap.told_apart else ""),
            ]
        )
    return (
        f"Configs that the runs share: mean {metric.name} over seeds at the last iteration all reached\n"
        f"{table(head, rows)}"
    )


def _at_iteration(trials: dict[int, Trial], name: str, iteration: int) -> dict[int, float]:
    """seed -> the metric at that iteration, of trials that came through."""
    return {
        seed: value
        for seed, trial in trials.items()
        if trial.succeeded
        for at, value in trial.curve(name)
        if at == iteration and math.isfinite(value)
    }


def _varied(configs: Sequence[Config]) -> list[str]:
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({text(config.get(name, "")) for config in configs}) > 1]
