"""What each hyperparameter did: tables, words and pictures of a study that ran a plan of cells."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tuneapp.analysis import diagnosis
from tuneapp.analysis.axes import Array, text
from tuneapp.analysis.diagnosis import Difference, Finding, Run, paired
from tuneapp.report.style import SERIES, dress, metric_label, new_figure, norm_for, value_limits, value_map
from tuneapp.report.tables import table as plain_table
from tuneapp.search.plan import Cell, Plan, Table, combinations, groups, plan_of, runs_of, winner
from tuneapp.settings import Config
from tuneapp.settings import config_key as key
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.section import Claim
from tuneapp.studies import Study, Trial, TrialState

LOSSES = (("train_loss", "val_loss"), ("train_accuracy", "val_accuracy"))  # panels as the studies draw them
ASIDE = ("iteration", "time", "lr", "seconds", "examples_per_second", "clients")  # never a panel by itself
COMPARABLE = 4.0  # first losses further apart are no mean over examples both: a federation sums its steps
MOST_LINES = 12  # values in one picture; a table has them all
HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "cannot be told", "not run"


@dataclass(frozen=True)
class Row:
    """One value of a table, over its seeds."""

    label: str
    runs: tuple[Run, ...]  # of trials that are over; a failed one has no curves
    wanted: int  # seeds of the plan
    finals: tuple[float, ...]  # the metric at the end, of the seeds that came through
    bests: tuple[float, ...]  # the best of the metric over the iterations, of the same seeds
    seconds: float | None  # an iteration, median
    stopped: int  # seeds that the scheduler stopped early
    findings: tuple[Finding, ...]

    @property
    def lost(self) -> int:
        return len(self.runs) - len(self.finals)


@dataclass(frozen=True)
class Section:
    """One table of the plan with what came out of it."""

    table: Table
    rows: tuple[Row, ...]
    verdict: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    claim: Claim
    verdict: str  # holds, does not hold, cannot be told, not run
    words: str  # the numbers


class Effects:
    """A study's plan, its trials by cell, and what they say."""

    def __init__(self, study: Study) -> None:
        plan = plan_of(study.request)
        assert plan is not None
        self.study, self.plan, self.metric = study, plan, study.metric
        self.by_config = runs_of(study.trials)

    @cached_property
    def sections(self) -> list[Section]:
        return [self._section(table) for table in self.plan.tables]

    @cached_property
    def scale(self) -> str:
        return f"scaled down: {self.plan.scale}" if self.plan.scale else ""

    def runs(self, config: Config, label: str) -> list[Run]:
        """Of the config's trials that are over, in the order of seeds."""
        trials = self.by_config.get(key(config), {})
        return [_run(trials[seed], label) for seed in sorted(trials) if trials[seed].over]

    def _section(self, table: Table) -> Section:
        runs = {label_of(cell): self.runs(cell.config, label_of(cell)) for cell in table.cells}
        rows = [
            self._row(label_of(cell), cell.config, [run for other in runs.values() for run in other])
            for cell in table.cells
        ]
        missing = [label for label, found in runs.items() if len(found) < len(self.plan.seeds)]
        words = diagnosis.verdict([run for found in runs.values() for run in found], self.metric)
        if missing:
            whole = f"Not all of {len(self.plan.seeds)} seeds are over"
            words = [f"{whole} for {', '.join(missing)}: what follows is preliminary.", *words]
        return Section(table, tuple(rows), tuple(words))

    def _row(self, label: str, config: Config, everything: Sequence[Run]) -> Row:
        runs = self.runs(config, label)
        through = [run for run in runs if run.final(self.metric.name) is not None]
        pick = max if self.metric.mode == "max" else min
        series = [run.series(self.metric.name) for run in through]
        took = [seconds for run in runs for _, seconds in run.curves.get("seconds", ())]
        trials = self.by_config.get(key(config), {}).values()
        others = [run for run in everything if run.value != label]
        return Row(
            label,
            tuple(runs),
            len(self.plan.seeds),
            tuple(run.final(self.metric.name) or 0.0 for run in through),
            tuple(float(pick(values[np.isfinite(values)])) for values in series),
            float(np.median(took)) if took else None,
            sum(trial.state is TrialState.STOPPED for trial in trials),
            tuple(diagnosis.diagnose([run for run in runs if run.curves], self.metric, others)),
        )

    # -- combinations

    @cached_property
    def combined(self) -> list[tuple[str, Config]]:
        """(name, config) of the combinations of single winners and of the study's own."""
        found = list(self.plan.named.items())
        if all(trial.over for trial in self.study.trials):
            space = SearchSpace.from_dict(self.study.request.space)
            made = combinations(self.plan, space, self.study.trials, self.metric)
            found = [("single winners", config) for config in made] + found
        return found

    @cached_property
    def combination_words(self) -> list[str]:
        """What each combination is, whether it was run, and whether it beats the best single change."""
        told = []
        seen: dict[str, str] = {}
        for name, config in self.combined:
            what = _apart(config, self._base_of(config))
            whole = f"The combination '{name}' ({what})"
            single = next((cell for cell in self._cells() if key(cell.config) == key(config)), None)
            if key(config) in seen:
                told.append(f"{whole} is the same config as '{seen[key(config)]}'.")
            elif single is not None:
                told.append(f"The combination '{name}' is {what or 'the base'}: it is in the tables.")
            elif not self.runs(config, name):
                told.append(f"{whole} was not run: nothing is known of it.")
            else:
                told.append(f"{whole}: {self._compared(name, config)}")
            seen.setdefault(key(config), name)
        return [*self._coverage(), *told]

    def _coverage(self) -> list[str]:
        """How many of all combinations of the values were run: the rest is unknown."""
        told = []
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
            told.append(f"Of the {possible} combinations of the values of {varied}, {run} were run.")
        return told

    def _compared(self, name: str, config: Config) -> str:
        base = self._base_of(config)
        mine = [cell for table in self.plan.tables if key(table.base) == key(base) for cell in table.cells]
        best = winner(Table((), tuple(mine), base), self.by_config, self.metric, self.plan.seeds)
        runs = self.runs(config, name)
        ends = [final for run in runs if (final := run.final(self.metric.name)) is not None]
        whole = f"{self.metric.name} {spread(ends)}." if ends else "no seed came through."
        if best is None or not ends:
            return whole
        said = _apart(best.config, base) or "the base"
        gap = paired(
            self._numbers(config, self.metric.name, "final"),
            self._numbers(best.config, self.metric.name, "final"),
            (name, said),
        )
        if gap is None:
            return f"{whole} It shares no seed with the best single change ({said})."
        if not gap.told_apart:
            tail = f"cannot be told from the best single change ({said}): {gap.words}."
        else:
            which = "better" if self.metric.score(gap.mean) > 0 else "worse"
            tail = f"is really {which} than the best single change ({said}), by {gap.words}."
        return f"{whole} It {tail}"

    def _base_of(self, config: Config) -> Config:
        """The base of the plan from which the config differs least."""
        bases = [table.base for table in self.plan.tables]
        return min(bases, key=lambda base: sum(base.get(n) != config.get(n) for n in {*base, *config}))

    def _cells(self) -> list[Cell]:
        return [cell for table in self.plan.tables for cell in table.cells]

    # -- claims

    @cached_property
    def judged(self) -> list[Judged]:
        return [self._judge(claim) for claim in self.plan.claims]

    def _judge(self, claim: Claim) -> Judged:
        pairs = (
            [(a, b) for i, a in enumerate(claim.alike) for b in claim.alike[i + 1 :]]
            if claim.alike
            else [(a, b) for a in claim.more for b in claim.less]
        )
        for config in {key(c): c for pair in pairs for c in pair}.values():
            if key(config) not in self.by_config:
                return Judged(claim, NOT_RUN, f"{self._called(config)} was not run.")
        verdicts, words = [], []
        for a, b in pairs:
            gap = paired(
                self._numbers(a, claim.metric, claim.of),
                self._numbers(b, claim.metric, claim.of),
                (self._called(a), self._called(b)),
            )
            lost = self._lost_to(a, b, claim) if gap is None else None
            if lost is not None:
                verdicts.append(lost[0])
                words.append(lost[1])
            elif gap is None:
                verdicts.append(OPEN)
                words.append(f"{self._called(a)} and {self._called(b)} share no seed that came through")
            else:
                verdicts.append(_holds(gap, claim))
                way = "" if claim.alike or verdicts[-1] != OPEN else f", {_way(gap)}"
                words.append(f"{gap.first} - {gap.second}: {gap.words}{way}")
        whole = FAILS if FAILS in verdicts else OPEN if OPEN in verdicts else HOLDS
        return Judged(claim, whole, "; ".join(words) + ".")

    def _lost_to(self, more: Config, less: Config, claim: Claim) -> tuple[str, str] | None:
        """(verdict, words) where one side diverged with every seed: it has the worse of the metric."""
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
        """seed -> the number of its curve that is compared; of runs that came through."""
        found = {}
        for run in self.runs(config, ""):
            if run.diverged or not run.curves:
                continue
            if metric == "gap":
                train, val = run.series("train_loss"), run.series("val_loss")
                values = val - train if len(train) == len(val) else np.empty(0)
            else:
                values = run.series(metric)
            values = values[np.isfinite(values)]
            if len(values):
                best = values.min() if "loss" in metric or metric == "gap" else values.max()
                found[run.seed] = float({"final": values[-1], "best": best, "mean": values.mean()}[of])
        return found

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


