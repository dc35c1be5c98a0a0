"""The study in sentences: what a colleague would say before showing a picture."""

import statistics
from collections import Counter

from tuneapp.analysis.axes import number
from tuneapp.report import views
from tuneapp.report.style import origin_group
from tuneapp.report.tables import counts_in_words, duration, one_line, wall_seconds
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


def sentences(study: Study, progress: str) -> list[str]:
    """One thought each; in every state of the study there is at least one."""
    told = [_course(study, progress)]
    if study.best is not None:
        told += [_incumbent(study), *_comparison(study)]
    elif study.trials:
        told.append("No trial has a result, so there is no best config.")
    told += _cost(study)
    return told


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
    words = {
        "ended": "The run has ended",
        "running": "The run is going on",
        "interrupted": f"The run was interrupted; `tuneapp resume {study.name}` goes on with it",
    }[progress]
    seconds = wall_seconds(study)
    return f"{words}. {counts_in_words(study)}" + (f", in {duration(seconds)}." if seconds else ".")


def _incumbent(study: Study) -> str:
    best = study.best
    assert best is not None
    value = number(study.value(best) or 0.0)
    words = (
        f"The best is trial {best.number} with {study.metric.name} {value} ({views.better(study)} is "
        "better), "
        f"reached in {best.iterations} iteration{'' if best.iterations == 1 else 's'} and "
        f"{duration(best.seconds)}."
    )
    if study.test:
        tested = ", ".join(f"{name} {number(result)}" for name, result in study.test.items())
        trial = "it" if study.tested in (None, best.number) else f"trial {study.tested}"
        words += f" On the test set, read once, {trial} has {tested}."
    return words


def _comparison(study: Study) -> list[str]:
    scored = views.scored_trials(study)
    random = [t for t in scored if origin_group(t.origin) == "random"]
    told = []
    best = study.best
    if random and best is not None and len(random) < len(scored):
        leader = max(random, key=lambda t: study.score(t) or float("-inf"))
        if leader is best:
            told.append("No proposed config beats the best of the random ones.")
        else:
            told.append(
                f"The best of {len(random)} random configs, trial {leader.number}, has "
                f"{number(study.value(leader) or 0.0)}."
            )
    finished = [t for t in scored if t.state is TrialState.FINISHED]
    if len(finished) > 2:
        middle = statistics.median(study.value(t) or 0.0 for t in finished)
        told.append(f"The median of the {len(finished)} trials that ran to their end is {number(middle)}.")
    return told


def _cost(study: Study) -> list[str]:
    told = []
    stopped = [t for t in study.trials if t.state is TrialState.STOPPED]
    most = study.request.scheduler.max_iterations or max(t.iterations for t in study.trials)
    if stopped and most > 1:
        spent = sum(t.iterations for t in study.trials)
        whole = sum(most if t.state is TrialState.STOPPED else t.iterations for t in study.trials)
        at = Counter(t.iterations for t in stopped)
        rungs = ", ".join(f"{count} at iteration {iteration}" for iteration, count in sorted(at.items())[:6])
        told.append(
            f"Early stopping ended {len(stopped)} trials ({rungs}); "
            f"{spent} iterations were run instead of {whole}."
        )
    lost = sum(t.state in (TrialState.DIVERGED, TrialState.FAILED) for t in study.trials)
    if lost:
        told.append(f"{lost} trial{'' if lost == 1 else 's'} gave no result: see the failures below.")
    return told
