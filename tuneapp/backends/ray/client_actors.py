"""Client actors: a federation's clients, spread over Ray.

An actor is a `ClientHost`, which lives outside this folder so that its process imports neither torch (unless
its clients need it) nor Ray Tune. Each trains a block of neighbouring clients a round: the weights go out
once and what comes back is a sum, through shared memory to actors on this machine, through Ray's object
store to others.
"""

import logging
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import ray
from ray.exceptions import OutOfMemoryError, RayActorError

from tuneapp.errors import TuneappError, at_least, first_line
from tuneapp.federated.boards import Board
from tuneapp.federated.client_sgd import Images
from tuneapp.federated.clients import Federation, Orders
from tuneapp.federated.partitions import Labels
from tuneapp.federated.pools import BlockUpdate, ClientHost, Update, blocks
from tuneapp.federated.reduction import Node, combine, subtrees
from tuneapp.federated.strategies import Weights
from tuneapp.settings import Resources

MOST_RESTARTS = 5  # of actors in one round; more is no accident

log = logging.getLogger(__name__)


def bundles(resources: Resources) -> list[dict[str, float]]:
    """A trial's placement group: its own process first, then its client actors.

    They share the trial's CPUs, since its own process waits while they work, and its GPUs with it, since it
    evaluates there.
    """
    if not resources.actors:
        return [{"CPU": resources.cpus, "GPU": resources.gpus}]
    gpus = resources.gpus / (resources.actors + 1)
    actor = {"CPU": resources.cpus / resources.actors, "GPU": gpus}
    return [{"CPU": 0.0, "GPU": gpus}, *[actor] * resources.actors]


@lru_cache(maxsize=1)
def pool_of(resources: Resources) -> "RayPool | None":
    """The client actors of this process's trials, one after the other; None where clients train in it."""
    if not resources.actors:
        return None
    actor = bundles(resources)[1]
    return RayPool(resources.actors, actor["CPU"], actor["GPU"])


class RayPool:
    """As LocalPool, bit for bit. Actors start with the first `host` and stay, for one trial after the other.

    Raises UsageError for fewer than one actor. Ray must be running.
    """

    def __init__(self, actors: int, cpus: float = 1.0, gpus: float = 0.0) -> None:
        """At most `actors` actors, and at most one a client, each with so many CPUs and GPUs of Ray's."""
        at_least("actors", actors, 1)
        self.most_actors = actors
        self.kind: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(ClientHost)
        self.actors: list[Any] = []
        self.data: tuple[Images, Labels] | None = None
        self.on_board: list[bool] | None = None

    def host(self, federation: Federation, images: Images, labels: Labels) -> None:
        if self.data is None or self.data[0] is not images or self.data[1] is not labels:
            self.data = images, labels
            self.data_refs = ray.put(images), ray.put(labels)  # once for all trials of this process
        self.federation_ref = ray.put(federation)
        wanted = min(self.most_actors, len(federation.shares))
        for actor in self.actors[wanted:]:
            ray.kill(actor)
        self.actors = self.actors[:wanted]
        for actor in self.actors:
            self._brief(actor)
        while len(self.actors) < wanted:
            self.actors.append(self._start())
        self.on_board = None

    def train(self, state: Weights, orders: Orders) -> Update:
        """A round. An actor that dies is started anew and its block trained again, to the same bits; raises
        TuneappError where that happens again and again."""
        on_board = self._on_board(state)
        state_ref = None if all(on_board) else ray.put(state)
        if any(on_board):
            np.copyto(self.rows[0], state)
        cut = blocks(orders.steps, len(self.actors))

        def ask(at: int) -> Any:
            if on_board[at]:
                return self.actors[at].train_on_board.remote(orders, cut[at], 1 + at)
            return self.actors[at].train.remote(state_ref, orders, cut[at])

        tasks = [ask(at) for at in range(len(cut))]
        restarts = 0
        updates: list[BlockUpdate] = []
        for at in range(len(cut)):
            while True:
                try:
                    updates.append(ray.get(tasks[at]))
                    break
                except (RayActorError, OutOfMemoryError) as error:
                    restarts += 1
                    reason = first_line(error)[:200]
                    if restarts > MOST_RESTARTS:
                        raise TuneappError(
                            f"Client actors died {restarts} times in round {orders.round + 1} ({reason}); "
                            "use fewer --actors, or a smaller model, where memory is short."
                        ) from error
                    log.warning(
                        "Client actor %d of %d died in round %d and was started anew; the round goes on.",
                        at + 1,
                        len(self.actors),
                        orders.round + 1,
                    )
                    self.actors[at] = self._start()
                    on_board[at] = False  # the board has no name any more
                    state_ref = state_ref or ray.put(state)
                    tasks[at] = ask(at)
        sums: dict[Node, Weights] = {}
        everyone = (0, len(orders.clients))
        for at, update in enumerate(updates):
            left = {} if update.sums else {subtrees(cut[at], everyone)[0]: self.rows[1 + at]}
            sums |= update.sums | left
        losses = [loss for update in updates for loss in update.losses]
        total = combine(everyone, sums)
        # What lies on the board or in Ray's store is not the caller's to keep.
        return Update(total if total.flags.owndata else total.copy(), np.array(losses), restarts)

    def wait(self) -> None:
        """Until all actors are ready."""
        ray.get([actor.ready.remote() for actor in self.actors])

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []

    def _on_board(self, state: Weights) -> list[bool]:
        """Which actors share a board with this process; made and asked once a federation."""
        if self.on_board is None:
            self.on_board = [False] * len(self.actors)
            with suppress(OSError):  # memory is short
                board = Board(len(self.actors), len(state), state.dtype)
                self.rows = board.rows
                try:
                    asked = [actor.share.remote(board.address) for actor in self.actors]
                    for at, answer in enumerate(asked):
                        with suppress(RayActorError, OutOfMemoryError):  # the round finds it, and says so
                            self.on_board[at] = ray.get(answer)
                finally:
                    board.forget()
        return self.on_board

    def _start(self) -> Any:
        actor = self.kind.remote()
        self._brief(actor)
        return actor

    def _brief(self, actor: Any) -> None:
        actor.host.remote(self.federation_ref, *self.data_refs)
