"""A search for a loop of one's own: ask for a trial, evaluate it anywhere, tell its result.

Not `ask_tell.py`: importing that would put the module in the place of the function `tuneapp.ask_tell`.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any, Generic, TypeVar

from tuneapp.errors import UsageError
from tuneapp.objective import Diverged, iterate
from tuneapp.search import ADDED, Search, make_search
from tuneapp.settings import Config, Metric, Metrics
from tuneapp.spaces import SearchSpace
from tuneapp.studies import Asked, Ended, Reported, Started, Study, Trial, TrialState

S = TypeVar("S", bound=Study)
Outcome = Metrics | tuple[TrialState, str]  # what a trial gave, or how it ended and why


class AskTell(Generic[S]):
    """A search for a loop of one's own; nothing is written, and nothing but the search runs.

    ask() gives a Trial with its `number`, `config` and `seed`; tell() takes its result. Several trials may be
    asked for before the first is told: those that are pending are believed, not proposed again. add() takes a
    result that came from elsewhere.

    A pickle or a deep copy holds the study, and goes on as the loop itself would.
    """

    study: S  # its trials, the added ones among them

    def __init__(self, study: S, known: Iterable[tuple[Config, Any]] = ()) -> None:
        """study: a new one, whose request says what to search; known: (config, result) for `add`."""
        self.study = study
        self._search = _search_of(study)
        for pair in known:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UsageError(f"known must be pairs (config, result), but one is {_shown(pair)}.")
            self.add(*pair)

    def ask(self) -> Trial | None:
        """The next trial; None where `samples` are asked for or a finite space is used up."""
        proposal = self._search.ask()
        return None if proposal is None else self._begin(proposal.config, proposal.origin, proposal.seed)

    def tell(self, trial: Trial | int, result: Any) -> None:
        """What a trial gave: a number, or a dict with the metric in it. An exception, or nan, is a failure.

        Raises UsageError for a trial that was never asked for or is told already, and for a result that is no
        number: the trial stays pending.
        """
        if isinstance(trial, Mapping):
            raise UsageError(
                "tell() must be given a trial that ask() gave, but got a config; add(config, result) takes a "
                "result that is known from elsewhere."
            )
        given: Any = trial.number if isinstance(trial, Trial) else trial
        if isinstance(given, bool) or not isinstance(given, Integral):
            raise UsageError(f"tell() must be given a trial or its number, but got {type(trial).__name__}.")
        number = int(given)
        if not 0 <= number < len(self.study.trials) or self.study.trials[number].over:
            raise UsageError(f"tell() must be given a trial that is pending, but trial {number} is not.")
        self._end(number, _outcome(result, self.study.metric, "tell"))

    def add(self, config: Config, result: Any) -> Trial:
        """A result from elsewhere, at any time: the search learns from it as if it had proposed the config.

        config: of this space; fixed and derived values may be left out. result: as for `tell`. The trial, of
        origin "added", counts as warm-up, but not as one of the samples. Raises UsageError for a config that
        does not fit the space, and for a result that is no number: nothing is added.
        """
        if not isinstance(config, Mapping):
            raise UsageError(f"add() must be given a config, a dict, but got {type(config).__name__}.")
        try:
            complete = SearchSpace.from_dict(self.study.request.space).complete(dict(config))
        except UsageError as error:
            raise UsageError(f"add() must be given a config of this space, but {error}") from None
        outcome = _outcome(result, self.study.metric, "add")
        trial = self._begin(complete, ADDED, seed=0)
        self._end(trial.number, outcome)
        return trial

    @property
    def best(self) -> Trial | None:
        return self.study.best

    def __getstate__(self) -> dict[str, Any]:
        # A search's whole state is the trials that it was told.
        return {"study": self.study}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.study = state["study"]
        self._search = _search_of(self.study)

    def _begin(self, config: Config, origin: str, seed: int) -> Trial:
        number = len(self.study.trials)
        self._apply(Asked(number, config, origin, seed, time=time.time()))
        self._apply(Started(number, time=time.time()))
        return self.study.trials[number]

    def _end(self, number: int, outcome: Outcome) -> None:
        if isinstance(outcome, tuple):
            self._apply(Ended(number, *outcome, time=time.time()))
            return
        self._apply(Reported(number, 1, outcome, time=time.time()))
        self._apply(Ended(number, TrialState.FINISHED, time=time.time()))

    def _apply(self, event: Asked | Started | Reported | Ended) -> None:
        self.study.apply(event)
        self._search.tell(self.study.trials[event.trial])


def _search_of(study: Study) -> Search:
    """The search of a study, which has been told all that it holds."""
    request = study.request
    space = SearchSpace.from_dict(request.space)
    search = make_search(space, request.metric, request.search, request.scheduler, also=request.also)
    for trial in study.trials:
        search.tell(trial)
    return search


def _outcome(result: Any, metric: Metric, asked: str) -> Outcome:
    """What a result means; raises UsageError for what is none. asked: the method that was given it."""
    if isinstance(result, BaseException):
        return TrialState.FAILED, f"{type(result).__name__}: {result}"
    kind = type(result).__name__
    if isinstance(result, Iterator):
        raise UsageError(
            f"{asked}() must be given one result, but got an iterator ({kind}); give its last item."
        )
    given = result if isinstance(result, Mapping) else {metric.name: result}
    if metric.name not in given:
        names = ", ".join(map(str, given)) or "an empty dict"
        raise UsageError(
            f"{asked}() must be given '{metric.name}', but got {names}; "
            "name one of them with ask_tell(…, metric=NAME)."
        )
    numbers = {str(name): number for name, value in given.items() if (number := _number(value)) is not None}
    if metric.name not in numbers:
        value = given[metric.name]
        raise UsageError(
            f"{asked}() must be given a number, or a dict with a number as '{metric.name}', but got "
            f"{type(value).__name__}: {_shown(value)}."
        )
    try:
        (metrics,) = iterate(numbers, metric)
    except Diverged as error:
        return TrialState.DIVERGED, str(error)
    return metrics


def _number(value: Any) -> float | None:
    """A number, or the one in an array or a tensor, as a float; None for anything else."""
    try:
        if hasattr(value, "item") and math.prod(getattr(value, "shape", ())) == 1:
            value = value.item()
        return None if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except (ValueError, TypeError):  # Python writes no whole number of more than 4,300 digits
        return "one too large to be written"
