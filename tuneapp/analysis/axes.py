"""A hyperparameter as it is drawn: where a value stands between 0 and 1, and what its ticks say.

Read from the run's own space, widened by the values that the trials really have, so that a run whose space
was edited, or never written down, can still be drawn.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tuneapp.errors import lookup
from tuneapp.settings import Config
from tuneapp.studies import Study

Array = npt.NDArray[np.float64]

MISSING = object()
LOG_FROM = 1000.0  # observed values that span more than this are drawn on a log axis where no domain says


@dataclass(frozen=True)
class Axis:
    """Numbers between low and high, or choices in their order."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False
    choices: tuple[Any, ...] = ()  # empty: numbers
    ordered: bool = False  # whether the order of the choices means something
    when: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def numeric(self) -> bool:
        return not self.choices

    @cached_property
    def _index(self) -> dict[str, int]:
        return {text(choice): index for index, choice in enumerate(self.choices)}

    def place(self, value: Any) -> float:
        """The value as plotted: itself, or the index of its choice; nan where it is absent."""
        if value is MISSING:
            return math.nan
        if self.numeric:
            return float(value) if is_number(value) else math.nan
        return float(self._index.get(text(value), math.nan))

    def unit(self, value: Any) -> float:
        """Between 0 and 1, evenly in the log where the axis is one; nan where the value is absent."""
        place = self.place(value)
        low, high = self.limits
        if math.isnan(place) or high == low:
            return place if math.isnan(place) else 0.5
        if self.log:
            return math.log(place / low) / math.log(high / low)
        return (place - low) / (high - low)

    def at(self, unit: Array) -> Array:
        """The inverse of `unit`, as places: what stands there on the axis."""
        low, high = self.limits
        if self.log:
            return np.asarray(low * (high / low) ** unit)
        return low + unit * (high - low)

    @property
    def limits(self) -> tuple[float, float]:
        return (self.low, self.high) if self.numeric else (0.0, len(self.choices) - 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """(unit position, label), few enough to be read."""
        if not self.numeric:
            last = len(self.choices) - 1
            step = math.ceil(len(self.choices) / 12)
            return [
                (index / last if last else 0.5, text(choice))
                for index, choice in enumerate(self.choices)
                if index % step == 0 or index == last
            ]
        if self.low == self.high:
            return [(0.5, number(self.low))]
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = math.ceil((last - first + 1) / 6)
            inner = [10.0**power for power in range(first, last + 1, max(1, step))]
        else:
            inner = []
        values = [self.low, *[v for v in inner if 0.08 < self.unit(v) < 0.92], self.high]
        if not self.log:
            values = list(np.linspace(self.low, self.high, 5))
        if self.integer:
            values = sorted({round(value) for value in values})
        return [(self.unit(value), number(value)) for value in values]


def axes(study: Study) -> list[Axis]:
    """The searched hyperparameters in the order of the space; those that vary, where there is no space.

    Those of another model than the one that was tuned were active in no trial, and are left out.
    """
    specs = study.request.space.get("hyperparameters", {})
    names = [name for name, spec in specs.items() if _is_searched(spec)]
    names = [name for name in names if not study.trials or _observed(study, name)]
    if not names:
        names = [name for name in _observed_names(study) if len(_observed(study, name)) > 1]
    return [_axis(name, specs.get(name), _observed(study, name)) for name in names]


def axis(study: Study, name: str) -> Axis:
    """One hyperparameter by name, searched or not; raises UnknownName with the nearest."""
    specs = study.request.space.get("hyperparameters", {})
    names = dict.fromkeys([*specs, *_observed_names(study)])
    lookup(name, {known: known for known in names}, "hyperparameter")
    return _axis(name, specs.get(name), _observed(study, name))


def places(axis: Axis, configs: Sequence[Config]) -> Array:
    return np.array([axis.place(config.get(axis.name, MISSING)) for config in configs])


def units(axis: Axis, configs: Sequence[Config]) -> Array:
    return np.array([axis.unit(config.get(axis.name, MISSING)) for config in configs])


def _is_searched(spec: Any) -> bool:
    if not isinstance(spec, Mapping) or "derived" in spec or spec.get("type") in ("derived", "fixed"):
        return False
    return "choices" not in spec or len(spec["choices"]) > 1


def _axis(name: str, spec: Any, observed: list[Any]) -> Axis:
    spec = spec if isinstance(spec, Mapping) and _is_searched(spec) else {}
    when = spec.get("when") or {}
    if "choices" in spec:
        known = {text(choice) for choice in spec["choices"]}
        new = [value for value in observed if text(value) not in known]
        ordered = spec.get("type") == "ordinal"
        return Axis(name, choices=(*spec["choices"], *new), ordered=ordered, when=when)
    if not observed and "low" not in spec:
        return Axis(name, when=when)
    if not all(is_number(value) for value in observed):
        return Axis(name, choices=tuple(observed), when=when)
    ends = [spec[key] for key in ("low", "high") if is_number(spec.get(key))]
    low, high = float(min([*observed, *ends])), float(max([*observed, *ends]))
    log = bool(spec.get("log")) if "low" in spec else low > 0 and high / low >= LOG_FROM
    integer = all(isinstance(value, int) for value in [*observed, *ends])
    return Axis(name, low, high, log and low > 0, integer, when=when)


def _observed_names(study: Study) -> list[str]:
    return list(dict.fromkeys(name for trial in study.trials for name in trial.config))


def _observed(study: Study, name: str) -> list[Any]:
    """The distinct values that the trials have, in order of appearance; no nan and no infinity."""
    values = {text(trial.config[name]): trial.config[name] for trial in study.trials if name in trial.config}
    return [value for value in values.values() if not (isinstance(value, float) and not math.isfinite(value))]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Any) -> str:
    """A value as a reader writes it: numbers short, words without quotes, lists as JSON."""
    if is_number(value):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def number(value: float) -> str:
    """Four significant digits; integers whole."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}"
