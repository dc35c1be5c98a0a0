"""The hyperparameters of a federation, and how a trial's config is split into them and the model's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tuneapp import models
from tuneapp.errors import lookup, require
from tuneapp.federated.partitions import PARTITIONS, Skew
from tuneapp.federated.strategies import DEFAULT_SERVER_LR, STRATEGIES, ServerSettings

WEIGHTINGS = ("examples", "uniform")
_OPTIONAL = {"server_lr": 1.0, "rounds": 1}  # they may be None; an example of their type otherwise


@dataclass(frozen=True)
class FedConfig:
    """The hyperparameters of a federation; the defaults are those of Qian's study of federated MNIST.

    Raises UsageError for a value out of range, and takes 8.0 for an integer, 1 for a float.
    """

    model: str = "mlp"  # one of MODELS
    clients: int = 8
    partition: str = "shared"  # one of PARTITIONS
    alpha: float = 0.5  # of partitions dirichlet and quantity
    shards: int = 2  # per client, of partition shards
    fraction: float = 1.0  # of the clients, drawn anew each round: the cohort
    rounds: int | None = None  # None: as many as the study allows
    lr: float = 0.1  # of the clients' SGD
    lr_decay: float = 1.0  # multiplies lr after each round
    momentum: float = 0.0  # of the clients' SGD; starts at rest each round
    batch_size: int = 32  # examples
    local_steps: int = 8  # per client and round, on batches drawn with replacement
    local_epochs: int = 0  # passes over the client's examples instead of local_steps; 0: steps count
    strategy: str = "fedavg"  # one of STRATEGIES
    weighting: str = "examples"  # clients count by their examples, or all alike: uniform
    server_lr: float | None = None  # None: 1, and 0.01 for fedadam and fedyogi
    server_momentum: float = 0.9  # of fedavgm; first beta of fedadam and fedyogi
    beta2: float = 0.99  # of fedadam and fedyogi
    tau: float = 1e-3  # of fedadam and fedyogi: their adaptivity
    prox_mu: float = 0.01  # of fedprox
    client_dropout: float = 0.0  # chance that a client of the cohort does not answer
    stragglers: float = 0.0  # chance that a client does only some of its steps

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name not in _OPTIONAL:
                default = _OPTIONAL.get(field.name, field.default)
                object.__setattr__(self, field.name, models.typed(field.name, value, default))
        lookup(self.model, models.MODELS, "model")
        lookup(self.partition, PARTITIONS, "partition")
        lookup(self.strategy, STRATEGIES, "strategy")
        lookup(self.weighting, {name: name for name in WEIGHTINGS}, "weighting")
        Skew(self.alpha, self.shards)
        require(self.clients >= 1, "clients", self.clients, "1 or more")
        require(0 < self.fraction <= 1, "fraction", self.fraction, "above 0 and at most 1")
        require(self.rounds is None or self.rounds >= 1, "rounds", self.rounds, "1 or more")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(0 < self.lr_decay <= 1, "lr_decay", self.lr_decay, "above 0 and at most 1")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more")
        require(self.local_steps >= 1, "local_steps", self.local_steps, "1 or more")
        require(self.local_epochs >= 0, "local_epochs", self.local_epochs, "0 or more")
        require(self.server_lr is None or self.server_lr > 0, "server_lr", self.server_lr, "above 0")
        require(0 <= self.server_momentum < 1, "server_momentum", self.server_momentum, "from 0 to below 1")
        require(0 <= self.beta2 < 1, "beta2", self.beta2, "from 0 to below 1")
        require(self.tau > 0, "tau", self.tau, "above 0")
        require(self.prox_mu >= 0, "prox_mu", self.prox_mu, "0 or more")
        require(0 <= self.client_dropout < 1, "client_dropout", self.client_dropout, "from 0 to below 1")
        require(0 <= self.stragglers <= 1, "stragglers", self.stragglers, "from 0 to 1")

    @property
    def skew(self) -> Skew:
        return Skew(self.alpha, self.shards)

    @property
    def server(self) -> ServerSettings:
        lr = DEFAULT_SERVER_LR.get(self.strategy, 1.0) if self.server_lr is None else self.server_lr
        return ServerSettings(lr, self.server_momentum, self.beta2, self.tau)

    @property
    def proximal_mu(self) -> float:
        """The clients' pull to the state they were sent; only fedprox has one."""
        return self.prox_mu if self.strategy == "fedprox" else 0.0


def split_config(config: Mapping[str, Any]) -> tuple[FedConfig, dict[str, Any]]:
    """(what the federation reads, what the model reads). Raises UnknownName for what neither knows."""
    ours = {field.name for field in fields(FedConfig)}
    settings = FedConfig(**{key: value for key, value in config.items() if key in ours})
    return settings, models.hyperparameters_in(config, settings.model, ours, "the federation")
