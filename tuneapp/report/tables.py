"""Tables of a study: all trials as a data frame, and the plain text that the terminal shows."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.numbers import duration, number, text
from tuneapp.studies import Study, Trial, TrialState, budget

if TYPE_CHECKING:
    import pandas as pd

STATE_NAMES = {
    TrialState.FINISHED: "finished",
    TrialState.LIMITED: "cut at the limit of iterations",
    TrialState.STOPPED: "stopped early",
    TrialState.DIVERGED: "diverged",
    TrialState.FAILED: "failed",
    TrialState.RUNNING: "running",
}
WIDTH = 100  # columns of the terminal
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet runs begins with one of these
TOP = 5  # trials in the table of the best
REPEATED = 5  # configs in the table of those with several seeds


def trials_frame(study: Study) -> "pd.DataFrame":
    """One row per trial, in the order of asking.

    First what the trial is, then its hyperparameters, then every metric: at the iteration that counts for
    the one that steers, at the last report for others. A name that is taken gets a prefix: a hyperparameter
    `seed` becomes `config.seed`, a metric `lr` becomes `metric.lr` where a hyperparameter has that name.
    Times are UTC; absent values are empty.
    """
    import pandas as pd

    rows = []
    for trial in study.trials:
        row: dict[str, Any] = {
            "trial": trial.number,
            "state": trial.state.value,
            "origin": trial.origin,
            "iterations": trial.iterations,
            "seconds": round(trial.seconds, 3) if trial.started is not None else None,
            "started": _utc(trial.started_at),
            "ended": _utc(trial.ended_at),
            "worker": trial.worker,
            "seed": trial.seed,
            "reason": one_line(trial.reason),
        }
        rows.append(row)
    base = set(rows[0]) if rows else {"trial", "state", "origin"}
    names = list(dict.fromkeys(name for trial in study.trials for name in trial.config))
    config_column = _free_names(names, "config", base)
    metrics = metric_names(study)
    metric_column = _free_names(metrics, "metric", base | set(config_column.values()))
    for row, trial in zip(rows, study.trials, strict=True):
        row |= {config_column[name]: trial.config.get(name) for name in names}
        row |= {
            metric_column[name]: trial.value(study.metric if name == study.metric.name else name)
            for name in metrics
        }
    columns = ["trial", "state", "origin", *(metric_column[name] for name in metrics[:1])]
    frame = pd.DataFrame(rows, columns=None if rows else columns)
    others = [column for column in frame.columns if column not in columns]
    ordered = [*(column for column in others if column in set(config_column.values()))]
    ordered += [column for column in others if column not in ordered]
    return frame[[*(column for column in columns if column in frame.columns), *ordered]]


def csv_text(frame: "pd.DataFrame", header: bool = True) -> str:
    """The frame as CSV. A text that a spreadsheet would take for a formula gets an apostrophe before it;
    numbers stay as they are."""
    import pandas as pd

    escaped = frame.apply(
        lambda column: column if pd.api.types.is_numeric_dtype(column) else column.map(_inert)
    )
    written: str = escaped.rename(columns=_inert).to_csv(index=False, header=header)
    return written


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def metric_names(study: Study) -> list[str]:
    """The metric that steers, then every other that a trial reported, in order of appearance."""
    last = [trial.last for trial in study.trials]
    names = dict.fromkeys([study.metric.name, *(name for metrics in last for name in metrics)])
    return list(names)


def failures(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.state in (TrialState.DIVERGED, TrialState.FAILED)]


def headline(analysis: Analysis) -> str:
    study = analysis.study
    warmup = study.counts()["warmup"]
    line = counts_sentence(study) + (f" ({warmup} warm-up)" if warmup else "")
    line += f"; {duration(study.seconds)}" if study.seconds else ""
    notes = [*ending_sentences(study), *limited_sentences(study)]
    return "\n".join([f"{study.name} ({study.request.task})", line, *notes])


def counts_sentence(study: Study) -> str:
    """`30 trials: 10 finished, 18 stopped early, 2 failed`."""
    counts = study.counts()
    names = STATE_NAMES | ({TrialState.RUNNING: "left unfinished"} if study.closed else {})
    parts = [f"{counts[state]} {name}" for state, name in names.items() if counts[state]]
    total = f"{counts['total']} trial{'' if counts['total'] == 1 else 's'}"
    return f"{total}: {', '.join(parts)}" if parts else "No trials yet"


def ending_sentences(study: Study) -> list[str]:
    """A sentence where something else than its samples ended the study: what, and how it goes on."""
    sentence = one_line(budget.ending(study, study.ended_by), limit=600)
    return [sentence] if sentence else []


def limited_sentences(study: Study) -> list[str]:
    """A sentence where trials were cut at the limit of iterations with more to give."""
    limited = [trial for trial in study.trials if trial.state is TrialState.LIMITED]
    if not limited:
        return []
    most = study.request.scheduler.max_iterations or max(trial.iterations for trial in limited)
    trials = f"{len(limited)} trial{' was' if len(limited) == 1 else 's were'}"
    return [
        f"{trials} cut at the limit of {most} iteration{'' if most == 1 else 's'} with more to give; "
        f"{_limit_option(study)} raises it."
    ]


def best_config(analysis: Analysis) -> str:
    study, best = analysis.study, analysis.best
    if best is None:
        return "No trial has a result." if study.trials else ""
    metric = study.metric
    line = f"Best: trial {best.number}, {metric.name} = {number(study.value(best) or 0.0)}"
    line += f" ({metric.mode}), {iterations_of(study, best)}, {duration(best.seconds)}"
    width = max((len(name) for name in best.config), default=0)
    lines = [line, *(f"  {name.ljust(width)}  {one_line(text(v))}" for name, v in best.config.items())]
    if study.test:
        tested = ", ".join(f"{name} = {number(value)}" for name, value in study.test.items())
        lines.append(f"Test, read once: {tested}")
    return "\n".join(lines)


def iterations_of(study: Study, trial: Trial) -> str:
    """`9 iterations`, `stopped at iteration 3`, `at iteration 5 of 9` where its best one counts."""
    counting = trial.counting(study.metric)
    if study.metric.at == "best" and counting is not None and counting.number < trial.iterations:
        stopped = ", where it was stopped" if trial.state is TrialState.STOPPED else ""
        return f"at iteration {counting.number} of {trial.iterations}{stopped}"
    if trial.state is TrialState.STOPPED:
        return f"stopped at iteration {trial.iterations}"
    return f"{trial.iterations} iteration{'' if trial.iterations == 1 else 's'}"


def top_table(analysis: Analysis) -> str:
    study, top = analysis.study, analysis.ranked[:TOP]
    if len(top) < 2:
        return ""
    varied = varied_names(study)
    head = ["trial", study.metric.name, "iterations", "seconds", "origin", "config"]
    rows = [
        [
            str(trial.number),
            number(study.value(trial) or 0.0),
            f"stopped at {trial.iterations}" if trial.state is TrialState.STOPPED else str(trial.iterations),
            f"{trial.seconds:.1f}" if trial.seconds < 1e6 else number(trial.seconds),
            trial.origin,
            config_text(trial, varied),
        ]
        for trial in top
    ]
    room = WIDTH - sum(max(len(row[i]) for row in [head, *rows]) + 2 for i in range(5))
    rows = [[*row[:5], textwrap.shorten(row[5], max(20, room), placeholder=" …")] for row in rows]
    return f"Top {len(top)}\n{table(head, rows)}"


def front_table(analysis: Analysis) -> str:
    """The trials that no other beats in both metrics, of a study that has two."""
    if not analysis.fronts or not analysis.fronts[0].best:
        return ""
    study, front = analysis.study, analysis.fronts[0]
    varied = varied_names(study)
    head = ["trial", study.metric.name, front.second.name, "config"]
    rows = [
        [
            str(trial.number),
            number(study.value(trial) or 0.0),
            number(front.value(trial)),
            textwrap.shorten(config_text(trial, varied), 60, placeholder=" …"),
        ]
        for trial in front.best
    ]
    return f"Pareto front: no trial is better in both\n{table(head, rows)}"


def repeats_table(analysis: Analysis) -> str:
    """The best configs with several seeds; empty where there is none."""
    repeated = analysis.repeats[:REPEATED]
    if not repeated:
        return ""
    varied = varied_names(analysis.study)
    head = ["trials", f"{analysis.study.metric.name}, mean ± sd", "config"]
    rows = [[each.numbers, each.spread, config_text(each.trials[0], varied)] for each in repeated]
    return f"Configs on several seeds\n{table(head, rows)}"


def failures_list(analysis: Analysis) -> str:
    failed = failures(analysis.study)
    if not failed:
        return ""
    shown = failed[:10]
    lines = [
        textwrap.shorten(
            f"  trial {trial.number} {trial.state}: {one_line(trial.reason) or 'no reason given'}",
            WIDTH,
            placeholder=" …",
        )
        for trial in shown
    ]
    lines = [line if line.startswith(" ") else f"  {line}" for line in lines]
    more = [f"  and {len(failed) - len(shown)} more, in trials.csv"] if len(failed) > len(shown) else []
    return "\n".join(["Failures", *lines, *more])


def varied_names(study: Study) -> list[str]:
    """Hyperparameters that are not the same in all trials."""
    seen: dict[str, set[str]] = {}
    for trial in study.trials:
        for name, value in trial.config.items():
            seen.setdefault(name, set()).add(text(value))
    partial = {name for name in seen if any(name not in trial.config for trial in study.trials)}
    return [name for name, values in seen.items() if len(values) > 1 or name in partial]


def config_text(trial: Trial, names: Sequence[str] | None = None) -> str:
    """`lr=0.01 batch_size=64`: all hyperparameters, or those named."""
    shown = trial.config if names is None else {n: trial.config[n] for n in names if n in trial.config}
    return " ".join(f"{name}={one_line(text(value))}" for name, value in shown.items())


def one_line(given: str, limit: int = 300) -> str:
    """A text without line breaks and control characters: it came from somebody's program."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in given).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of plain text: numbers to the right, texts to the left."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    right = [all(_looks_numeric(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)
        )
        for row in [head, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _looks_numeric(cell: str) -> bool:
    try:
        float(cell.removeprefix("stopped at "))
    except ValueError:
        return cell in ("", "-")
    return True


def _limit_option(study: Study) -> str:
    """The flag that sets the limit, as the command of this study calls it."""
    return "--rounds" if study.request.task.startswith("fed-") else "--max-epochs"


def _free_names(names: Sequence[str], prefix: str, taken: set[str]) -> dict[str, str]:
    """name -> its column: with a prefix, or two, where the name is taken."""
    columns: dict[str, str] = {}
    for name in names:
        column = name
        while column in taken or column in columns.values():
            column = f"{prefix}.{column}"
        columns[name] = column
    return columns


def _utc(seconds: float | None) -> datetime | None:
    """None for a moment that no calendar has."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
