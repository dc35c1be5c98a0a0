"""A study of effects in text and as data: every table with its verdict, combinations and claims."""

from typing import Any

from tuneapp.analysis.effects.judge import Effects, EffectTable, Row
from tuneapp.analysis.repeats import spread
from tuneapp.report.tables import table as plain_table
from tuneapp.search.plan import Plan

PANELS = (("train_loss", "val_loss"), ("train_accuracy", "val_accuracy"))  # as the studies draw them
ASIDE = (
    "lr",
    "iteration_seconds",
    "examples_per_second",
    "clients",
)  # metrics that are no panel by themselves


def effects_text(effects: Effects) -> str:
    """For the terminal: every table with its verdict and findings, then combinations and claims."""
    blocks = [f"Effects ({effects.scale})" if effects.scale else "Effects"]
    for outcome in effects.tables:
        head, rows = table_of(effects, outcome)
        lines = [outcome.table.title, plain_table(head, rows), *outcome.verdict]
        lines += [f"  {row.label}: {finding}" for row in outcome.rows for finding in findings_of(row)]
        blocks.append("\n".join(lines))
    if effects.combination_sentences:
        blocks.append("\n".join(effects.combination_sentences))
    if effects.judged:
        at = f" ({effects.scale})" if effects.scale else ""
        lines = [f"Claims of the study, judged by these runs{at}"]
        lines += [f"  {judged.verdict}: {judged.claim.says}. {judged.numbers}" for judged in effects.judged]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def table_of(effects: Effects, outcome: EffectTable) -> tuple[list[str], list[list[str]]]:
    """(head, rows) in words."""
    name = effects.metric.name
    head = [outcome.table.title, f"{name}, last", f"{name}, best", "s per iteration", "lost", "diagnosis"]
    rows = [
        [
            row.label,
            spread(row.finals),
            spread(row.bests),
            "-" if row.seconds is None else f"{row.seconds:.3g}",
            f"{row.lost} of {row.wanted}" if row.lost else "",
            ", ".join([*(finding.kind for finding in row.findings), *_course(row)]) or "-",
        ]
        for row in outcome.rows
    ]
    return head, rows


def findings_of(row: Row) -> list[str]:
    """Each finding with the share of seeds that show it."""
    return [
        f"{finding.sentence}{f' ({finding.seeds} of {finding.of} seeds)' if finding.of > 1 else ''}"
        for finding in row.findings
    ]


def to_json(effects: Effects) -> dict[str, Any]:
    """effects.json: all tables, findings, combinations and claims as data."""
    return {
        "metric": effects.metric.name,
        "mode": effects.metric.mode,
        "seeds": list(effects.plan.seeds),
        "scale": effects.plan.scale,
        "tables": [
            {
                "vary": list(outcome.table.vary),
                "verdict": list(outcome.verdict),
                "values": [
                    {
                        "value": list(cell.values),
                        "last": list(row.finals),
                        "best": list(row.bests),
                        "seconds": row.seconds,
                        "lost": row.lost,
                        "stopped": row.stopped,
                        "findings": [{"kind": each.kind, "words": each.sentence} for each in row.findings],
                    }
                    for cell, row in zip(outcome.table.cells, outcome.rows, strict=True)
                ],
            }
            for outcome in effects.tables
        ],
        "combinations": list(effects.combination_sentences),
        "claims": [
            {"says": judged.claim.says, "verdict": judged.verdict, "numbers": judged.numbers}
            for judged in effects.judged
        ],
    }


def panel_rows(outcome: EffectTable) -> list[list[str]]:
    """Metrics to draw: losses above accuracies where there are some, else every one that was reported."""
    reported = {name for row in outcome.rows for run in row.runs for name in run.curves}
    rows = [[name for name in pair if name in reported] for pair in PANELS]
    rows = [row for row in rows if row]
    if rows:
        return rows
    others = sorted(reported - set(ASIDE))[:4]
    return [others[i : i + 2] for i in range(0, len(others), 2)]


def curve_panels(outcome: EffectTable) -> list[str]:
    """Metrics whose curves are drawn: none for a grid of two hyperparameters, none without curves."""
    if len(outcome.table.vary) > 1:
        return []
    long = {
        name
        for row in outcome.rows
        for run in row.runs
        for name, curve in run.curves.items()
        if len(curve) > 1
    }
    return [name for row in panel_rows(outcome) for name in row if name in long]


def file_name(plan: Plan, position: int) -> str:
    """The slug of a table, numbered where an earlier one has the same."""
    slugs = [table.slug for table in plan.tables]
    before = slugs[:position].count(slugs[position])
    return slugs[position] + (f"-{before + 1}" if before else "")


def _course(row: Row) -> list[str]:
    notes = []
    if not row.runs:
        notes.append("not run")
    failed = sum(not run.curves for run in row.runs)
    if failed:
        notes.append(f"{failed} failed")
    if row.stopped:
        notes.append(f"{row.stopped} stopped early")
    return notes
