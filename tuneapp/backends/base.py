"""What every backend drives: a session asks, starts, reports and ends trials, and says whether they go on.

A backend is a function `drive(session)`: it connects, calls `session.plan(trials at once)`, takes trials
from `session.next()`, hands their outcomes to `session.take(...)`, and returns when nothing runs and nothing
is left.
"""

import math
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from tuneapp.backends import checkpoints, output
from tuneapp.backends.outcomes import End, Outcomes, Report
from tuneapp.backends.runner import describe, explain_death
from tuneapp.search import Search, make_search
from tuneapp.settings import Request
from tuneapp.spaces import SearchSpace
from tuneapp.stopping import Rule, make_rule
from tuneapp.studies import (
    Asked,
    Closed,
    Ended,
    Event,
    Journal,
    Observer,
    Planned,
    Race,
    Reported,
    Restarted,
    RunDirectory,
    Started,
    Study,
    Trial,
    TrialState,
    budget,
)

UNLIMITED = 1_000_000  # iterations up to which rungs are looked for, where there is no limit


@dataclass(frozen=True)
class How:
    """How a study is run, beside what its request says: nothing of it is kept for a resume."""

    function: bytes | None = None  # the objective of a task that was passed by value, pickled
    knows_limit: bool = True  # the task is told the limit of iterations, and ends there by itself
    loggers: tuple[str, ...] = ()  # of Ray Tune: tensorboard, mlflow
    dashboard: bool | None = False  # of Ray; None: where its extra is installed
    eager: bool = False  # a federation's client actors start before the first round, not when they pay


class Backend(Protocol):
    def __call__(self, session: "Session") -> None:
        """Run trials until none is left; KeyboardInterrupt leaves the rest to a resume."""


