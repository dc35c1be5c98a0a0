"""Two metrics at once: the trials that no other beats in both."""

import math
from dataclasses import dataclass, replace

from tuneapp.analysis.scale import Scale
from tuneapp.settings import Metric
from tuneapp.studies import Study, Trial, ranked, undefeated


@dataclass(frozen=True)
class Front:
    """The study's metric against a second one, of the trials that have a result in both."""

    second: Metric
    trials: tuple[Trial, ...]  # the best in the study's own metric first
    best: tuple[Trial, ...]  # of these, the ones that no other beats in both, in the same order

    def value(self, trial: Trial) -> float:
        """The second metric of one of `trials`; `seconds`, where none reports it, is how long it ran."""
        return trial.traded(self.second) or 0.0

    @property
    def scale(self) -> Scale:
        """On which the second metric is drawn, without a logarithm."""
        return replace(Scale.of((self.value(trial) for trial in self.trials), self.second.mode), log=False)


def front(study: Study, second: Metric) -> Front:
    """A trial that lost where it was stopped is on no front: its numbers are of fewer iterations."""
    both = [trial for trial in ranked(study.trials, study.metric) if trial.traded(second) is not None]
    contenders = {trial.number for trial in undefeated(study.trials, study.metric)}
    keys = {
        trial.number: (study.score(trial) or 0.0, second.score(trial.traded(second) or 0.0), -trial.number)
        for trial in both
    }
    best: list[Trial] = []
    reached = -math.inf
    for trial in sorted(both, key=lambda trial: keys[trial.number], reverse=True):
        other = keys[trial.number][1]
        if trial.number in contenders and other > reached:
            best.append(trial)
            reached = other
    return Front(second, tuple(both), tuple(best))
