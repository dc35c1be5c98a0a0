"""What a search has been told, kept so that an ask costs the same after ten trials and after ten thousand."""

from bisect import bisect_left, insort
from collections.abc import Hashable, Set

import numpy as np

from tuneapp.search.base import ADDED, REPEAT, Problem
from tuneapp.search.repeats import Contender, SeedRace, contender
from tuneapp.studies import Trial


class Evidence:
    """What the next proposal may depend on: the trials told, and the results of those among them that count.

    Deterministic: the results of all but the last `lag` trials count, and the next proposal waits for them.
    Else: those that are there. What has not changed since the last look is not looked at again.
    """

    def __init__(self, problem: Problem, lag: int) -> None:
        self._problem, self._lag = problem, lag
        self._trials: dict[int, Trial] = {}
        self._numbers: list[int] = []  # in order
        self._keys: dict[int, Hashable] = {}  # of each trial's config
        self._alike: dict[Hashable, list[int]] = {}  # key -> its trials, in order
        self._running: set[int] = set()
        self._uncommitted: set[int] = set()  # whose results do not count however long the search waits
        self._count = {ADDED: 0, REPEAT: 0}
        # As of the last look at results:
        self._contenders: dict[Hashable, Contender] = {}
        self._race = SeedRace(problem.settings.repeats)
        self._counted: list[Contender] = []  # those of which a result counts, in order of the first that does
        self._firsts: list[int] = []  # its number
        self._changed: set[Hashable] = set()
        self._hidden: frozenset[int] = frozenset()

    def tell(self, trial: Trial) -> None:
        number = trial.number
        if number not in self._trials:
            key = self._problem.space.key(trial.config)
            self._keys[number] = key
            insort(self._numbers, number)
            insort(self._alike.setdefault(key, []), number)
            if trial.origin in self._count:
                self._count[trial.origin] += 1
        self._trials[number] = trial
        self._changed.add(self._keys[number])
        _put(self._running, number, not trial.over)
        _put(self._uncommitted, number, not self._committed(trial))

    @property
    def number(self) -> int:
        """Of the trial to propose."""
        return len(self._trials)

    @property
    def asked(self) -> int:
        """How many trials were proposed: all but those that were added."""
        return self.number - self._count[ADDED]

    @property
    def repeats(self) -> int:
        """How many of them were repeats."""
        return self._count[REPEAT]

    @property
    def tried(self) -> Set[Hashable]:
        """The keys of all configs so far."""
        return self._alike.keys()

    @property
    def running(self) -> bool:
        """Whether any trial is not over."""
        return bool(self._running)

    @property
    def awaited(self) -> bool:
        """Whether a result is missing that counts."""
        return not self._uncommitted <= self._hidden_now()

    @property
    def pending(self) -> list[Trial]:
        """The trials whose results do not count, be they there or not, in order."""
        return [self._trials[number] for number in sorted(self._hidden_now())]

    @property
    def race(self) -> SeedRace:
        self._look()
        return self._race

    @property
    def contenders(self) -> list[Contender]:
        """All configs of which some result counts, in the order of the first that does."""
        self._look()
        return list(self._counted)

    def rng(self, seed: int) -> np.random.Generator:
        """Draws depend on the study's seed and the trial's number, so that a resumed search draws the
        same."""
        return np.random.default_rng([seed, self.number])

    def _look(self) -> None:
        """Bring contenders and race up to date with what was told since the last look."""
        hidden = self._hidden_now()
        self._changed.update(self._keys[number] for number in hidden ^ self._hidden)
        self._hidden = hidden
        for key in self._changed:
            numbers = self._alike[key]
            new = contender(
                [self._trials[number] for number in numbers if number not in hidden],
                self._problem.metric,
                [self._trials[number] for number in numbers if number in hidden],
            )
            old = self._contenders.get(key)
            self._contenders[key] = new
            if old is not None:
                self._race.leave(old)
            self._race.enter(new)
            self._recount(old, new)
        self._changed.clear()

    def _recount(self, old: Contender | None, new: Contender) -> None:
        was = old.trials[0].number if old is not None and old.trials else None
        now = new.trials[0].number if new.trials else None
        at = bisect_left(self._firsts, was) if was is not None else 0
        if was is not None and was == now:
            self._counted[at] = new
            return
        if was is not None:
            del self._counted[at], self._firsts[at]
        if now is not None:
            at = bisect_left(self._firsts, now)
            self._counted.insert(at, new)
            self._firsts.insert(at, now)

    def _hidden_now(self) -> frozenset[int]:
        if self._problem.settings.deterministic:
            return frozenset(self._numbers[max(0, len(self._numbers) - self._lag) :])
        return frozenset(self._uncommitted)

    def _committed(self, trial: Trial) -> bool:
        scheduler = self._problem.scheduler
        return trial.over or (scheduler.type != "none" and trial.iterations >= scheduler.grace_iterations)


def _put(numbers: set[int], number: int, inside: bool) -> None:
    if inside:
        numbers.add(number)
    else:
        numbers.discard(number)