class Session:
    """One driver's life of a study."""

    def __init__(
        self,
        run: RunDirectory,
        observer: Observer,
        how: "How | None" = None,
    ) -> None:
        self.run, self.observer, self.how = run, observer, how or How()
        self._stack = ExitStack()
        self._unfinished: deque[Trial] = deque()
        self._worked: dict[int, float] = {}  # trial -> seconds that its earlier lives have worked
        self._scores: dict[int, float] = {}  # trial -> best score so far, where a metric counts at its best
        self._broken_observer = False
        self._told_of_leftovers = False
        self.ended_by = ""  # what ends the study now, before its samples do; one of events.ENDINGS
        self._too_late = False  # for another trial; those that run may go on
        self._failures: list[Ended] = []  # of this life, while no trial has ended well
        self.study: Study
        self.search: Search
        self.rule: Rule

    def __enter__(self) -> "Session":
        self._stack.enter_context(self.run.lock())
        self.run.mend()
        self.study = self.run.read()
        self.study.race = Race(self.study.metric, (trial for trial in self.study.trials if trial.over))
        self.journal = Journal(self.run, self.study, [self._heard])
        self._stack.enter_context(ended_as_by_ctrl_c())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def plan(self, at_once: int) -> None:
        """Called once the backend knows how many trials fit at once; calling it again starts a new search
        and a new rule from what the study holds by then."""
        self._tell_of_idle_workers(at_once)
        if not self.study.trials and self.study.request.search.lag is None:
            self.journal.write(Planned(at_once - 1))
        self.search = self._search(at_once)
        self.rule = make_rule(self.study.request.scheduler, self.study.metric)
        self._scores = {}
        for number, iteration in self.study.arrivals:
            value = iteration.metrics.get(self.study.metric.name)
            if value is not None and math.isfinite(value):
                self.rule.report(number, iteration.number, self._score(number, value))
        self._unfinished = deque(trial for trial in self.study.trials if not trial.over)
        limit = self.study.request.scheduler.max_iterations
        self._first_rung = next(iter(self.rule.rungs(limit or UNLIMITED)), None)
        self._end_by_results(self.study.trials)

    def next(self) -> Trial | None:
        """The next trial to start: first those that an earlier life left unfinished. None: there is none now,
        or none any more where `exhausted`."""
        if self.exhausted or self._has_no_time():
            return None
        if self._unfinished:
            return self._unfinished.popleft()
        proposal = self.search.ask()
        if proposal is None:
            return None
        number = len(self.study.trials)
        self.journal.write(Asked(number, proposal.config, proposal.origin, proposal.seed))
        return self.study.trials[number]

    @property
    def exhausted(self) -> bool:
        ended = bool(self.ended_by) or self._too_late
        return ended or (not self._unfinished and self.search.exhausted)

    def start(self, trial: Trial) -> None:
        """A worker takes the trial."""
        self._worked[trial.number] = trial.seconds
        if trial.started is None:
            self.journal.write(Started(trial.number))

    def restart(self, trial: Trial) -> None:
        """Its worker was lost, and another one takes it."""
        self._worked[trial.number] = trial.seconds
        self.journal.write(Restarted(trial.number))

    def take(self, trial: Trial, outcomes: Outcomes, worker: str) -> bool:
        """What a trial's process gave; returns whether the trial goes on."""
        if trial.over:  # for a reason that the driver alone had
            return False
        before = trial.iterations
        for outcome, following in zip(outcomes, (*outcomes[1:], None), strict=True):
            if isinstance(outcome, End):
                if outcome.no_room:
                    self.journal.no_room = self.run.no_room()
                    raise self.journal.no_room
                self._end(trial, outcome.state, outcome.reason, outcome.details, outcome.seconds)
                if outcome.replace_worker:
                    self.tell_of_leftovers(f"trial {trial.number} left behind {outcome.replace_worker}")
                return False
            if not self._report(trial, outcome, worker, ends=following is not None):
                return False
        if trial.iterations == before:
            return True  # it was reported before a restart: each life of a study brings its trials further
        if not self.ended_by and self._is_over():
            self._end_study("time")
        return not self.ended_by

    def lose(self, trial: Trial, cause: str) -> None:
        """A trial's process died. `cause` is what the driver knows; the process may have said more."""
        words = output.last_words(output.path_of(self.run.path, trial.number))
        if words is None:
            self._end(trial, TrialState.FAILED, f"its worker died: {cause}")
        else:
            self._end(trial, TrialState.FAILED, explain_death(self.study.request, words[0]), words[1])

    def has_last_words(self, trial: Trial) -> bool:
        """Whether a trial's process could say why it died: it would die again."""
        return output.last_words(output.path_of(self.run.path, trial.number)) is not None

    def fail(self, trial: Trial, reason: str) -> None:
        """End a trial for a reason that the driver alone knows."""
        self._end(trial, TrialState.FAILED, reason)

    def tick(self) -> None:
        self._observe(lambda: self.observer.on_tick(self.study))

    def tell(self, line: str) -> None:
        self._observe(lambda: self.observer.tell(line))

    def close(self) -> None:
        """Write that the study is at its end, if something ended it, or every trial is over and the search
        wants no more. Trials that were left unfinished keep their checkpoints: a resume goes on with them."""
        by = self.ended_by or ("time" if self._too_late else "")
        if not by and (self.study.over < len(self.study.trials) or not self.exhausted):
            return
        best = self.study.best
        for trial in self.study.trials:
            if trial.over and trial.checkpoint is not None and trial is not best:
                checkpoints.of_trial(self.run.path, trial.number).delete()
        checkpoints.forget_workers(self.run.path)
        self.journal.write(Closed(by or "samples"))

    def _report(self, trial: Trial, report: Report, worker: str, ends: bool) -> bool:
        limit, metric = self.study.request.scheduler.max_iterations, self.study.metric
        if report.number <= trial.iterations:
            return True  # reported again after a restart
        seconds = self._worked.get(trial.number, 0.0) + report.seconds
        if limit is not None and report.number > limit:
            reason = f"cut at the limit of {limit} iterations, with more to give"
            self._end(trial, TrialState.LIMITED, reason, seconds=report.seconds)
            return False
        seconds = round(seconds, 6)
        self.journal.write(
            Reported(trial.number, report.number, report.metrics, worker, report.checkpoint, seconds)
        )
        if ends:
            return True
        if report.number == limit and self.how.knows_limit:
            self._end(trial, TrialState.FINISHED, seconds=report.seconds)
            return False
        value = report.metrics.get(metric.name)
        if value is None:
            return True  # a rule waits for the next iteration that has the metric
        stop = self.rule.report(trial.number, report.number, self._score(trial.number, value))
        if stop is not None:
            self._end(trial, TrialState.STOPPED, stop.reason, seconds=report.seconds)
            return False
        return True

    def _end(
        self,
        trial: Trial,
        state: TrialState,
        reason: str = "",
        details: str = "",
        seconds: float | None = None,
    ) -> None:
        """End a trial; of the ended ones only those that may still be the incumbent keep checkpoints."""
        worked = None if seconds is None else round(self._worked.get(trial.number, 0.0) + seconds, 6)
        race = self.study.race
        assert race is not None
        reason, details = output.shortened(reason, details, output.path_of(self.run.path, trial.number))
        ended = Ended(trial.number, state, reason, details, worked)
        self.journal.write(ended)
        if state is TrialState.FAILED:
            self._fail_early(ended)
        self._end_by_results([trial])
        if not self.study.several_seeds:  # else every trial may yet be the best of the best config
            for loser in race.losers:
                checkpoints.of_trial(self.run.path, loser.number).delete()

    def _has_no_time(self) -> bool:
        """Whether no trial may start any more; one that an earlier life began may until the last moment, and
        the very first may in any case."""
        if self.study.request.budget.time is None or not self.study.trials:
            return False
        clock = self.journal.clock()
        late = not self._unfinished and budget.is_too_late(self.study, clock, self._first_rung)
        if late or self._is_over():
            self._too_late = True
            self.tell(budget.ending(self.study, "time", clock))
        return self._too_late

    def _is_over(self) -> bool:
        """Whether the study's time is used up."""
        time = self.study.request.budget.time
        return time is not None and self.journal.clock() >= time

    def _end_by_results(self, trials: list[Trial]) -> None:
        """End the study where one of the trials fulfils its condition, or too many brought nothing new."""
        if self.ended_by:
            return
        if budget.fulfilling(self.study, trials) is not None:
            self._end_study("until")
        elif budget.is_impatient(self.study):
            self._end_study("patience")

    def _end_study(self, by: str) -> None:
        if not self._too_late:  # else it is told already
            self.tell(budget.ending(self.study, by, self.journal.clock()))
        self.ended_by = by

    def _fail_early(self, failure: Ended) -> None:
        """End the study where the first trials fail alike: the next ones would, too."""
        study = self.study
        if study.request.budget.keep_going or self.ended_by:
            return
        self._failures.append(failure)
        alike = budget.alike(study, self._failures)
        if not alike:
            return
        self._end_study("failures")
        if alike[0].details:
            self.tell(f"the first of them, trial {alike[0].trial}:\n{alike[0].details.rstrip()}")

    def _heard(self, event: Event) -> None:
        """After the file and the study: the search, then whoever watches."""
        if isinstance(event, Ended) and self.study.race is not None:
            self.study.race.add(self.study.trials[event.trial])
        if isinstance(event, Asked | Started | Restarted | Reported | Ended):
            self.search.tell(self.study.trials[event.trial])
        self._observe(lambda: self.observer.on_event(self.study, event))

    def _observe(self, call: Callable[[], None]) -> None:
        """Watching never ends a study: an error is told once, and the watching goes on."""
        try:
            call()
        except Exception as error:
            if not self._broken_observer:
                self._broken_observer = True
                with suppress(Exception):  # nor can this be shown, as where the terminal is gone
                    self.observer.tell(f"showing the study failed, and it goes on: {describe(error)}")

    def _score(self, number: int, value: float) -> float:
        """What a rule compares: higher is better; the best so far where that is what counts."""
        score = self.study.metric.score(value)
        if self.study.metric.at == "best":
            score = self._scores[number] = max(score, self._scores.get(number, -math.inf))
        return score

    def _search(self, in_flight: int) -> Search:
        """A search that has been told everything that the study holds."""
        search = search_of(self.study.request, in_flight)
        for trial in self.study.trials:
            search.tell(trial)
        return search

    def _tell_of_idle_workers(self, at_once: int) -> None:
        """Warn where the first proposals of the model must wait while workers have nothing to do."""
        search = self.study.request.search
        first = search.warmup_trials + len(self.study.request.space.get("points") or ())
        if search.algorithm == "bayes" and first < min(at_once, search.samples) and not self.study.trials:
            self.tell(
                f"{at_once} trials fit at once, but only {first} come before the model, so workers will be "
                f"idle or guess; --warmup {at_once} gives each a random config first."
            )

    def tell_of_leftovers(self, what: str) -> None:
        """Tell once what made a worker be replaced."""
        if not self._told_of_leftovers:
            self._told_of_leftovers = True
            self.tell(
                f"{what}; its worker was replaced, as after any trial that does so (a worker's start costs a "
                "second or so)."
            )


def search_of(request: Request, in_flight: int = 1) -> Search:
    """The search of a request, which was told nothing yet. Raises UsageError for one that can't be."""
    space = SearchSpace.from_dict(request.space)
    return make_search(space, request.metric, request.search, request.scheduler, in_flight, request.also)


def drive(backend: Backend, run: RunDirectory, observer: Observer, how: How | None = None) -> Study:
    """Run all trials that the request asks for and the record does not hold yet; returns the study.

    One that is not closed was interrupted; calling this again goes on.
    """
    with Session(run, observer, how) as session:
        try:
            backend(session)
        except KeyboardInterrupt:
            return session.study
        session.close()
    return session.study


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """A cluster's queue, a closed terminal or `kill` ends a study as Ctrl-C does: saved, to be resumed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {
        name: signal.signal(getattr(signal, name), lambda number, frame: signal.raise_signal(signal.SIGINT))
        for name in names
    }
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
