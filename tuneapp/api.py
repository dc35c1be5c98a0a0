"""What `import tuneapp` offers: tune a function, look at its study, or run a loop of one's own."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneapp import session, studies
from tuneapp.errors import UsageError, lookup
from tuneapp.loop import AskTell
from tuneapp.settings import Config, Metric, Request, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile, load
from tuneapp.studies import Trial
from tuneapp.tasks import functions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RUNS = "runs"
Space = Mapping[str, Any] | SearchSpace | str | Path  # hyperparameters by name, or a search-space file
Metrics = str | Metric | Sequence[str | Metric]  # "loss", "seconds:min"; several are traded off
Listener = Callable[["Study", Trial], None]


@dataclass(repr=False)
class Study(studies.Study):
    """All trials of a command: `best`, `trials`, `counts()`, and what follows."""

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a trial, in the order of asking: what it is, its hyperparameters, its metrics."""
        from tuneapp import report

        return report.trials_frame(self)

    def plot(self, name: str, *arguments: Any, **options: Any) -> "Figure":
        """A picture of tuneapp's report: `plot("results")`, `plot("contour", "x", "y")`.

        Raises UsageError for a name that is none.
        """
        from tuneapp import report

        return lookup(name, report.PLOTS, "plot")(self, *arguments, **options)

    def __repr__(self) -> str:
        from tuneapp import report

        return report.summary(self)


def tune(
    score: Callable[..., Any] | str,
    space: Space | None = None,
    *,
    samples: int | None = None,
    search: str | None = None,
    warmup: int | None = None,
    repeats: int | None = None,
    seed: int | None = None,
    metric: Metrics | None = None,
    mode: str | None = None,
    points: Sequence[Config] = (),
    scheduler: str | None = None,
    max_iterations: int | None = None,
    grace: int | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    concurrent: int | None = None,
    trial_timeout: float | None = None,
    address: str | None = None,
    backend: str = "ray",
    callbacks: Sequence[Listener] = (),
    runs_dir: str | Path = RUNS,
    name: str | None = None,
    pictures: bool = True,
    quiet: bool = False,
) -> Study:
    """Search the hyperparameters of `score`, and leave a run directory as `tuneapp tune` does.

    score takes them as keyword arguments, or as one dict `config`; it returns a number or a dict of metrics,
    or yields them, one an iteration. A string names a function or a built-in task as on the command line.
    space: a mapping as in a search-space file, its values domains (`tuneapp.Float(0, 1)`), bare values or
    mappings; or such a file; None: the domains that score's annotations declare. points are evaluated first.
    metric: steers; its mode is max unless `mode` or "loss:min" says else. callbacks are called with the study
    and the trial after the end of each. What is None is left to the file, or to the defaults: see
    `tuneapp tune --help`.

    Trials that fail are counted, and raise nothing here. Raises UsageError for what could not be run.
    """
    subject = _subject(score, space)
    searched = subject.file.space
    if points:
        searched = SearchSpace(searched.hyperparameters, [*searched.points, *points])
    metrics = _metrics(metric, mode) or [
        _moded(subject.file.metric or session.default_metric(subject.task), mode)
    ]
    request = session.make_request(
        subject.task,
        subject.file,
        searched,
        metric=metrics[0],
        also=metrics[1:],
        options=subject.options,
        search={
            "algorithm": search,
            "samples": samples,
            "warmup": warmup,
            "repeats": repeats,
            "seed": seed,
        },
        scheduler={"type": scheduler, "max_iterations": max_iterations, "grace": grace},
        resources={
            "cpus": cpus,
            "gpus": gpus,
            "concurrent": concurrent,
            "trial_timeout": trial_timeout,
            "address": address,
        },
    )
    with ExitStack() as stack:
        show = _show(stack, callbacks, quiet, pictures)
        argv = [f"tuneapp.tune({functions.name_of(score)})", *sys.argv]
        study = session.start(request, Path(runs_dir), name, argv, show, backend, subject.function)
    return _offered(study)


