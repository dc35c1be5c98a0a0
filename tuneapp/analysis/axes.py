"""A hyperparameter as it is drawn: where a value stands between 0 and 1, and what its ticks say.

Read from the run's own space, widened by the values that the trials really have, so that a run whose space
was edited, or never written down, can still be drawn. Everything is drawn by positions between 0 and 1, so
that ranges of any size can be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tuneapp.analysis.numbers import Array, as_float, is_number, number, text
from tuneapp.errors import lookup
from tuneapp.settings import Config
from tuneapp.studies import Study

MISSING = object()
LOG_FROM = 1000.0  # observed values that span more than this are drawn on a log axis where no domain says
TICKS = 5  # of a linear axis, its ends aside


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

    def unit(self, value: Any) -> float:
        """Between 0 and 1, evenly in the log where the axis is one; nan where the value is absent."""
        if value is MISSING:
            return math.nan
        if not self.numeric:
            place = float(self._index.get(text(value), math.nan))
            return place / (len(self.choices) - 1) if len(self.choices) > 1 else place + 0.5
        if not is_number(value) or math.isnan(place := as_float(value)):
            return math.nan
        if self.high == self.low:
            return 0.5
        if self.log:
            if place <= 0:
                return math.nan
            return (math.log(place) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        # Halves, as the whole range may be beyond the largest float.
        whole = self.high / 2 - self.low / 2
        return (place / 2 - self.low / 2) / whole if whole else 0.5

    def at(self, unit: float) -> float:
        """The number that stands at a position: the inverse of `unit`. For axes of numbers."""
        if self.log:
            root = math.exp(math.log(self.low) / 2 * (1 - unit) + math.log(self.high) / 2 * unit)
            return min(self.high, root * root)
        return self.low * (1 - unit) + self.high * unit

    def grid(self, steps: int) -> Array:
        """Positions to evaluate: so many, evenly, on numbers; each choice once."""
        if self.numeric:
            return np.linspace(0.0, 1.0, steps)
        return np.array([self.unit(choice) for choice in self.choices])

    def ticks(self) -> list[tuple[float, str]]:
        """(position, label), few enough to be read; the ends are among them."""
        if not self.numeric:
            last = len(self.choices) - 1
            step = math.ceil(len(self.choices) / 12)
            return [
                (self.unit(choice), text(choice))
                for index, choice in enumerate(self.choices)
                if index % step == 0 or index == last
            ]
        if self.low == self.high:
            return [(0.5, number(self.low))]
        inner = [value for value in self._round_values() if 0.08 < self.unit(value) < 0.92]
        values = [self.low, *inner, self.high]
        if self.integer:
            values = sorted({round(value) for value in values})
        return [(self.unit(value), number(value)) for value in values]

    def _round_values(self) -> list[float]:
        """Powers of ten, or multiples of 1, 2 or 5 of one."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / 6))
            return [float(f"1e{power}") for power in range(first, last + 1, every)]
        rough = (self.high / TICKS) - (self.low / TICKS)
        power = float(f"1e{math.floor(math.log10(rough))}") if math.isfinite(rough) and rough > 0 else 0.0
        step = next((power * times for times in (1, 2, 5, 10) if power * times >= rough), 0.0)
        if not step or not math.isfinite(step) or abs(self.low / step) > 1e9:
            return [self.at(0.25), self.at(0.5), self.at(0.75)]
        first = math.ceil(self.low / step)
        return [step * (first + k) for k in range(math.floor(self.high / step) - first + 1)]


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
    lookup(name, {each: each for each in names}, "hyperparameter")
    return _axis(name, specs.get(name), _observed(study, name))


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
        listed = {text(choice) for choice in spec["choices"]}
        new = [value for value in observed if text(value) not in listed]
        ordered = spec.get("type") == "ordinal"
        return Axis(name, choices=(*spec["choices"], *new), ordered=ordered, when=when)
    if not observed and "low" not in spec:
        return Axis(name, when=when)
    if not all(is_number(value) for value in observed):
        return Axis(name, choices=tuple(observed), when=when)
    ends = [spec[key] for key in ("low", "high") if is_number(spec.get(key))]
    low, high = as_float(min([*observed, *ends])), as_float(max([*observed, *ends]))
    log = bool(spec.get("log")) if "low" in spec else low > 0 and high / LOG_FROM >= low
    integer = all(isinstance(value, int) for value in [*observed, *ends])
    return Axis(name, low, high, log and low > 0, integer, when=when)


def _observed_names(study: Study) -> list[str]:
    return list(dict.fromkeys(name for trial in study.trials for name in trial.config))


def _observed(study: Study, name: str) -> list[Any]:
    """The distinct values that the trials have, in order of appearance; no nan and no infinity."""
    values = {text(trial.config[name]): trial.config[name] for trial in study.trials if name in trial.config}
    return [value for value in values.values() if not (isinstance(value, float) and not math.isfinite(value))]
