"""A study: all trials of a command, rebuilt event by event."""

import math
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tuneapp.errors import TuneappError
from tuneapp.settings import Budget, Metric, Metrics, Request, config_key
from tuneapp.studies.events import (
    Asked,
    Closed,
    Ended,
    Event,
    Extended,
    Planned,
    Reported,
    Started,
    Tested,
)
from tuneapp.studies.incumbent import Race, undefeated
from tuneapp.studies.trials import Iteration, Trial, TrialState


@dataclass
class Study:
    """All trials of a command."""

    request: Request
    trials: list[Trial] = field(default_factory=list)
    folder: Path | None = None  # the run directory, where there is one
    facts: dict[str, Any] = field(default_factory=dict)  # run.json beside the request: argv, versions …
    test: Metrics | None = None  # the incumbent on the test set, read once
    tested: int | None = None  # the trial it was read for
    closed: bool = False  # the driver came to its end
    ended_by: str = ""  # what ended it, one of events.ENDINGS; empty while it is not closed
    clock: float = 0.0  # seconds that the study has run by the last event, pauses left out
    # What a driver keeps up to date, so that it costs the same after ten trials and ten thousand.
    arrivals: list[tuple[int, Iteration]] = field(default_factory=list, compare=False, repr=False)
    over: int = field(default=0, init=False, compare=False, repr=False)  # trials that have ended by events
    race: Race | None = field(default=None, init=False, compare=False, repr=False)
    _first_time: float | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def metric(self) -> Metric:
        return self.request.metric

    @property
    def name(self) -> str:
        return self.folder.name if self.folder else self.request.task

    def value(self, trial: Trial) -> float | None:
        return trial.value(self.metric)

    def score(self, trial: Trial) -> float | None:
        """Higher is better; None where the trial does not count (running, diverged, failed, no value)."""
        value = self.value(trial) if trial.succeeded else None
        return None if value is None else self.metric.score(value)

    @property
    def several_seeds(self) -> bool:
        """Whether configs run on more than one seed: then their means count, not single trials."""
        return self.request.search.repeats > 1 or self.request.search.plan is not None

    @property
    def best(self) -> Trial | None:
        """The incumbent, by the rule of `incumbent.py`.

        Where configs run on several seeds it is the best trial of the best config: that of the highest mean
        among those with the most seeds, since a mean of fewer is luckier.
        """
        if not self.several_seeds:
            race = self.race or Race(self.metric, (trial for trial in self.trials if trial.over))
            return race.best
        configs: dict[str, list[Trial]] = {}
        for trial in undefeated(self.trials, self.metric):
            configs.setdefault(config_key(trial.config), []).append(trial)
        most_seeds = max(map(len, configs.values()), default=0)
        means = {
            # Divided before the sum, as penalties of the largest float would overflow it.
            key: math.fsum((self.score(trial) or 0.0) / len(trials) for trial in trials)
            for key, trials in configs.items()
            if len(trials) == most_seeds
        }
        return Race(self.metric, configs[max(means, key=means.__getitem__)] if means else ()).best

    @property
    def seconds(self) -> float:
        """From the first trial's start to the last thing that a trial did, pauses of the study left out."""
        starts = [trial.started for trial in self.trials if trial.started is not None]
        ends = [trial.ended or 0.0 for trial in self.trials]
        ends += [trial.history[-1].time for trial in self.trials if trial.history]
        return max(0.0, max(ends) - min(starts)) if starts else 0.0

    def counts(self) -> dict[str, int]:
        """Trials by state, in all, and how many came before the model (`warmup`)."""
        states = Counter(trial.state for trial in self.trials)
        return {
            "total": len(self.trials),
            **{state.value: states[state] for state in TrialState},
            "warmup": sum(trial.origin == "warmup" for trial in self.trials),
        }

    def apply(self, event: Event) -> None:
        """Take one event into account."""
        now = self._moment(event)
        match event:
            case Asked():
                if event.trial != len(self.trials):
                    raise TuneappError(
                        f"trials must be asked in order, but {event.trial} follows {len(self.trials) - 1}"
                    )
                self._go_on()
                self.trials.append(Trial(event.trial, event.config, event.origin, event.seed, asked=now))
            case Started():
                trial = self._trial(event.trial)
                self._go_on()
                if trial.started is None:
                    trial.started, trial.started_at = now, event.time
            case Reported():
                trial = self._trial_at_work(event)
                self._go_on()
                if event.iteration <= trial.iterations:
                    raise TuneappError(
                        f"a trial's iterations must follow each other, but {event.iteration} of trial "
                        f"{event.trial} comes after {trial.iterations}"
                    )
                iteration = Iteration(event.iteration, now, event.metrics, event.checkpoint)
                trial.history.append(iteration)
                trial.worker = event.worker or trial.worker
                trial.worked = trial.worked if event.seconds is None else event.seconds
                self.arrivals.append((event.trial, iteration))
            case Ended():
                trial = self._trial_at_work(event)
                self._go_on()
                trial.state, trial.reason, trial.ended, trial.ended_at = (
                    event.state,
                    event.reason,
                    now,
                    event.time,
                )
                trial.worked = trial.worked if event.seconds is None else event.seconds
                self.over += 1
            case Extended():
                self._go_on()
                self._replace_search(samples=event.samples, warmup=event.warmup)
                self._replace_budget(event.budget or {})
            case Planned():
                self._replace_search(lag=event.lag)
            case Tested():
                self._trial(event.trial)
                self.test, self.tested = event.metrics, event.trial
            case Closed():
                self.closed, self.ended_by = True, event.by

    def _go_on(self) -> None:
        self.closed, self.ended_by = False, ""

    def _moment(self, event: Event) -> float:
        """The event on the study's clock. Records of 0.1.0 know the time of day alone."""
        if self._first_time is None:
            self._first_time = event.time
        clock = event.time - self._first_time if event.clock is None else event.clock
        self.clock = max(self.clock, clock)
        return self.clock

    def _trial(self, number: int) -> Trial:
        if not 0 <= number < len(self.trials):
            raise TuneappError(
                f"an event must follow the asking of its trial, but trial {number} was never asked"
            )
        return self.trials[number]

    def _replace_budget(self, changes: dict[str, Any]) -> None:
        of_this_version = {each.name for each in fields(Budget)}
        changes = {name: value for name, value in changes.items() if name in of_this_version}
        self.request = replace(self.request, budget=replace(self.request.budget, **changes))

    def _trial_at_work(self, event: Reported | Ended) -> Trial:
        trial = self._trial(event.trial)
        if trial.over:
            raise TuneappError(
                f"nothing may follow the end of a trial, but trial {event.trial} has ended before"
            )
        return trial

    def _replace_search(self, **changes: Any) -> None:
        self.request = replace(self.request, search=replace(self.request.search, **changes))
