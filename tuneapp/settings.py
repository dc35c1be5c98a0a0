"""What a study is asked to do, as plain data: frozen in run.json, sent to workers, read back by resume."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from tuneapp.errors import UsageError, at_least, lookup

Config = dict[str, Any]  # hyperparameter -> value; inactive conditional hyperparameters are absent
Metrics = dict[str, float]  # one iteration's numbers

ALGORITHMS = ("bayes", "random", "grid", "points", "cells")
WARMUP_DESIGNS = ("sobol", "random")
STOPPING = ("asha", "hyperband", "median", "none")


@dataclass(frozen=True)
class Metric:
    """The number that steers, and whether more of it is better."""

    name: str
    mode: Literal["max", "min"] = "max"
    at: Literal["last", "best"] = "last"  # the iteration that counts of a trial's

    def __post_init__(self) -> None:
        if self.mode not in ("max", "min"):
            raise UsageError(f"A metric's mode must be max or min, but got '{self.mode}' for '{self.name}'.")
        if self.at not in ("last", "best"):
            raise UsageError(f"A metric counts at last or best, but got '{self.at}' for '{self.name}'.")

    def score(self, value: float) -> float:
        """Higher is better, whatever the mode."""
        return value if self.mode == "max" else -value


@dataclass(frozen=True)
class SearchSettings:
    algorithm: str = "bayes"  # one of ALGORITHMS
    samples: int = 30  # trials in all, warm-up included
    warmup: int | None = None  # random trials first; None: a third of the samples, 10 at most
    repeats: int = 1  # seeds a config is run with
    seed: int = 0  # of every draw, splits and first weights included
    warmup_design: str = "sobol"  # one of WARMUP_DESIGNS
    deterministic: bool = (
        True  # the same proposals whatever the timing; False: each knows all results there are
    )
    lag: int | None = (
        None  # trials just before, whose results a proposal may not know; None: those in flight - 1
    )
    plan: dict[str, Any] | None = None  # of the search `cells`: effects.Plan as plain data

    def __post_init__(self) -> None:
        lookup(self.algorithm, {name: name for name in ALGORITHMS}, "search algorithm")
        lookup(self.warmup_design, {name: name for name in WARMUP_DESIGNS}, "warm-up design")
        at_least("samples", self.samples, 1)
        at_least("repeats", self.repeats, 1)
        at_least("seed", self.seed, 0)
        if self.warmup is not None:
            at_least("warmup", self.warmup, 0)
        if self.lag is not None:
            at_least("lag", self.lag, 0)

    @property
    def warmup_trials(self) -> int:
        chosen = min(10, math.ceil(self.samples / 3)) if self.warmup is None else self.warmup
        return min(chosen, self.samples)


@dataclass(frozen=True)
class SchedulerSettings:
    type: str = "asha"  # one of STOPPING
    max_iterations: int | None = None  # epochs or rounds of a trial that is never stopped; None: no limit
    grace: int | None = None  # iterations before the first cut; None: a tenth of max_iterations, or 1
    reduction: int = 3  # one in so many goes on at each rung

    def __post_init__(self) -> None:
        lookup(self.type, {name: name for name in STOPPING}, "scheduler")
        if self.max_iterations is not None:
            at_least("max_iterations", self.max_iterations, 1)
        at_least("reduction", self.reduction, 2)
        if self.grace is not None:
            at_least("grace", self.grace, 1)

    @property
    def grace_iterations(self) -> int:
        if self.max_iterations is None:
            return self.grace or 1
        chosen = math.ceil(self.max_iterations / 10) if self.grace is None else self.grace
        return max(1, min(chosen, self.max_iterations))


@dataclass(frozen=True)
class Resources:
    cpus: float = 1.0  # of one trial; torch gets as many threads
    gpus: float = 0.0  # of one trial; a fraction shares a device
    concurrent: int | None = None  # trials at once; None: as many as fit
    address: str | None = None  # of a Ray cluster; None: this machine alone
    trial_timeout: float | None = None  # seconds that a trial may take; None: as long as it likes
    actors: int = 0  # client actors of a federated trial, which share its CPUs and GPUs; 0: in its process

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cpus) and self.cpus > 0):
            raise UsageError(f"A trial's cpus must be above 0, but got {self.cpus}.")
        if not (math.isfinite(self.gpus) and self.gpus >= 0):
            raise UsageError(f"A trial's gpus must be 0 or more, but got {self.gpus}.")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise UsageError(f"A trial's gpus must be a fraction or a whole number, but got {self.gpus}.")
        if self.concurrent is not None:
            at_least("concurrent", self.concurrent, 1)
        if self.trial_timeout is not None and not (
            math.isfinite(self.trial_timeout) and self.trial_timeout > 0
        ):
            raise UsageError(f"`trial_timeout` must be above 0 seconds, but got {self.trial_timeout}.")
        at_least("actors", self.actors, 0)


@dataclass(frozen=True)
class Request:
    """Everything that decides what a study does. `from_json(to_json(r)) == r`."""

    task: str  # a built-in name, or package.module:function
    space: dict[str, Any]  # {"hyperparameters": …, "points": …} as in a search-space file
    metric: Metric  # that steers
    also: tuple[Metric, ...] = ()  # others, traded off against it
    options: dict[str, Any] = field(default_factory=dict)  # the task's own: data_dir, examples, precision …
    search: SearchSettings = SearchSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    resources: Resources = Resources()

    def __post_init__(self) -> None:
        names = [metric.name for metric in (self.metric, *self.also)]
        if len(names) > 2:
            raise UsageError(f"A study trades off two metrics at most, but got {', '.join(names)}.")
        if len(set(names)) < len(names):
            raise UsageError(f"The two metrics of a study must differ, but both are '{names[0]}'.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Request":
        """Unknown keys of a newer version are left out."""
        return cls(
            task=data["task"],
            space=data["space"],
            options=data.get("options", {}),
            metric=_known(Metric, data["metric"]),
            also=tuple(_known(Metric, each) for each in data.get("also", ())),
            search=_known(SearchSettings, data["search"]),
            scheduler=_known(SchedulerSettings, data["scheduler"]),
            resources=_known(Resources, data["resources"]),
        )


def config_key(config: Config) -> str:
    """Equal for equal configs, before and after a journey through JSON; 1 and 1.0 are equal."""
    plain = {
        # A whole number beyond the largest float stays one.
        name: float(value) if type(value) is int and abs(value) < 2**1023 else value
        for name, value in config.items()
    }
    return json.dumps(plain, sort_keys=True)


def _known(kind: Any, data: dict[str, Any]) -> Any:
    names = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in data.items() if key in names})
