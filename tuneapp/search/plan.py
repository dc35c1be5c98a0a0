"""Which configs a study of effects runs: tables of one or two hyperparameters around a base.

A cell is a config; every cell is run once with each seed of the plan. Plans are plain data, kept in
`SearchSettings.plan`, so that a resumed run and its report know what was meant.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np

from tuneapp.errors import UsageError
from tuneapp.search.repeats import bounded
from tuneapp.settings import Config, Metric, Request
from tuneapp.settings import config_key as key
from tuneapp.spaces import Fixed, SearchSpace
from tuneapp.spaces.section import SIDES, Claim, TableRequest
from tuneapp.studies import Trial

COUNT = 3  # values of a numeric domain, where none are given
MOST_TRIALS = 10_000


@dataclass(frozen=True)
class Cell:
    """One config of a table, known there by the values of what is varied."""

    values: tuple[Any, ...]  # in the order of Table.vary
    config: Config  # complete


@dataclass(frozen=True)
class Table:
    """One hyperparameter varied alone, or two together."""

    vary: tuple[str, ...]
    cells: tuple[Cell, ...]
    base: Config  # complete; all but what is varied is as here

    @property
    def title(self) -> str:
        return " x ".join(self.vary)

    @property
    def slug(self) -> str:
        """For the names of files and anchors."""
        return "-x-".join(self.vary)


@dataclass(frozen=True)
class Plan:
    tables: tuple[Table, ...]
    seeds: tuple[int, ...]
    combine: bool = False  # also run the combination of the single winners
    named: dict[str, Config] = field(default_factory=dict)  # further combinations, by their names
    claims: tuple[Claim, ...] = ()
    scale: str = ""  # what was made smaller than the study's own, in words

    @property
    def configs(self) -> list[Config]:
        """Every cell and named combination once, in the order of running."""
        configs = {key(cell.config): cell.config for table in self.tables for cell in table.cells}
        configs |= {key(config): config for config in self.named.values() if key(config) not in configs}
        return list(configs.values())

    @property
    def most_trials(self) -> int:
        """With all combinations that `combine` may add."""
        return len(self.seeds) * (len(self.configs) + (len(groups(self)) if self.combine else 0))

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        tables = tuple(
            Table(
                tuple(table["vary"]),
                tuple(Cell(tuple(cell["values"]), cell["config"]) for cell in table["cells"]),
                table["base"],
            )
            for table in data["tables"]
        )
        claims = tuple(_claim_from_json(claim) for claim in data.get("claims", []))
        return cls(
            tables,
            tuple(data["seeds"]),
            data.get("combine", False),
            data.get("named", {}),
            claims,
            data.get("scale", ""),
        )


def _claim_from_json(data: Mapping[str, Any]) -> Claim:
    sides = {side: tuple(data.get(side, ())) for side in SIDES}
    return Claim(**{**data, **sides})


def plan_of(request: Request) -> Plan | None:
    """The request's plan, where it is a study of effects."""
    return None if request.search.plan is None else Plan.from_json(request.search.plan)


def runs_of(trials: Iterable[Trial]) -> dict[str, dict[int, Trial]]:
    """key of a config -> seed -> its trial; of two with the same seed the later counts."""
    runs: dict[str, dict[int, Trial]] = {}
    for trial in trials:
        runs.setdefault(key(trial.config), {})[trial.seed] = trial
    return runs


def winner(
    table: Table, runs: Mapping[str, Mapping[int, Trial]], metric: Metric, seeds: Sequence[int]
) -> Cell | None:
    """The cell with the best mean of the metric's last value over all seeds; the earlier at a tie.

    A cell one of whose seeds diverged, failed or was not run is left out: it is not to be recommended.
    """
    best: tuple[float, Cell] | None = None
    for cell in table.cells:
        trials = runs.get(key(cell.config), {})
        values = [
            value
            for seed in seeds
            if seed in trials and trials[seed].succeeded and (value := trials[seed].value(metric)) is not None
        ]
        if len(values) == len(seeds):
            score = metric.score(fmean(map(bounded, values)))  # a mean of two of 1e308 would overflow
            if best is None or score > best[0]:
                best = (score, cell)
    return None if best is None else best[1]


def combinations(plan: Plan, space: SearchSpace, trials: Sequence[Trial], metric: Metric) -> list[Config]:
    """The single winners put together, one config for each base that two or more tables share."""
    runs = runs_of(trials)
    combined = []
    for tables in groups(plan):
        winners = [winner(table, runs, metric, plan.seeds) for table in tables]
        if all(cell is not None for cell in winners):
            chosen = {
                table.vary[0]: cell.values[0]
                for table, cell in zip(tables, winners, strict=True)
                if cell is not None
            }
            combined.append(_complete(space, chosen, tables[0].base))
    return combined


def groups(plan: Plan) -> list[list[Table]]:
    """Tables of one hyperparameter that share a base, where there are several."""
    groups: dict[str, list[Table]] = {}
    for table in plan.tables:
        if len(table.vary) == 1:
            groups.setdefault(key(table.base), []).append(table)
    return [tables for tables in groups.values() if len(tables) > 1]


# -- from what was asked to a plan


