"""Tables of a study: all trials as a data frame, and the plain text that the terminal shows."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from tuneapp.analysis.axes import number, text
from tuneapp.studies import Study, Trial, TrialState, ranked

STATE_WORDS = {
    TrialState.FINISHED: "finished",
    TrialState.LIMITED: "cut at the limit of iterations",
    TrialState.STOPPED: "stopped early",
    TrialState.DIVERGED: "diverged",
    TrialState.FAILED: "failed",
    TrialState.RUNNING: "running",
}
WIDTH = 100  # columns of the terminal


def trials_frame(study: Study) -> pd.DataFrame:
    """One row a trial, in the order of asking.

    First what the trial is, then its hyperparameters, then every metric at its last report. A name that is
    taken gets a prefix: a hyperparameter `seed` becomes `config.seed`, a metric `lr` becomes `metric.lr`
    where a hyperparameter has that name. Times are UTC; absent values are empty.
    """
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
    config_column = {name: f"config.{name}" if name in base else name for name in names}
    taken = base | set(config_column.values())
    metrics = metric_names(study)
    metric_column = {name: f"metric.{name}" if name in taken else name for name in metrics}
    for row, trial in zip(rows, study.trials, strict=True):
        row |= {config_column[name]: trial.config.get(name) for name in names}
        row |= {metric_column[name]: trial.value(name) for name in metrics}
    columns = ["trial", "state", "origin", *(metric_column[name] for name in metrics[:1])]
    frame = pd.DataFrame(rows, columns=None if rows else columns)
    others = [column for column in frame.columns if column not in columns]
    ordered = [*(column for column in others if column in set(config_column.values()))]
    ordered += [column for column in others if column not in ordered]
    return frame[[*(column for column in columns if column in frame.columns), *ordered]]


def metric_names(study: Study) -> list[str]:
    """The metric that steers, then every other that a trial reported, in order of appearance."""
    last = [trial.last for trial in study.trials]
    names = dict.fromkeys([study.metric.name, *(name for metrics in last for name in metrics)])
    return list(names)


def leaders(study: Study, count: int = 5) -> list[Trial]:
    """The best trials, best first; the earlier one at a tie."""
    return ranked(study.trials, study.metric)[:count]


def failures(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.state in (TrialState.DIVERGED, TrialState.FAILED)]


def study_summary(study: Study) -> str:
    """What came out, for a terminal of 100 columns."""
    blocks = [_headline(study), _incumbent(study), _top(study), _front(study), _failures(study)]
    return "\n\n".join(block for block in blocks if block)


def counts_in_words(study: Study) -> str:
    """`30 trials: 10 finished, 18 stopped early, 2 failed`."""
    counts = study.counts()
    parts = [f"{counts[state]} {word}" for state, word in STATE_WORDS.items() if counts[state]]
    total = f"{counts['total']} trial{'' if counts['total'] == 1 else 's'}"
    return f"{total}: {', '.join(parts)}" if parts else "No trials yet"


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12.3 s`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def wall_seconds(study: Study) -> float:
    """From the first start to the last thing that a trial did, without the pauses of the study."""
    return study.seconds


def last_moment(trial: Trial) -> float | None:
    if trial.ended is not None:
        return trial.ended
    return trial.history[-1].time if trial.history else trial.started


def one_line(words: str, limit: int = 300) -> str:
    """A reason without line breaks and control characters: it came from somebody's program."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of plain text: numbers to the right, words to the left."""
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
        float(cell)
    except ValueError:
        return cell in ("", "-")
    return True


def _headline(study: Study) -> str:
    counts = study.counts()
    words = counts_in_words(study)
    if counts["warmup"]:
        words += f" ({counts['warmup']} warm-up)"
    seconds = wall_seconds(study)
    return f"{study.name} ({study.request.task})\n{words}" + (f"; {duration(seconds)}" if seconds else "")


def _incumbent(study: Study) -> str:
    best = study.best
    if best is None:
        return "No trial has a result." if study.trials else ""
    metric = study.metric
    words = f"Best: trial {best.number}, {metric.name} = {number(study.value(best) or 0.0)}"
    words += f" ({metric.mode}), {best.iterations} iterations, {duration(best.seconds)}"
    width = max((len(name) for name in best.config), default=0)
    lines = [words, *(f"  {name.ljust(width)}  {text(value)}" for name, value in best.config.items())]
    if study.test:
        tested = ", ".join(f"{name} = {number(value)}" for name, value in study.test.items())
        lines.append(f"Test, read once: {tested}")
    return "\n".join(lines)


def _top(study: Study) -> str:
    best = leaders(study)
    if len(best) < 2:
        return ""
    varied = varied_names(study)
    head = ["trial", study.metric.name, "iterations", "seconds", "origin", "config"]
    rows = [
        [
            str(trial.number),
            number(study.value(trial) or 0.0),
            str(trial.iterations),
            f"{trial.seconds:.1f}",
            trial.origin,
            config_in_words(trial, varied),
        ]
        for trial in best
    ]
    room = WIDTH - sum(max(len(row[i]) for row in [head, *rows]) + 2 for i in range(5))
    rows = [[*row[:5], textwrap.shorten(row[5], max(20, room), placeholder=" …")] for row in rows]
    return f"Top {len(best)}\n{table(head, rows)}"


def _front(study: Study) -> str:
    """The trials that no other beats in both metrics, of a study that has two."""
    if not study.request.also:
        return ""
    from tuneapp.report.views import front, second_value  # they need this module

    second = study.request.also[0]
    best = front(study, second)
    if not best:
        return ""
    varied = varied_names(study)
    head = ["trial", study.metric.name, second.name, "config"]
    rows = [
        [
            str(trial.number),
            number(study.value(trial) or 0.0),
            number(second_value(trial, second) or 0.0),
            textwrap.shorten(config_in_words(trial, varied), 60, placeholder=" …"),
        ]
        for trial in best
    ]
    return f"Pareto front: no trial is better in both\n{table(head, rows)}"


def varied_names(study: Study) -> list[str]:
    """Hyperparameters that are not the same in all trials."""
    seen: dict[str, set[str]] = {}
    for trial in study.trials:
        for name, value in trial.config.items():
            seen.setdefault(name, set()).add(text(value))
    partial = {name for name in seen if any(name not in trial.config for trial in study.trials)}
    return [name for name, values in seen.items() if len(values) > 1 or name in partial]


def config_in_words(trial: Trial, names: Sequence[str] | None = None) -> str:
    """`lr=0.01 batch_size=64`: all hyperparameters, or those named."""
    shown = trial.config if names is None else {n: trial.config[n] for n in names if n in trial.config}
    return " ".join(f"{name}={text(value)}" for name, value in shown.items())


def _failures(study: Study) -> str:
    failed = failures(study)
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


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
