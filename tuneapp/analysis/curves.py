"""Learning curves: the metric over iterations, trial by trial, and where trials could be stopped."""

from dataclasses import dataclass

from tuneapp.analysis.numbers import finite
from tuneapp.stopping import make_rule
from tuneapp.studies import Study, Trial, ranked


@dataclass(frozen=True)
class LearningCurves:
    trials: tuple[Trial, ...]  # that have reported the metric, in the order of asking
    top: tuple[Trial, ...]  # the best of them, the best first
    longest: int  # iterations of the longest trial
    points: int  # of the curve with the most; 1: there is nothing to draw
    rungs: tuple[int, ...]  # iterations that were reached at which a trial may be stopped; none if at any

    def values(self, name: str) -> list[float]:
        """All finite values of the metric, of all trials."""
        return finite(value for trial in self.trials for _, value in trial.curve(name))


def learning_curves(study: Study, top: int = 5) -> LearningCurves:
    name = study.metric.name
    reported = [trial for trial in study.trials if trial.curve(name)]
    longest = max((trial.iterations for trial in reported), default=0)
    return LearningCurves(
        tuple(reported),
        tuple(ranked(study.trials, study.metric)[:top]),
        longest,
        max((len(trial.curve(name)) for trial in reported), default=0),
        tuple(rung for rung in rungs(study) if rung <= longest),
    )


def rungs(study: Study) -> list[int]:
    """Iterations before the limit, or the longest trial's, at which one may be stopped; [] if at any."""
    most = study.request.scheduler.max_iterations or max((t.iterations for t in study.trials), default=0)
    return make_rule(study.request.scheduler).rungs(below=most)
