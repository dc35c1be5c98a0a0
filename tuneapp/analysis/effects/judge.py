"""What each hyperparameter did: a study that ran a plan of cells, judged table by table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tuneapp.analysis import diagnosis
from tuneapp.analysis.diagnosis import Difference, Finding, Run, paired
from tuneapp.analysis.numbers import Array, deviation, finite, mean, median, text
from tuneapp.analysis.repeats import spread
from tuneapp.search.plan import Cell, Table, combinations, groups, plan_of, runs_of, winner
from tuneapp.settings import Config
from tuneapp.settings import config_key as key
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.section import Claim
from tuneapp.studies import Study, Trial, TrialState

HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "undecided", "not run"


@dataclass(frozen=True)
class Row:
    """One value of a table, over its seeds."""

    label: str
    runs: tuple[Run, ...]  # of trials that are over; a failed one has no curves
    wanted: int  # seeds of the plan
    finals: tuple[float, ...]  # the metric at the end, of the seeds that did not diverge or fail
    bests: tuple[float, ...]  # the best of the metric over the iterations, of the same seeds
    seconds: float | None  # per iteration, median
    stopped: int  # seeds that the scheduler stopped early
    findings: tuple[Finding, ...]

    @property
    def lost(self) -> int:
        return len(self.runs) - len(self.finals)


@dataclass(frozen=True)
class EffectTable:
    """One table of the plan with what came out of it."""

    table: Table
    rows: tuple[Row, ...]
    verdict: tuple[str, ...]


@dataclass(frozen=True)
class JudgedClaim:
    claim: Claim
    verdict: str  # holds, does not hold, undecided, not run
    numbers: str  # a sentence


class Effects:
    """A study's plan, its trials by cell, and what they say."""

    def __init__(self, study: Study) -> None:
        plan = plan_of(study.request)
        assert plan is not None
        self.study, self.plan, self.metric = study, plan, study.metric
        self.by_config = runs_of(study.trials)

    @cached_property
    def tables(self) -> list[EffectTable]:
        return [self._table(table) for table in self.plan.tables]

    @cached_property
    def scale(self) -> str:
        return f"scaled down: {self.plan.scale}" if self.plan.scale else ""

    def runs(self, config: Config, label: str) -> list[Run]:
        """Of the config's trials that are over, in the order of seeds."""
        trials = self.by_config.get(key(config), {})
        return [_run(trials[seed], label) for seed in sorted(trials) if trials[seed].over]

    def _table(self, table: Table) -> EffectTable:
        runs = {label_of(cell): self.runs(cell.config, label_of(cell)) for cell in table.cells}
        rows = [
            self._row(label_of(cell), cell.config, [run for other in runs.values() for run in other])
            for cell in table.cells
        ]
        missing = [label for label, ended in runs.items() if len(ended) < len(self.plan.seeds)]
        verdict = diagnosis.verdict([run for ended in runs.values() for run in ended], self.metric)
        if missing:
            whole = f"Not all of {len(self.plan.seeds)} seeds are over"
            verdict = [f"{whole} for {', '.join(missing)}: what follows is preliminary.", *verdict]
        return EffectTable(table, tuple(rows), tuple(verdict))

    def _row(self, label: str, config: Config, everything: Sequence[Run]) -> Row:
        runs = self.runs(config, label)
        through = [run for run in runs if run.final(self.metric.name) is not None]
        pick = max if self.metric.mode == "max" else min
        series = [run.series(self.metric.name) for run in through]
        took = finite(seconds for run in runs for _, seconds in run.curves.get("iteration_seconds", ()))
        trials = self.by_config.get(key(config), {}).values()
        others = [run for run in everything if run.value != label]
        return Row(
            label,
            tuple(runs),
            len(self.plan.seeds),
            tuple(run.final(self.metric.name) or 0.0 for run in through),
            tuple(float(pick(values[np.isfinite(values)])) for values in series),
            median(took) if took else None,
            sum(trial.state is TrialState.STOPPED for trial in trials),
            tuple(diagnosis.diagnose([run for run in runs if run.curves], self.metric, others)),
        )

    # -- combinations

    @cached_property
    def combined(self) -> list[tuple[str, Config]]:
        """(name, config) of the combinations of single winners and of the study's own."""
        named = list(self.plan.named.items())
        if all(trial.over for trial in self.study.trials):
            space = SearchSpace.from_dict(self.study.request.space)
            made = combinations(self.plan, space, self.study.trials, self.metric)
            named = [("single winners", config) for config in made] + named
        return named

    @cached_property
    def combination_sentences(self) -> list[str]:
        """What each combination is, whether it was run, and whether it beats the best single change."""
        sentences = []
        seen: dict[str, str] = {}
        for name, config in self.combined:
            what = _apart(config, self._base_of(config))
            whole = f"The combination '{name}' ({what})"
            single = next((cell for cell in self._cells() if key(cell.config) == key(config)), None)
            if key(config) in seen:
                sentences.append(f"{whole} is the same config as '{seen[key(config)]}'.")
            elif single is not None:
                sentences.append(f"The combination '{name}' is {what or 'the base'}: it is in the tables.")
            elif not self.runs(config, name):
                sentences.append(f"{whole} was not run, so nothing can be said about it.")
            else:
                sentences.append(f"{whole}: {self._compared(name, config)}")
            seen.setdefault(key(config), name)
        return [*self._coverage(), *sentences]

    def _coverage(self) -> list[str]:
        """How many of all combinations of the values were run: the rest is unknown."""
        sentences = []
        specs = self.study.request.space.get("hyperparameters", {})
        follows = {name for name, spec in specs.items() if isinstance(spec, dict) and "derived" in spec}
        for tables in groups(self.plan):
            possible = math.prod(len(table.cells) for table in tables)
            names = {name for table in tables for name in table.vary} | follows
            fixed = {name: value for name, value in tables[0].base.items() if name not in names}
            run = sum(
                all(trial.config.get(name) == value for name, value in fixed.items())
                for trial in {k: next(iter(seeds.values())) for k, seeds in self.by_config.items()}.values()
            )
            varied = ", ".join(table.title for table in tables)
            sentences.append(f"Of the {possible} combinations of the values of {varied}, {run} were run.")
        return sentences

    def _compared(self, name: str, config: Config) -> str:
        base = self._base_of(config)
        mine = [cell for table in self.plan.tables if key(table.base) == key(base) for cell in table.cells]
        best = winner(Table((), tuple(mine), base), self.by_config, self.metric, self.plan.seeds)
        runs = self.runs(config, name)
        ends = [final for run in runs if (final := run.final(self.metric.name)) is not None]
        whole = f"{self.metric.name} {spread(ends)}." if ends else "no seed has a result."
        if best is None or not ends:
            return whole
        change = _apart(best.config, base) or "the base"
        gap = paired(
            self._numbers(config, self.metric.name, "final"),
            self._numbers(best.config, self.metric.name, "final"),
            (name, change),
        )
        if gap is None:
            return f"{whole} It shares no seed with the best single change ({change})."
        if not gap.significant:
            tail = f"does not differ significantly from the best single change ({change}): {gap}."
        else:
            which = "better" if self.metric.score(gap.mean) > 0 else "worse"
            tail = f"is significantly {which} than the best single change ({change}), by {gap}."
        return f"{whole} It {tail}"

    def _base_of(self, config: Config) -> Config:
        """The base of the plan from which the config differs least."""
        bases = [table.base for table in self.plan.tables]
        return min(bases, key=lambda base: sum(base.get(n) != config.get(n) for n in {*base, *config}))

    def _cells(self) -> list[Cell]:
        return [cell for table in self.plan.tables for cell in table.cells]

    # -- claims

    @cached_property
    def judged(self) -> list[JudgedClaim]:
        return [self._judge(claim) for claim in self.plan.claims]

    def _judge(self, claim: Claim) -> JudgedClaim:
        pairs = (
            [(a, b) for i, a in enumerate(claim.alike) for b in claim.alike[i + 1 :]]
            if claim.alike
            else [(a, b) for a in claim.more for b in claim.less]
        )
        for config in {key(c): c for pair in pairs for c in pair}.values():
            if key(config) not in self.by_config:
                return JudgedClaim(claim, NOT_RUN, f"{self._called(config)} was not run.")
        verdicts, sentences = [], []
        for a, b in pairs:
            gap = paired(
                self._numbers(a, claim.metric, claim.of),
                self._numbers(b, claim.metric, claim.of),
                (self._called(a), self._called(b)),
            )
            lost = self._lost_to(a, b, claim) if gap is None else None
            if lost is not None:
                verdicts.append(lost[0])
                sentences.append(lost[1])
            elif gap is None:
                verdicts.append(OPEN)
                sentences.append(f"{self._called(a)} and {self._called(b)} share no seed with results")
            else:
                verdicts.append(_holds(gap, claim))
                way = "" if claim.alike or verdicts[-1] != OPEN else f", {_way(gap)}"
                sentences.append(f"{gap.first} - {gap.second}: {gap}{way}")
        whole = FAILS if FAILS in verdicts else OPEN if OPEN in verdicts else HOLDS
        return JudgedClaim(claim, whole, "; ".join(sentences) + ".")

    def _lost_to(self, more: Config, less: Config, claim: Claim) -> tuple[str, str] | None:
        """(verdict, sentence) where one side diverged with every seed: it has the worse of the metric."""
        if claim.alike or claim.metric != self.metric.name:
            return None
        better, worse = (more, less) if self.metric.mode == "max" else (less, more)
        diverged = {
            key(config): bool(runs := self.runs(config, "")) and all(run.diverged for run in runs)
            for config in (better, worse)
        }
        if diverged[key(better)] == diverged[key(worse)]:
            return None
        lost = better if diverged[key(better)] else worse
        return (FAILS if lost is better else HOLDS), f"{self._called(lost)} diverged with every seed"

    def _numbers(self, config: Config, metric: str, of: str) -> dict[int, float]:
        """seed -> the number of its curve that is compared; of runs that did not diverge or fail."""
        numbers = {}
        for run in self.runs(config, ""):
            if run.diverged or not run.curves:
                continue
            if metric == "gap":
                train, val = run.series("train_loss"), run.series("val_loss")
                values = _difference(val, train) if len(train) == len(val) else np.empty(0)
            else:
                values = run.series(metric)
            values = values[np.isfinite(values)]
            if len(values):
                best = values.min() if "loss" in metric or metric == "gap" else values.max()
                choices = {"final": values[-1], "best": best, "mean": mean(values.tolist())}
                numbers[run.seed] = float(choices[of])
        return numbers

    def _called(self, config: Config) -> str:
        for name, combination in self.plan.named.items():
            if key(combination) == key(config):
                return name
        base = self.plan.tables[0].base
        if key(config) == key(base) and len({key(table.base) for table in self.plan.tables}) == 1:
            return "base"
        for table in self.plan.tables:
            for cell in table.cells:
                if key(cell.config) == key(config):
                    return f"{'/'.join(table.vary)} {label_of(cell)}"
        return _apart(config, base) or "base"