def make_plan(
    space: SearchSpace,
    asked: Sequence[TableRequest],
    *,
    seeds: Sequence[int],
    combine: bool = False,
    named: Mapping[str, Config] | None = None,
    claims: Sequence[Mapping[str, Any]] = (),
    scale: str = "",
) -> tuple[Plan, SearchSpace]:
    """The plan, and the space narrowed to what it varies.

    The base is the space's first point, its gaps filled with the middle of each domain. Values given may lie
    outside their domain. Raises UsageError for names that are not there, for fewer than two values, for a
    hyperparameter that is inactive in its base.
    """
    if not asked:
        raise UsageError(
            "`tuneapp effects` needs at least one hyperparameter to vary, as in `tuneapp effects digits lr`."
        )
    values = [{name: _values(space, table, name) for name in _checked(space, table)} for table in asked]
    middle = np.full(len(space.searched), 0.5)
    base = space.complete(space.points[0] if space.points else {}, middle)
    wide = space
    for name in dict.fromkeys(name for table in values for name in table):
        union = [value for table in values for value in table.get(name, [])]
        union += [config[name] for config in _mentions(named, claims) if name in config]
        union += [table.base[name] for table in asked if name in table.base]
        wide = wide.replace(name, _choices([*union, *([base[name]] if name in base else [])]))
    bases = [_complete(wide, table.base, base) for table in asked]
    tables = tuple(
        Table(
            table.vary,
            tuple(
                Cell(
                    tuple(one[name] for name in table.vary),
                    _complete(wide, {**table.base, **one}, around),
                )
                for one in _grid(wide, table.vary, listed)
            ),
            around,
        )
        for table, listed, around in zip(asked, values, bases, strict=True)
    )
    together = {name: _complete(wide, config, base) for name, config in (named or {}).items()}
    read = tuple(_claim(claim, wide, base, together) for claim in claims)
    plan = Plan(tables, tuple(seeds), combine, together, read, scale)
    if plan.most_trials > MOST_TRIALS:
        raise UsageError(
            f"A plan must have at most {MOST_TRIALS:,} trials, but this has {plan.most_trials:,}."
        )
    return plan, _narrowed(wide, [*plan.configs, *bases])


def _checked(space: SearchSpace, table: TableRequest) -> tuple[str, ...]:
    if not 1 <= len(set(table.vary)) == len(table.vary) <= 2:
        raise UsageError(
            f"One or two different hyperparameters must be varied at a time, not {' x '.join(table.vary)}."
        )
    for name in table.vary:
        if name not in space.hyperparameters:
            space.replace(name, 0)  # raises the space's own error, with the nearest name
    return table.vary


def _values(space: SearchSpace, table: TableRequest, name: str) -> list[Any]:
    domain = space.hyperparameters[name]
    values = table.values.get(name)
    if values is None:
        listed = getattr(domain, "values", None)
        if listed is None:
            raise UsageError(f"`{name}` has one value in this space; give more, as in --values {name}=1,2,3.")
        values = listed(COUNT)
    if len({json.dumps(value) for value in values}) < max(2, len(values)):
        raise UsageError(f"`{name}` must have two or more different values, but got {values}.")
    return list(values)


def _choices(union: Sequence[Any]) -> dict[str, Any]:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in union)
    distinct = list(dict.fromkeys(union))
    return {
        "type": "ordinal" if numbers else "categorical",
        "choices": sorted(distinct) if numbers else distinct,
    }


def _grid(space: SearchSpace, vary: Sequence[str], values: Mapping[str, list[Any]]) -> list[Config]:
    read = [[space.hyperparameters[name].check(name, value) for value in values[name]] for name in vary]
    return [dict(zip(vary, combination, strict=True)) for combination in product(*read)]


def _complete(space: SearchSpace, changes: Mapping[str, Any], base: Config) -> Config:
    """The base with some values changed; what follows from them, conditions and derived ones, follows."""
    point = np.nan_to_num(space.encode({n: v for n, v in base.items() if n in space.searched}), nan=0.5)
    return space.complete(dict(changes), point)


def _mentions(named: Mapping[str, Config] | None, claims: Sequence[Mapping[str, Any]]) -> list[Config]:
    sides = [side for claim in claims for kind in SIDES for side in claim.get(kind, [])]
    return [*(named or {}).values(), *(side for side in sides if isinstance(side, dict))]


def _claim(data: Mapping[str, Any], space: SearchSpace, base: Config, named: Mapping[str, Config]) -> Claim:
    """The claim with its configs complete: each side lists changes to the base, or names of combinations."""
    sides: dict[str, tuple[Config, ...]] = {}
    for kind in SIDES:
        configs = []
        for side in data.get(kind, []):
            if isinstance(side, str) and side not in named:
                raise UsageError(
                    f"A claim names the combination '{side}', but there is {', '.join(named) or 'none'}."
                )
            configs.append(named[side] if isinstance(side, str) else _complete(space, side, base))
        sides[kind] = tuple(configs)
    return Claim(**{**data, **sides})


def _narrowed(space: SearchSpace, configs: Sequence[Config]) -> SearchSpace:
    """What is the same in all configs is fixed."""
    fixed = {}
    for name in space.searched:
        values = {json.dumps(config[name]): config[name] for config in configs if name in config}
        if len(values) == 1:
            domain = space.hyperparameters[name]
            fixed[name] = Fixed(domain.pin(next(iter(values.values()))), when=domain.when)
    return SearchSpace({**space.hyperparameters, **fixed})
