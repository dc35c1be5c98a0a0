"""What `import tuneapp` offers: tune a function, look at its study, or run a loop of one's own."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tuneapp import session, studies, tasks
from tuneapp.errors import UsageError
from tuneapp.own_loop import AskTell
from tuneapp.search.plan import make_plan
from tuneapp.settings import (
    Config,
    Metric,
    Request,
    RunSettings,
    Settings,
    SettingsDict,
    by_section,
)
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile, load
from tuneapp.spaces.section import TableRequest
from tuneapp.studies import Trial
from tuneapp.tasks import functions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tuneapp.analysis.compare import Comparison
    from tuneapp.analysis.replay import WhatIf

Space = Mapping[str, Any] | SearchSpace | str | Path  # hyperparameters by name, or a search-space file
RUNS = RunSettings().runs_dir
Callback = Callable[["Study", Trial], None]


@dataclass(repr=False)
class Study(studies.Study):
    """All trials of a command: `best`, `trials`, `counts()`, and what follows."""

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per trial, in the order of asking: what it is, its hyperparameters, its metrics."""
        from tuneapp import report

        return report.trials_frame(self)

    def plot(self, name: str, *arguments: Any, **options: Any) -> "Figure":
        """A plot of tuneapp's report: `plot("results")`, `plot("contour", "x", "y")`.

        Raises UsageError for a name that is none.
        """
        from tuneapp import report

        return report.plot(self, name, *arguments, **options)

    def __repr__(self) -> str:
        from tuneapp import report

        return report.summary(self)


def tune(
    score: Callable[..., Any] | str | None = None,
    space: Space | None = None,
    *,
    points: Sequence[Config] = (),
    callbacks: Sequence[Callback] = (),
    **settings: Unpack[SettingsDict],
) -> Study:
    """Search the hyperparameters of `score`, and leave a run directory as `tuneapp tune` does.

    score takes them as keyword arguments, or as one dict `config`; it returns a number or a dict of metrics,
    or yields them, one per iteration. A string names a function or a built-in task as on the command line;
    None: what the space file or the setting `command` names.
    space: a mapping as in a search-space file, its values domains (`tuneapp.Float(0, 1)`), bare values or
    mappings; or such a file; None: the domains that score's annotations declare. points are evaluated first.
    callbacks are called with the study and the trial after the end of each.
    settings: those of docs/settings.md, as `samples=30, metric="loss:min", backend="local"`. What is not
    given is left to the file, or to the defaults.

    Trials that fail are counted, and raise nothing here. Raises UsageError for what could not be run.
    """
    given = by_section(settings)
    subject = _subject(score, space, given.get("options", {}))
    chosen = Settings.of(subject.file.sections, given)
    return _started("tune", subject, _with_points(subject.file.space, points), chosen, callbacks)


def effects(
    score: Callable[..., Any] | str,
    vary: str | tuple[str, str] | Sequence[str | tuple[str, str]],
    space: Space | None = None,
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    seeds: int = 3,
    combine: bool = False,
    callbacks: Sequence[Callback] = (),
    **settings: Unpack[SettingsDict],
) -> Study:
    """What hyperparameters do: vary each alone, on several seeds, as `tuneapp effects` does.

    score and space: as in `tune`; the space's first point, its gaps filled with the middle of each domain, is
    what the others stay at. vary: a name, a pair of names to be varied together, or several of these.
    values: name -> what to try; else three values of its domain. seeds: how many every value is run with.
    combine: also run the single winners put together. settings: as in `tune`; nothing is stopped early
    unless `scheduler` says so. Raises UsageError for what could not be run.
    """
    given = by_section({"scheduler": "none", **settings}, "effects")
    subject = _subject(score, space, given.get("options", {}))
    chosen = Settings.of(subject.file.sections, given)
    tried = {name: list(listed) for name, listed in (values or {}).items()}
    tables = []
    for group in [vary] if isinstance(vary, str | tuple) else vary:
        names = (group,) if isinstance(group, str) else group
        tables.append(TableRequest(names, {name: tried[name] for name in names if name in tried}))
    first = 1000 * chosen.search.seed
    plan, narrowed = make_plan(subject.file.space, tables, seeds=range(first, first + seeds), combine=combine)
    planned = {"algorithm": "cells", "samples": plan.most_trials, "warmup": 0, "plan": plan.to_json()}
    chosen = Settings.of(subject.file.sections, given, {"search": planned})
    return _started("effects", subject, narrowed, chosen, callbacks)


def compare(runs: Sequence[str | Path], runs_dir: str | Path = RUNS) -> "Comparison":
    """Runs side by side: incumbents at equal trials, iterations and seconds, and configs that they share.

    runs: 2 to 12 names, paths or `latest`, of the same metric; raises UsageError for others.
    """
    from tuneapp.analysis.compare import compare as compared

    return compared([studies.find_run(str(run), Path(runs_dir)).read() for run in runs])


