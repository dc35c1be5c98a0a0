"""A search space as arrays: many points of the unit cube at once, snapped to the configs they stand for."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tuneapp.search.base import Array
from tuneapp.settings import Config
from tuneapp.spaces import Categorical, Fixed, Searched, SearchSpace

CELLS = 1024  # of the table by which a domain is snapped
FINE = 128  # values; a domain of more counts as continuous until its config is made


class Cube:
    """The unit cube [0, 1]^D of a space, and the columns by which the model sees its points.

    Numbers and ordinals have one column. A categorical has one for each choice, since any order would be
    false (one in all where there are two), with choices at distance 1 as the ends of other columns are.
    What is inactive under its condition stands at 0.5, or at no choice: the columns of what it depends on
    tell that it is. Hyperparameters with sampling "random" have no column.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.names = space.searched
        domains = [space.hyperparameters[name] for name in self.names]
        self.domains = [domain for domain in domains if isinstance(domain, Searched)]
        middles = (np.arange(CELLS) + 0.5) / CELLS
        self._values = [
            [domain.value(u) for u in middles] if (domain.cardinality or np.inf) <= FINE else None
            for domain in self.domains
        ]
        self._centres = [
            None if values is None else np.array([domain.unit(value) for value in values])
            for domain, values in zip(self.domains, self._values, strict=True)
        ]

    @property
    def D(self) -> int:  # noqa: N802
        return len(self.names)

    @cached_property
    def steps(self) -> Array:
        """[D] distances between neighbouring values, 0 where they are a continuum."""
        return np.array(
            [0.0 if centres is None else 1 / len(np.unique(centres)) for centres in self._centres]
        )

    @cached_property
    def unordered(self) -> NDArray[np.bool_]:
        """[D]: which are categorical."""
        return np.array([isinstance(domain, Categorical) for domain in self.domains])

    def snap(self, points: Array) -> Array:
        """[M, D]: each coordinate moved to the centre of its value's cell."""
        snapped = np.clip(points, 0.0, 1.0)
        cells = _cells(snapped)
        for column, centres in enumerate(self._centres):
            if centres is not None:
                snapped[:, column] = centres[cells[:, column]]
        return snapped

    def columns(self, points: Array, observed: Array) -> Array:
        """[M, F] of snapped points, as the model sees them; coordinates of what is inactive may be nan.

        observed: the points that the model is fitted to, [N, D]. Of a categorical of more than FINE choices
        only those that some of them have get a column: 10,000 columns would take minutes and gigabytes.
        """
        active = self.active(points)
        columns = []
        for position, domain in enumerate(self.domains):
            if domain.sampling == "random":
                continue
            u, on = points[:, position], active[:, position]
            if not isinstance(domain, Categorical):
                columns.append(np.where(on, u, 0.5)[:, None])
            elif domain.cardinality == 2:
                columns.append(np.where(on, u > 0.5, 0.5)[:, None])
            else:
                number = len(domain.choices)
                choices = np.arange(number)
                if number > FINE:
                    choices = np.unique((np.nan_to_num(observed[:, position]) * number).astype(int))
                chosen = np.where(on, u, 0.0) * number
                one_hot = (chosen[:, None].astype(int) == choices) & on[:, None]
                columns.append(one_hot / np.sqrt(2))
        return np.hstack(columns) if columns else np.zeros((len(points), 1))

    def active(self, points: Array) -> NDArray[np.bool_]:
        """[M, D]: which hyperparameters the config at each point has."""
        cells = _cells(np.nan_to_num(points))
        active: dict[str, NDArray[np.bool_]] = {}
        for name, domain in self.space.ordered.items():
            active[name] = np.ones(len(points), dtype=bool)
            for parent, wanted in (domain.when or {}).items():
                active[name] &= active[parent] & self._listed(parent, tuple(wanted), cells)
        return (
            np.column_stack([active[name] for name in self.names])
            if self.names
            else np.ones((len(points), 0), bool)
        )

    def encode(self, configs: list[Config]) -> Array:
        """[M, D], nan where inactive."""
        return np.array([self.space.encode(config) for config in configs]).reshape(-1, self.D)

    def _listed(self, parent: str, wanted: tuple[object, ...], cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        domain = self.space.hyperparameters[parent]
        if isinstance(domain, Fixed):
            return np.full(len(cells), domain.value in wanted)
        column = self.names.index(parent)
        values = self._values[column]
        if values is None:  # a parent so fine that it has no table
            values = [self.domains[column].value((cell + 0.5) / CELLS) for cell in range(CELLS)]
            self._values[column] = values
        return np.array([value in wanted for value in values])[cells[:, column]]


def _cells(points: Array) -> NDArray[np.int64]:
    return np.minimum((points * CELLS).astype(np.int64), CELLS - 1)
