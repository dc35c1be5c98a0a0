"""What `import tuneapp` offers: tune a function, look at its study, or run a loop of one's own."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneapp import session, studies
from tuneapp.errors import UsageError
from tuneapp.objective import Diverged, iterate
from tuneapp.search import make_search
from tuneapp.settings import Config, Metric, Request, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile, load
from tuneapp.studies import Asked, Ended, Reported, Started, Trial, TrialState
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

        return report.plot(self, name, *arguments, **options)

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


class AskTell:
    """A search for a loop of one's own; nothing is written, and nothing but the search runs.

    ask() gives a Trial with its `number`, `config` and `seed`; tell() takes its result. Several trials may be
    asked for before the first is told: those that are pending are believed, not proposed again.
    """

    def __init__(self, space: SearchSpace, metric: Metric, settings: SearchSettings) -> None:
        request = Request("ask_tell", space.to_dict(), metric, search=settings)
        self.study = Study(request)
        self._search = make_search(space, metric, settings, request.scheduler)

    def ask(self) -> Trial | None:
        """The next trial; None where `samples` are asked for or a finite space is used up."""
        proposal = self._search.ask()
        if proposal is None:
            return None
        number = len(self.study.trials)
        self._apply(Asked(number, proposal.config, proposal.origin, proposal.seed, time=time.time()))
        self._apply(Started(number, time=time.time()))
        return self.study.trials[number]

    def tell(self, trial: Trial | int, result: Any) -> None:
        """What a trial gave: a number, or a dict with the metric in it. An exception, or nan, is a failure.

        Raises UsageError for a trial that was never asked for or is told already, TuneappError for no number.
        """
        number = trial if isinstance(trial, int) else trial.number
        if not 0 <= number < len(self.study.trials) or self.study.trials[number].over:
            raise UsageError(f"tell() must be given a trial that is pending, but trial {number} is not.")
        if isinstance(result, BaseException):
            self._end(number, TrialState.FAILED, f"{type(result).__name__}: {result}")
            return
        try:
            (metrics,) = iterate(result, self.study.metric)
        except Diverged as error:
            self._end(number, TrialState.DIVERGED, str(error))
            return
        self._apply(Reported(number, 1, metrics, time=time.time()))
        self._end(number, TrialState.FINISHED)

    @property
    def best(self) -> Trial | None:
        return self.study.best

    def _end(self, number: int, state: TrialState, reason: str = "") -> None:
        self._apply(Ended(number, state, reason, time=time.time()))

    def _apply(self, event: Asked | Started | Reported | Ended) -> None:
        self.study.apply(event)
        self._search.tell(self.study.trials[event.trial])


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
) -> AskTell:
    """A search to be asked for configs and told of their results, `samples` at most."""
    searched = _space(space).space
    if points:
        searched = SearchSpace(searched.hyperparameters, [*searched.points, *points])
    functions.refuse_empty(searched, "ask_tell()")
    settings = SearchSettings(search, samples=samples, warmup=warmup, seed=seed, deterministic=False)
    return AskTell(searched, _metrics(metric, mode)[0], settings)


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
