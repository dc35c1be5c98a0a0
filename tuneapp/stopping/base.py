"""What a stopping rule is: told each score as it arrives, it says whether the trial ends there."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Stop:
    """The decision that a trial ends now."""

    reason: str  # for people, without a full stop: "rung 3: 0.51 against a cut of 0.6 from 5 trials"


class Rule(Protocol):
    """Decides from scores alone, and repeatably: a fresh rule that is told the same results goes on alike.

    A resumed study restores its rule that way. A rule therefore reads no clock and keeps no random state;
    what it draws, it draws from a trial's number.

    A rule that pauses trials and promotes them later fits in: `Stop` would become one of several decisions
    (`Pause`, `Promote(trial)`) with a common base `Decision`, `report` would return `Decision | None`, and
    drivers, which look at a decision's class, would learn the new classes. None would still mean "go on".
    """

    def report(self, trial: int, iteration: int, score: float) -> Stop | None:
        """Take a trial's score into account, and decide; None lets the trial go on.

        Higher scores are better. It is called once per iteration that has the metric, for all trials in the
        order in which their results arrive; the iterations of one trial (from 1) only grow. A score that is
        nan or infinite changes nothing, and neither does one at the limit of iterations, where a trial ends
        by itself.
        """

    def rungs(self, below: int) -> list[int]:
        """The iterations below this one at which it may stop a trial; [] where it may at any, or never."""