def is_effects(study: Study) -> bool:
    return study.request.search.plan is not None


def label_of(cell: Cell) -> str:
    return " x ".join(text(value) for value in cell.values)


def spread(values: Sequence[float]) -> str:
    """`0.812 ± 0.004 (n = 3)`, the standard deviation of single runs."""
    if not values:
        return "-"
    mean = f"{fmean(values):.4g}"
    return f"{mean} ± {stdev(values):.2g} (n = {len(values)})" if len(values) > 1 else f"{mean} (n = 1)"


def words(study: Study) -> str:
    """For the terminal: every table with its verdict and findings, then combinations and claims."""
    effects = Effects(study)
    blocks = [f"Effects ({effects.scale})" if effects.scale else "Effects"]
    for section in effects.sections:
        head, rows = table_of(effects, section)
        lines = [section.table.title, plain_table(head, rows), *section.verdict]
        lines += [f"  {row.label}: {found}" for row in section.rows for found in findings_of(row)]
        blocks.append("\n".join(lines))
    if effects.combination_words:
        blocks.append("\n".join(effects.combination_words))
    if effects.judged:
        at = f" ({effects.scale})" if effects.scale else ""
        lines = [f"Claims of the study, judged by these runs{at}"]
        lines += [f"  {judged.verdict}: {judged.claim.says}. {judged.words}" for judged in effects.judged]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def table_of(effects: Effects, section: Section) -> tuple[list[str], list[list[str]]]:
    name = effects.metric.name
    head = [section.table.title, f"{name}, last", f"{name}, best", "s an iteration", "lost", "diagnosis"]
    rows = [
        [
            row.label,
            spread(row.finals),
            spread(row.bests),
            "-" if row.seconds is None else f"{row.seconds:.3g}",
            f"{row.lost} of {row.wanted}" if row.lost else "",
            ", ".join([*(found.kind for found in row.findings), *_course(row)]) or "-",
        ]
        for row in section.rows
    ]
    return head, rows


