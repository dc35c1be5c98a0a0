"""All numbers about one study, each computed once: the page and the plots draw the same ones."""

from functools import cached_property

from tuneapp.analysis import axes as axes_
from tuneapp.analysis import curves, importance, pareto, progress, repeats, timeline
from tuneapp.analysis.axes import Axis
from tuneapp.analysis.effects.judge import Effects
from tuneapp.analysis.landscape import Dependence, Landscape, Map
from tuneapp.analysis.scale import Scale
from tuneapp.settings import Metric
from tuneapp.studies import Study, Trial, TrialState, ranked

DEPENDENCES = 4  # the most important hyperparameters, one at a time
MAPPED = 5  # the most important hyperparameters, two at a time: ten pairs


class Analysis:
    """The study must not change meanwhile: a running one is analysed as it was read."""

    def __init__(self, study: Study) -> None:
        self.study = study

    @cached_property
    def ranked(self) -> list[Trial]:
        """The succeeded trials with a result, the incumbent first, those that lost where stopped last."""
        return ranked(self.study.trials, self.study.metric)

    @cached_property
    def best(self) -> Trial | None:
        return self.study.best

    @cached_property
    def with_value(self) -> list[Trial]:
        """Trials that are not lost and have reported: running ones with their value so far."""
        lost = (TrialState.DIVERGED, TrialState.FAILED)
        return [
            trial
            for trial in self.study.trials
            if trial.state not in lost and self.study.value(trial) is not None
        ]

    @cached_property
    def scored(self) -> list[Trial]:
        """The succeeded trials with a result, in the order of asking."""
        return sorted(self.ranked, key=lambda trial: trial.number)

    @cached_property
    def scale(self) -> Scale:
        """On which results are drawn."""
        return Scale.of((self.study.value(trial) for trial in self.with_value), self.study.metric.mode)

    @cached_property
    def progress(self) -> progress.Progress:
        return progress.progress(self.study)

    @cached_property
    def curves(self) -> curves.LearningCurves:
        return curves.learning_curves(self.study)

    @cached_property
    def curve_scale(self) -> Scale:
        """On which whole learning curves are drawn: first iterations may lie far from the results."""
        return Scale.of(self.curves.values(self.study.metric.name), self.study.metric.mode)

    @cached_property
    def timeline(self) -> timeline.Timeline:
        return timeline.timeline(self.study)

    @cached_property
    def fronts(self) -> list[pareto.Front]:
        """For each metric that the study trades off against its own."""
        return [pareto.front(self.study, second) for second in self.study.request.also]

    def front(self, second: Metric) -> pareto.Front:
        computed = next((front for front in self.fronts if front.second == second), None)
        return computed or pareto.front(self.study, second)

    @cached_property
    def axes(self) -> list[Axis]:
        """The searched hyperparameters."""
        return axes_.axes(self.study)

    @cached_property
    def sample(self) -> importance.Sample:
        return importance.sample_of(self.study, self.scale)

    @cached_property
    def importances(self) -> importance.Importances | None:
        """None where the trials are too few or all alike; `sample.why_not` says which."""
        return importance.importances(self.sample) if self.sample.enough else None

    @cached_property
    def most_important(self) -> list[int]:
        """Columns of the sample, the most important first; [] where there are no importances."""
        column = {axis.name: i for i, axis in enumerate(self.sample.axes)}
        return [column[item.name] for item in self.importances.items] if self.importances else []

    @cached_property
    def landscape(self) -> Landscape:
        """The sample must be `enough`."""
        return Landscape(self.sample, self.study.metric.mode)

    def dependence(self, column: int) -> Dependence:
        if column not in self._dependences:
            self._dependences[column] = self.landscape.dependence(column)
        return self._dependences[column]

    def map(self, first: int, second: int) -> Map:
        """Of two columns of the sample: the first across, the second up."""
        if (first, second) not in self._maps:
            self._maps[first, second] = self.landscape.map(first, second)
        return self._maps[first, second]

    @cached_property
    def _dependences(self) -> dict[int, Dependence]:
        return {}

    @cached_property
    def _maps(self) -> dict[tuple[int, int], Map]:
        return {}

    @property
    def dependences(self) -> list[Dependence]:
        """Of the most important hyperparameters, each alone."""
        return [self.dependence(column) for column in self.most_important[:DEPENDENCES]]

    @property
    def maps(self) -> dict[tuple[int, int], Map]:
        """Of the pairs of the most important hyperparameters, by columns of the sample in rising order."""
        mapped = self.most_important[:MAPPED]
        return {(a, b): self.map(a, b) for a in sorted(mapped) for b in sorted(mapped) if a < b}

    @cached_property
    def repeats(self) -> list[repeats.RepeatedConfig]:
        return repeats.repeated_configs(self.study)

    @cached_property
    def effects(self) -> Effects | None:
        """None where the study ran no plan."""
        return Effects(self.study) if self.study.request.search.plan is not None else None
