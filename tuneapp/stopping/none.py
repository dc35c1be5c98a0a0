"""No early stopping."""

from tuneapp.settings import Metric, SchedulerSettings
from tuneapp.stopping.base import Rule, Stop


class Never(Rule):
    """Lets every trial run to its end."""

    def report(self, trial: int, iteration: int, score: float) -> Stop | None:
        return None

    def rungs(self, below: int) -> list[int]:
        return []


def none(settings: SchedulerSettings, metric: Metric) -> Rule:
    return Never()