def findings_of(row: Row) -> list[str]:
    """Each finding with the share of seeds that show it."""
    return [
        f"{found.words}{f' ({found.seeds} of {found.of} seeds)' if found.of > 1 else ''}"
        for found in row.findings
    ]


def to_json(study: Study) -> dict[str, Any]:
    """effects.json: all tables, findings, combinations and claims as data."""
    effects = Effects(study)
    return {
        "metric": effects.metric.name,
        "mode": effects.metric.mode,
        "seeds": list(effects.plan.seeds),
        "scale": effects.plan.scale,
        "tables": [
            {
                "vary": list(section.table.vary),
                "verdict": list(section.verdict),
                "values": [
                    {
                        "value": list(cell.values),
                        "last": list(row.finals),
                        "best": list(row.bests),
                        "seconds": row.seconds,
                        "lost": row.lost,
                        "stopped": row.stopped,
                        "findings": [{"kind": found.kind, "words": found.words} for found in row.findings],
                    }
                    for cell, row in zip(section.table.cells, section.rows, strict=True)
                ],
            }
            for section in effects.sections
        ],
        "combinations": list(effects.combination_words),
        "claims": [
            {"says": judged.claim.says, "verdict": judged.verdict, "numbers": judged.words}
            for judged in effects.judged
        ],
    }


