"""Federated training on an image set: `fed-mnist`."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneapp.objective import Context
from tuneapp.settings import Config, Metric, Metrics, Request
from tuneapp.spaces.files import SpaceFile, load
from tuneapp.tasks.base import Runnable, Target, Task
from tuneapp.tasks.images import data_options, refuse_unknown

PREFIX = "fed-"  # before the image set's name
SPACE = "fed"  # the shipped one


class FederatedTask(Task):
    """The name is the image set's, after PREFIX."""

    noun = "a federation"
    OPTIONS = ("data_dir", "eval_every", "val_examples", "per_client")
    METRIC = Metric("val_accuracy")
    METRICS = (
        "val_accuracy",
        "val_loss",
        "train_loss",
        "client_updates_per_second",
        "clients_answered",
        "actor_restarts",
        "iteration_seconds",
    )
    PER_CLIENT = ("client_accuracy_mean", "client_accuracy_worst_tenth")  # where the option is set
    MOST_GPUS = 1
    UNIT = "rounds"
    has_test_set = True

    @classmethod
    def takes(cls, target: Target) -> bool:
        return isinstance(target, str) and target.startswith(PREFIX)

    @classmethod
    def find(cls, target: Target, file: SpaceFile | None, data_dir: Path | None) -> "FederatedTask":
        name = str(target)
        refuse_unknown(name.removeprefix(PREFIX), data_dir)
        origin = "" if file is not None else "shipped for federations"
        return cls(name, data_options(data_dir), file or load(SPACE), origin)

    def metric_names(self, options: dict[str, Any]) -> tuple[str, ...]:
        return (*self.METRICS, *(self.PER_CLIENT if options.get("per_client") else ()))

    @property
    def max_iterations(self) -> int | None:
        from tuneapp.federated.rounds import ROUNDS

        return ROUNDS

    def build(self, request: Request) -> Runnable:
        return _built(self.name.removeprefix(PREFIX), request.search.seed, **request.options)


@lru_cache(maxsize=4)
def _built(
    name: str,
    seed: int,
    data_dir: str | None = None,
    val_examples: int | None = None,
    eval_every: int = 1,
    per_client: bool = False,
) -> Runnable:
    """Validation and partition are drawn with `seed`. The rest: see federated.rounds."""
    from tuneapp import data
    from tuneapp.federated import rounds as federated

    images = data.load(name, None if data_dir is None else Path(data_dir))
    val = federated.VAL_EXAMPLES if val_examples is None else val_examples

    def objective(config: Config, context: Context) -> Iterator[Metrics]:
        return federated.rounds(
            config,
            context,
            images,
            context.pool,
            val_examples=val,
            eval_every=eval_every,
            per_client=per_client,
            split_seed=seed,
        )

    def conclude(config: Config, context: Context, folder: Path) -> Metrics:
        federated.export(config, context, images, folder)
        federated.plot_clients(config, images, folder / "clients.png", val_examples=val, split_seed=seed)
        return federated.evaluate(config, context, images)

    def check(config: Config) -> None:
        federated.check(config, images, val_examples=val)

    facts = {"data": {"name": images.name, "checksum": images.checksum, "source": images.source}}
    return Runnable(objective, conclude, check, facts=facts)
