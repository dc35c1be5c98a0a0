"""Runs side by side, in tables for the terminal."""

from tuneapp.analysis.compare import Comparison, SharedConfig
from tuneapp.analysis.diagnosis import paired
from tuneapp.analysis.numbers import duration, mean, number, text
from tuneapp.report.tables import table


def comparison_text(comparison: Comparison) -> str:
    """What each run is, searches at equal cost, and the configs that runs share."""
    blocks = [_overview(comparison), *(_at_equal(comparison, unit) for unit in ("trials", "iterations"))]
    blocks += [_at_equal(comparison, "seconds"), _shared(comparison)]
    return "\n\n".join(block for block in blocks if block)


def _overview(comparison: Comparison) -> str:
    studies = comparison.studies
    name = studies[0].metric.name
    head = ["run", "task", "search", "scheduler", "trials", "iterations", "seconds", f"best {name}", "test"]
    rows = []
    for study, course in zip(studies, comparison.courses, strict=True):
        best = study.best
        tested = (study.test or {}).get(name.replace("val_", "test_"))
        rows.append(
            [
                study.name,
                study.request.task,
                study.request.search.algorithm,
                study.request.scheduler.type,
                str(len(course.value)),
                str(int(course.whole("iterations"))),
                duration(course.whole("seconds")),
                "-" if best is None else number(study.value(best) or 0.0),
                "-" if tested is None else number(tested),
            ]
        )
    lines = [table(head, rows)]
    data = {text(facts) if (facts := study.facts.get("data")) is not None else "" for study in studies}
    if len({study.request.task for study in studies}) > 1 or len(data) > 1:
        lines.append("These runs differ in task or data: their numbers do not measure the same thing.")
    if len({study.request.options.get("examples") for study in studies}) > 1:
        lines.append("These runs differ in the number of training examples.")
    return "\n".join(lines)


def _at_equal(comparison: Comparison, unit: str) -> str:
    studies, budgets = comparison.studies, comparison.budgets(unit)
    if not budgets or all(study.request.search.plan is not None for study in studies):
        return ""
    shown = [duration(budget) if unit == "seconds" else str(int(budget)) for budget in budgets]
    rows = []
    for course in comparison.courses:
        values = [course.at(unit, budget) for budget in budgets]
        rows.append([course.name, *("-" if value is None else number(value) for value in values)])
    return f"Best {studies[0].metric.name} at equal {unit}\n{table(['run', *shown], rows)}"


def _shared(comparison: Comparison) -> str:
    """Each run's mean, and the paired difference of the second to the first."""
    if not comparison.shared:
        return ""
    first, second = (study.name for study in comparison.studies[:2])
    head = ["config", "at", *(study.name for study in comparison.studies), f"{second} - {first}"]
    rows = [_shared_row(config, comparison.varied, (second, first)) for config in comparison.shared]
    name = comparison.studies[0].metric.name
    return (
        f"Configs that the runs share: mean {name} over seeds at the last iteration all reached\n"
        f"{table(head, rows)}"
    )


def _shared_row(shared: SharedConfig, varied: list[str], names: tuple[str, str]) -> list[str]:
    gap = paired(shared.ends[1], shared.ends[0], names)
    config = " ".join(f"{name}={text(shared.config[name])}" for name in varied if name in shared.config)
    means = [f"{number(mean(list(end.values())))} (n = {len(end)})" if end else "-" for end in shared.ends]
    difference = "-" if gap is None else f"{gap}" + (", significant" if gap.significant else "")
    return [config or "all alike", str(shared.iteration), *means, difference]