# -- pictures


def draw(study: Study, folder: Path) -> dict[str, Path]:
    """One PNG a table: title of the table -> its file."""
    effects = Effects(study)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for position, section in enumerate(effects.sections):
        path = folder / f"effects-{file_name(effects.plan, position)}.png"
        temporary = path.with_name(f".{path.name}")
        figure(effects, section).savefig(temporary, format="png", dpi="figure")
        temporary.replace(path)
        written[path.stem.removeprefix("effects-")] = path
    return written


def file_name(plan: Plan, position: int) -> str:
    """The slug of a table, numbered where an earlier one has the same."""
    slugs = [table.slug for table in plan.tables]
    before = slugs[:position].count(slugs[position])
    return slugs[position] + (f"-{before + 1}" if before else "")


def figure(effects: Effects, section: Section) -> Figure:
    """Curves of a hyperparameter varied alone, a map of two varied together."""
    return curves(effects, section) if len(section.table.vary) == 1 else grid(effects, section)


def curves(effects: Effects, section: Section) -> Figure:
    """Training and validation loss and accuracy over iterations, a line a value: mean, and ± sd as a band."""
    names = _panels(section)
    columns = max(map(len, names), default=1)
    drawing = new_figure(9.0, 1.0 + 2.9 * max(1, len(names)))
    found = drawing.subplots(max(1, len(names)), columns, squeeze=False)
    labels: dict[str, Any] = {}
    for line, across in zip(found, names or [[]], strict=True):
        for position, axes in enumerate(line):
            if position < len(across):
                labels |= _panel(axes, section, across[position])
            else:
                axes.set_axis_off()
        _scale(line[: len(across)], across[0].split("_")[-1] if across else "")
    if not labels:
        found[0][0].text(0.05, 0.5, "No run of this table has reported yet.", transform=found[0][0].transAxes)
    title = f"{section.table.title}: mean{_over(section)}"
    note = f"{effects.study.request.task}" + (f", {effects.scale}" if effects.scale else "")
    drawing.suptitle(f"{title}\n{note}", fontsize=11, x=0.01, ha="left")
    if labels:
        drawing.legend(labels.values(), labels, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return drawing


def grid(effects: Effects, section: Section) -> Figure:
    """Two hyperparameters: each cell's mean ± sd of the last value, and the cells that were not run."""
    values = [list(dict.fromkeys(text(cell.values[i]) for cell in section.table.cells)) for i in (0, 1)]
    means = np.full((len(values[0]), len(values[1])), np.nan)
    words: dict[tuple[int, int], str] = {}
    for cell, row in zip(section.table.cells, section.rows, strict=True):
        at = values[0].index(text(cell.values[0])), values[1].index(text(cell.values[1]))
        means[at] = fmean(row.finals) if row.finals else np.nan
        lost = f"\n{row.lost} lost" if row.lost else ""
        sd = f"\n± {stdev(row.finals):.2g}" if len(row.finals) > 1 else ""
        words[at] = (f"{means[at]:.3g}{sd}" if row.finals else "" if row.runs else "not run") + lost
    drawing = new_figure(2.5 + 1.2 * len(values[1]), 1.9 + 0.75 * len(values[0]))
    axes = drawing.add_subplot()
    finite = [float(value) for value in means.ravel() if math.isfinite(value)]
    norm = norm_for(finite)
    picture = axes.imshow(means, cmap=value_map(effects.study), norm=norm, aspect="auto")
    for (i, j), said in words.items():
        dark = math.isfinite(means[i, j]) and _dark(picture, means[i, j])
        axes.text(j, i, said, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    axes.set_yticks(range(len(values[0])), values[0])
    axes.set_xticks(range(len(values[1])), values[1])
    axes.set_ylabel(section.table.vary[0])
    axes.set_xlabel(section.table.vary[1])
    note = f"{effects.study.request.task}" + (f"\n{effects.scale}" if effects.scale else "")
    axes.set_title(
        f"{effects.metric.name}, last value, mean ± sd\n{note}", loc="left", fontsize=10, wrap=True
    )
    return drawing


def write_json(study: Study, path: Path) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(to_json(study), indent=2), encoding="utf-8")
    temporary.replace(path)


# -- helpers


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


def _course(row: Row) -> list[str]:
    told = []
    if not row.runs:
        told.append("not run")
    failed = sum(not run.curves for run in row.runs)
    if failed:
        told.append(f"{failed} failed")
    if row.stopped:
        told.append(f"{row.stopped} stopped early")
    return told


def _panels(section: Section) -> list[list[str]]:
    """Rows of panels: losses above accuracies where there are some, else every metric that was reported."""
    reported = {name for row in section.rows for run in row.runs for name in run.curves}
    rows = [[name for name in pair if name in reported] for pair in LOSSES]
    rows = [row for row in rows if row]
    if rows:
        return rows
    others = sorted(reported - set(ASIDE))[:4]
    return [others[i : i + 2] for i in range(0, len(others), 2)]


def _panel(axes: Axes, section: Section, name: str) -> dict[str, Any]:
    """One metric; returns label -> handle of the lines drawn."""
    dress(axes)
    handles: dict[str, Any] = {}
    for position, row in enumerate(section.rows[:MOST_LINES]):
        colour = SERIES[position % len(SERIES)]
        style = ("-", "--", ":")[position // len(SERIES) % 3]
        x, mean, sd = mean_curve([run.curves.get(name, ()) for run in row.runs])
        if not len(x):
            continue
        marker = "o" if len(x) == 1 else None
        (line,) = axes.plot(x, mean, linestyle=style, color=colour, linewidth=1.6, marker=marker)
        if np.nanmax(sd, initial=0.0) > 0:
            axes.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.16, linewidth=0)
        handles[f"{section.table.vary[0]} {row.label}" + (f", {row.lost} lost" if row.lost else "")] = line
    axes.set_title(metric_label(name), loc="left", fontsize=10)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return handles


def mean_curve(curves: Sequence[Sequence[tuple[int, float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(iterations, mean, sd) over seeds where all seeds that got so far have a finite value; sd is 0 for one.

    The curve ends where the first seed does, so that a mean is never over fewer seeds than before.
    """
    by_seed = [{i: v for i, v in curve if math.isfinite(v)} for curve in curves if curve]
    common = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    if not common:
        empty = np.empty(0)
        return empty, empty, empty
    values = np.array([[seed[i] for seed in by_seed] for i in common], dtype=float)
    sd = values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.zeros(len(common))
    return np.array(common, dtype=float), values.mean(axis=1), sd


def _scale(panels: Sequence[Axes], kind: str) -> None:
    """Training and validation on one scale, so that the gap between them is seen; what is far off is cut."""
    drawn = [axes for axes in panels if axes.lines]
    firsts = [
        float(np.median([np.asarray(line.get_ydata(), float)[0] for line in one.lines])) for one in drawn
    ]
    together = len(drawn) > 1 and min(firsts) > 0 and max(firsts) / min(firsts) <= COMPARABLE
    for group in [drawn] if together else [[axes] for axes in drawn]:
        values = np.concatenate([_values(axes) for axes in group])
        low, high = float(values.min()), float(values.max())
        if kind == "loss":  # one batch norm that has not settled, or one spike, flattens all the rest
            tops = [np.nanmax(np.asarray(line.get_ydata(), float)) for axes in group for line in axes.lines]
            high = min(high, max(value_limits(values.tolist())[1], float(np.median(tops))))
        room = 0.06 * (high - low) or 0.1
        for axes in group:
            axes.set_ylim(low - room, high + room)


def _values(axes: Axes) -> Array:
    """Of all lines, one after the other."""
    return np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])


def _over(section: Section) -> str:
    counts = {len(row.runs) for row in section.rows if row.runs}
    if not counts or counts == {1}:
        return " (one seed: no band)" if counts else ""
    seeds = str(max(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return f" ± sd over {seeds} seeds"


def _dark(picture: Any, value: float) -> bool:
    red, green, blue, _ = picture.cmap(picture.norm(value))
    return bool(0.3 * red + 0.59 * green + 0.11 * blue < 0.5)