def label_of(cell: Cell) -> str:
    return " x ".join(text(value) for value in cell.values)


def mean_curve(curves: Sequence[Sequence[tuple[int, float]]]) -> tuple[Array, Array, Array]:
    """(iterations, mean, sd) over seeds where all seeds that got so far have a finite value; sd is 0 for one.

    The curve ends where the first seed does, so that a mean is never over fewer seeds than before it.
    """
    by_seed = [{i: v for i, v in curve if math.isfinite(v)} for curve in curves if curve]
    common = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    if not common:
        empty = np.empty(0)
        return empty, empty, empty
    values = [[float(seed[i]) for seed in by_seed] for i in common]
    sd = [deviation(each) if len(each) > 1 else 0.0 for each in values]
    return np.array(common, dtype=float), np.array([mean(each) for each in values]), np.array(sd)


def _run(trial: Trial, label: str) -> Run:
    names = dict.fromkeys(name for each in trial.history for name in each.metrics)
    curves = {} if trial.state is TrialState.FAILED else {name: trial.curve(name) for name in names}
    return Run(label, trial.seed, curves, diverged=trial.state is TrialState.DIVERGED)


def _holds(gap: Difference, claim: Claim) -> str:
    if gap.n < 2:
        return OPEN
    if claim.alike:
        if -claim.within < gap.low and gap.high < claim.within:
            return HOLDS
        return FAILS if gap.low > claim.within or gap.high < -claim.within else OPEN
    return HOLDS if gap.low > 0 else FAILS if gap.high < 0 else OPEN


def _way(gap: Difference) -> str:
    """Where the mean points, for what it is worth."""
    if gap.mean == 0:
        return "which points nowhere"
    return "which points the claimed way" if gap.mean > 0 else "which points the other way"


def _apart(config: Config, base: Config) -> str:
    names = [name for name in {**base, **config} if base.get(name) != config.get(name)]
    return ", ".join(f"{name} {text(config[name])}" if name in config else f"no {name}" for name in names)


def _difference(first: Array, second: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return first - second
