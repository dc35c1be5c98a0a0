"""The study in sentences: what a colleague would say before showing a plot."""

from collections import Counter

from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.numbers import duration, median, number
from tuneapp.analysis.progress import origin_group
from tuneapp.report.tables import (
    counts_sentence,
    ending_sentences,
    iterations_of,
    limited_sentences,
    one_line,
)
from tuneapp.report.views import better
from tuneapp.studies import RunDirectory, Study, TrialState


def progress_of(study: Study) -> str:
    """`ended`, `running` or `interrupted`: whether a driver still holds the run's lock."""
    if study.closed:
        return "ended"
    if study.folder is None or not (study.folder / ".lock").exists():
        return "interrupted"
    try:
        return "running" if RunDirectory(study.folder).locked() else "interrupted"
    except OSError:  # a copy on a disk that can only be read: nobody runs it there
        return "interrupted"


def sentences(analysis: Analysis, progress: str) -> list[str]:
    """One thought each; in every state of the study there is at least one."""
    study = analysis.study
    lines = [_course(study, progress), *ending_sentences(study), *limited_sentences(study)]
    if analysis.best is not None:
        lines += [_incumbent(analysis), *_comparison(analysis)]
    elif study.trials:
        lines.append("No trial has a result, so there is no best config.")
    return lines + _cost(study)


def failure_groups(study: Study) -> list[tuple[str, str, list[int]]]:
    """(state, reason, trial numbers): equal reasons together, the most frequent first."""
    groups: dict[tuple[str, str], list[int]] = {}
    for trial in study.trials:
        if trial.state in (TrialState.DIVERGED, TrialState.FAILED):
            reason = one_line(trial.reason) or "no reason given"
            groups.setdefault((trial.state.value, reason), []).append(trial.number)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [(state, reason, numbers) for (state, reason), numbers in ordered]


def _course(study: Study, progress: str) -> str:
    state = {
        "ended": "The run has ended",
        "running": "The run is going on",
        "interrupted": f"The run was interrupted; `tuneapp resume {study.name}` goes on with it",
    }[progress]
    took = f", in {duration(study.seconds)}" if study.seconds else ""
    return f"{state}. {counts_sentence(study)}{took}."


def _incumbent(analysis: Analysis) -> str:
    study, best = analysis.study, analysis.best
    assert best is not None
    sentence = (
        f"The best is trial {best.number} with {study.metric.name} {number(study.value(best) or 0.0)} "
        f"({better(study.metric)} is better), {iterations_of(study, best)}, {duration(best.seconds)}."
    )
    if study.test:
        tested = ", ".join(f"{name} {number(result)}" for name, result in study.test.items())
        trial = "it" if study.tested in (None, best.number) else f"trial {study.tested}"
        sentence += f" On the test set, read once, {trial} has {tested}."
    return sentence


def _comparison(analysis: Analysis) -> list[str]:
    study = analysis.study
    random = [trial for trial in analysis.ranked if origin_group(trial.origin) == "random"]
    lines = []
    if random and analysis.best is not None and len(random) < len(analysis.ranked):
        leader = random[0]
        if leader is analysis.best:
            lines.append("No proposed config beats the best of the random ones.")
        else:
            lines.append(
                f"The best of {len(random)} random configs, trial {leader.number}, has "
                f"{number(study.value(leader) or 0.0)}"
                + (f", {iterations_of(study, leader)}." if leader.state is TrialState.STOPPED else ".")
            )
    complete = [study.value(trial) or 0.0 for trial in analysis.ranked if trial.complete]
    if len(complete) > 2:
        lines.append(
            f"The median of the {len(complete)} trials that were not stopped is {number(median(complete))}."
        )
    return lines


def _cost(study: Study) -> list[str]:
    lines = []
    stopped = [t for t in study.trials if t.state is TrialState.STOPPED]
    most = study.request.scheduler.max_iterations or max((t.iterations for t in study.trials), default=0)
    if stopped and most > 1:
        spent = sum(t.iterations for t in study.trials)
        whole = sum(most if t.state is TrialState.STOPPED else t.iterations for t in study.trials)
        at = Counter(t.iterations for t in stopped)
        rungs = ", ".join(f"{count} at iteration {iteration}" for iteration, count in sorted(at.items())[:6])
        lines.append(
            f"Early stopping ended {len(stopped)} trial{'' if len(stopped) == 1 else 's'} ({rungs}); "
            f"{spent} iterations were run instead of {whole}."
        )
    lost = sum(t.state in (TrialState.DIVERGED, TrialState.FAILED) for t in study.trials)
    if lost:
        lines.append(f"{lost} trial{'' if lost == 1 else 's'} gave no result: see the failures below.")
    return lines
