"""Everything that happens to a trial, in the order: into trials.jsonl, into the study, to the search."""

from collections.abc import Callable
from typing import Any

from tuneapp.backends import checkpoints, output
from tuneapp.backends.runner import (
    CHECKPOINT,
    DETAILS,
    ENDED,
    ITERATION,
    METRICS,
    REASON,
    Step,
    explain_death,
)
from tuneapp.search import Search, make_search
from tuneapp.spaces import SearchSpace
from tuneapp.studies import RunDirectory, Study, Trial, TrialState

Watcher = Callable[[Study], None]
Listener = Callable[[Study, Trial], None]


class Record:
    """The driver's one writer."""

    def __init__(
        self,
        run: RunDirectory,
        study: Study,
        search: Search,
        watchers: list[Watcher],
        listeners: list[Listener] | None = None,
    ) -> None:
        """watchers are called now and then, listeners after the end of each trial."""
        self.run, self.study, self.search = run, study, search
        self.watchers, self.listeners = watchers, listeners or []
        self.incumbent = study.best

    def ask(self) -> Trial | None:
        """A new trial, as the search proposes it."""
        proposal = self.search.ask()
        if proposal is None:
            return None
        number = len(self.study.trials)
        self._write("asked", number, config=proposal.config, origin=proposal.origin, seed=proposal.seed)
        return self.study.trials[number]

    def start(self, trial: Trial) -> None:
        if trial.started is None:
            self._write("started", trial.number)

    def take(self, trial: Trial, step: Step, worker: str) -> None:
        """One step of a trial, as its runner gave it."""
        if step.get(ITERATION, 0) > trial.iterations:  # else told again after a restart
            checkpoint = {"checkpoint": step[CHECKPOINT]} if step[CHECKPOINT] else {}
            self._write(
                "iteration",
                trial.number,
                iteration=step[ITERATION],
                metrics=step[METRICS],
                worker=worker,
                **checkpoint,
            )
        if ENDED in step:
            self.end(trial, TrialState(step[ENDED]), step[REASON], step[DETAILS])

    def restart(self, trial: Trial) -> None:
        self._write("restarted", trial.number)

    def has_last_words(self, trial: Trial) -> bool:
        """Whether a trial's process could say why it died: it would die again."""
        return output.last_words(output.path_of(self.run.path, trial.number)) is not None

    def lose(self, trial: Trial, cause: str) -> None:
        """A trial's process died. `cause` is what the driver knows; the process may have said more."""
        words = output.last_words(output.path_of(self.run.path, trial.number))
        if words is None:
            self.end(trial, TrialState.FAILED, f"its worker died: {cause}")
        else:
            self.end(trial, TrialState.FAILED, explain_death(self.study.request, words[0]), words[1])

    def end(self, trial: Trial, state: TrialState, reason: str = "", details: str = "") -> None:
        """Close a trial; of all ended trials only the incumbent keeps its checkpoint."""
        self._write(state.value, trial.number, reason=reason, **({"details": details} if details else {}))
        if not self.study.several_seeds:  # else every trial may yet be the best of the best config
            losers = [trial]
            if self._beats_incumbent(trial):
                losers = [] if self.incumbent is None else [self.incumbent]
                self.incumbent = trial
            for loser in losers:
                checkpoints.of_trial(self.run.path, loser.number).delete()
        for listener in self.listeners:
            listener(self.study, trial)

    def watch(self) -> None:
        for watcher in self.watchers:
            watcher(self.study)

    def _beats_incumbent(self, trial: Trial) -> bool:
        """As Study.best decides, without asking all trials each time: the earlier one wins a tie."""
        score = self.study.score(trial)
        if score is None or self.incumbent is None:
            return score is not None
        best = self.study.score(self.incumbent)
        assert best is not None
        return (score, -trial.number) > (best, -self.incumbent.number)

    def _write(self, event: str, number: int, **fields: Any) -> None:
        self.study.apply(self.run.append(event, trial=number, **fields))
        self.search.tell(self.study.trials[number])


def search_of(study: Study, in_flight: int = 1) -> Search:
    """A search that has been told everything the study holds."""
    request = study.request
    space = SearchSpace.from_dict(request.space)
    search = make_search(space, study.metric, request.search, request.scheduler, in_flight, request.also)
    for trial in study.trials:
        search.tell(trial)
    return search


def plan(run: RunDirectory, study: Study, at_once: int) -> None:
    """Write down what the first life decides for all, so that other workers later propose the same trials."""
    if not study.trials and study.request.search.lag is None:
        study.apply(run.append("planned", lag=at_once - 1))


def close(run: RunDirectory, study: Study) -> None:
    """Write that the study is at its end, if every trial is over and the search wants no more."""
    if not all(trial.over for trial in study.trials) or not search_of(study).exhausted:
        return
    best = study.best
    for trial in study.trials:
        if trial.checkpoint is not None and trial is not best:
            checkpoints.of_trial(run.path, trial.number).delete()
    study.apply(run.append("closed"))


def tell_of_idle_workers(study: Study, at_once: int, tell: Callable[[str], None]) -> None:
    """Warn where the first proposals of the model must wait while workers have nothing to do."""
    search = study.request.search
    first = search.warmup_trials + len(study.request.space.get("points") or ())
    if search.algorithm == "bayes" and first < min(at_once, search.samples) and not study.trials:
        tell(
            f"{at_once} trials fit at once, but only {first} come before the model, so workers will be "
            f"idle or guess; --warmup {at_once} gives each a random config first."
        )