def resume(
    run: str | Path,
    score: Callable[..., Any] | None = None,
    *,
    samples: int | None = None,
    backend: str | None = None,
    callbacks: Sequence[Listener] = (),
    runs_dir: str | Path = RUNS,
    pictures: bool = True,
    quiet: bool = False,
) -> Study:
    """Go on with a run that was interrupted, or with `samples` trials in all: what is missing is computed.

    score: needed where the function is in no module that could be imported: a run directory holds no pickle.
    """
    found = studies.find_run(str(run), Path(runs_dir))
    with ExitStack() as stack:
        show = _show(stack, callbacks, quiet, pictures)
        return _offered(session.resume(found, samples, show, backend, score))


def read(run: str | Path = "latest", runs_dir: str | Path = RUNS) -> Study:
    """The study of a run directory, in whatever state it is."""
    return _offered(studies.find_run(str(run), Path(runs_dir)).read())


def ask_tell(
    space: Space,
    *,
    metric: str | Metric = "score",
    mode: str | None = None,
    samples: int = 1_000_000,
    search: str = "bayes",
    warmup: int = 10,
    seed: int = 0,
    points: Sequence[Config] = (),
    known: Sequence[tuple[Config, Any]] = (),
) -> AskTell[Study]:
    """A search to be asked for configs, `samples` at most, and told of their results.

    known: results from elsewhere to begin with, as pairs (config, result); see `AskTell.add`.
    """
    searched = _space(space).space
    if points:
        searched = SearchSpace(searched.hyperparameters, [*searched.points, *points])
    functions.refuse_empty(searched, "ask_tell()")
    settings = SearchSettings(search, samples=samples, warmup=warmup, seed=seed, deterministic=False)
    return AskTell(
        Study(Request("ask_tell", searched.to_dict(), _metrics(metric, mode)[0], search=settings)), known
    )


def _offered(study: studies.Study) -> Study:
    """The same study, with what is offered beside."""
    given = {each.name: getattr(study, each.name) for each in fields(study) if each.init}
    return Study(**given)


def _subject(score: Callable[..., Any] | str, space: Space | None) -> session.Subject:
    if isinstance(score, str):
        file = None if space is None else _space(space)
        subject = session.subject(score, None)
        return (
            subject
            if file is None
            else session.Subject(subject.task, file, subject.options, subject.function)
        )
    if not callable(score):
        raise UsageError(f"score must be a function or its name, but got {type(score).__name__}.")
    file = SpaceFile(SearchSpace(functions.annotated_space(score))) if space is None else _space(space)
    found = functions.reference(score)
    if found is None:
        return session.Subject(functions.BY_VALUE + functions.name_of(score), file, {}, score)
    return session.Subject(found[0], file, {"folder": str(found[1])}, score)


def _space(space: Space) -> SpaceFile:
    if isinstance(space, str | Path):
        return load(str(space))
    return SpaceFile(space if isinstance(space, SearchSpace) else SearchSpace(space))


def _metrics(given: Metrics | None, mode: str | None) -> list[Metric]:
    if given is None:
        return []
    each = [given] if isinstance(given, str | Metric) else list(given)
    return [one if isinstance(one, Metric) else session.metric_of(one, mode) for one in each]


def _moded(metric: Metric, mode: str | None) -> Metric:
    return metric if mode is None else Metric(metric.name, mode)  # type: ignore[arg-type]


def _show(stack: ExitStack, callbacks: Sequence[Listener], quiet: bool, pictures: bool) -> session.Show:
    """Progress on stderr. A callback that raises is told of, and ends nothing."""
    from rich.console import Console

    from tuneapp.report import live

    console = Console(stderr=True)

    def tell(line: str) -> None:
        if not quiet:
            console.print(line, highlight=False, soft_wrap=True)

    def guarded(callback: Listener) -> Callable[[studies.Study, Trial], None]:
        def call(study: studies.Study, trial: Trial) -> None:
            try:
                callback(_offered(study), trial)
            except Exception as error:
                console.print(
                    f"a callback failed after trial {trial.number}: {type(error).__name__}: {error}",
                    highlight=False,
                    soft_wrap=True,
                )

        return call

    watcher = stack.enter_context(live.shown(console, quiet))
    return session.Show(
        watchers=[watcher],
        listeners=[guarded(callback) for callback in callbacks],
        tell=tell,
        pictures=pictures,
    )