def replay(
    run: str | Path = "latest",
    *,
    grace: int = 1,
    reduction: int = 3,
    orders: int = 400,
    seed: int = 0,
    runs_dir: str | Path = RUNS,
) -> "WhatIf":
    """What ASHA with this grace and reduction would have stopped of a run's trials, and whether the winner
    survives, over `orders` random arrival orders. Raises UsageError for a run without results."""
    from tuneapp.analysis.replay import curves_of_study, what_if

    curves = curves_of_study(studies.find_run(str(run), Path(runs_dir)).read())
    longest = max((curve.points[-1][0] for curve in curves), default=1)
    return what_if(curves, grace, reduction, longest, orders, seed)


def resume(
    run: str | Path,
    score: Callable[..., Any] | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    **settings: Unpack[SettingsDict],
) -> Study:
    """Go on with a run that was interrupted, or with `samples` trials in all: what is missing is computed.

    score: needed where the function is in no module that could be imported: a run directory holds no pickle.
    settings: `samples`, when it ends, and how it is run and shown. Raises UsageError for others.
    """
    given = by_section(settings, "resume")
    shown = RunSettings(**given.get("run", {}))
    interrupted = studies.find_run(str(run), shown.runs_dir)
    with ExitStack() as stack:
        show = _show(stack, callbacks, shown)
        samples = given.get("search", {}).get("samples")
        backend = given.get("run", {}).get("backend")
        budget = given.get("budget", {})
        return _offered(session.resume(interrupted, samples, show, backend, score, budget))


def read(run: str | Path = "latest", runs_dir: str | Path = RUNS) -> Study:
    """The study of a run directory, in whatever state it is."""
    return _offered(studies.find_run(str(run), Path(runs_dir)).read())


def ask_tell(
    space: Space,
    *,
    points: Sequence[Config] = (),
    known: Sequence[tuple[Config, Any]] = (),
    **settings: Unpack[SettingsDict],
) -> AskTell[Study]:
    """A search to be asked for configs, `samples` at most, and told of their results.

    known: results from elsewhere to begin with, as pairs (config, result); see `AskTell.add`.
    settings: the metric, `mode`, `search`, `samples`, `warmup`, `warmup_design` and `seed`.
    """
    file = _space(space)
    searched = _with_points(file.space, points)
    tasks.refuse_empty(searched, "ask_tell()")
    usual = {"search": {"samples": 1_000_000, "warmup": 10, "deterministic": False}}
    chosen = Settings.of(usual, by_section(settings, "ask_tell"))
    (asked, *others) = chosen.metric.metric or ("score",)
    if others:
        raise UsageError(f"ask_tell() takes one metric, but got {len(others) + 1}.")
    metric = asked if isinstance(asked, Metric) else Metric.parse(asked, chosen.metric.mode)[0]
    request = Request("ask_tell", searched.to_dict(), metric, search=chosen.search)
    return AskTell(Study(request), known)


def _with_points(space: SearchSpace, points: Sequence[Config]) -> SearchSpace:
    return SearchSpace(space.hyperparameters, [*space.points, *points]) if points else space


def _offered(study: studies.Study) -> Study:
    """The same study, with what is offered beside."""
    given = {each.name: getattr(study, each.name) for each in fields(study) if each.init}
    return Study(**given)


def _started(
    command: str,
    subject: tasks.Task,
    space: SearchSpace,
    settings: Settings,
    callbacks: Sequence[Callback],
) -> Study:
    """A new study of a task, run to its end."""
    request, notes = session.make_request(subject, space, settings)
    run = settings.run
    with ExitStack() as stack:
        show = _show(stack, callbacks, run)
        for note in notes:
            show.observer.tell(note)
        name = subject.name if subject.function is None else functions.name_of(subject.function)
        argv = [f"tuneapp.{command}({name})", *sys.argv]
        study = session.start(request, run.runs_dir, run.name, argv, show, run.backend, subject)
    return _offered(study)


def _subject(
    score: Callable[..., Any] | str | None, space: Space | None, options: Mapping[str, Any]
) -> tasks.Task:
    if score is not None and not isinstance(score, str) and not callable(score):
        raise UsageError(f"score must be a function or its name, but got {type(score).__name__}.")
    return session.find_task(score, None if space is None else _space(space), options)


def _space(space: Space) -> SpaceFile:
    if isinstance(space, str | Path):
        return load(str(space))
    return SpaceFile(space if isinstance(space, SearchSpace) else SearchSpace(space))


def _show(stack: ExitStack, callbacks: Sequence[Callback], run: RunSettings) -> session.Show:
    """Progress on stderr, and the user's callbacks."""
    from rich.console import Console

    from tuneapp.report import live

    terminal = stack.enter_context(live.shown(Console(stderr=True), run.quiet))
    heard = [_Callback(callback, terminal) for callback in callbacks]
    return session.Show(studies.Observers([terminal, *heard]), list(run.log), run.dashboard, run.pictures)


class _Callback(studies.Observer):
    """Calls a user's function after the end of each trial; what it raises is told each time, and ends
    nothing."""

    def __init__(self, callback: Callback, terminal: studies.Observer) -> None:
        self.callback, self.terminal = callback, terminal

    def on_event(self, study: studies.Study, event: studies.Event) -> None:
        if not isinstance(event, studies.Ended):
            return
        try:
            self.callback(_offered(study), study.trials[event.trial])
        except Exception as error:
            self.terminal.tell(
                f"a callback failed after trial {event.trial}: {type(error).__name__}: {error}"
            )
