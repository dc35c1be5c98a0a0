"""Runs a study of one trial in this process: there is nothing to stop, and no second process to wait for.

Ray itself is imported once client actors are wanted.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tuneapp.backends.base import Session
from tuneapp.backends.runner import Runner
from tuneapp.federated.client_sgd import Images
from tuneapp.federated.clients import Federation, Orders
from tuneapp.federated.partitions import Labels
from tuneapp.federated.pools import ClientPool, LocalPool, Update
from tuneapp.federated.strategies import Weights
from tuneapp.settings import Request, Resources


def drive(session: Session) -> None:
    """Run the only trial; the record is what another backend would write, which can resume it.

    With `session.how.eager` its client actors are there from the first round on, else from when they pay.
    Ctrl-C ends it between two rounds.
    """
    request = session.study.request
    worker = f"{socket.gethostname()}:{os.getpid()}"
    with _pool(request, session.how.eager) as pool:
        session.plan(1)
        trial = session.next()
        assert trial is not None
        runner = Runner(request, session.run.path, pool=pool, shared=False)
        runner.begin(trial.number, trial.config, trial.seed)
        session.start(trial)
        try:
            while session.take(trial, runner.step(), worker):
                session.tick()
            session.tick()
        finally:
            runner.close()


@contextmanager
def _pool(request: Request, eager: bool) -> Iterator[ClientPool | None]:
    resources = request.resources
    if not resources.actors:
        yield None
    elif eager:
        from tuneapp.backends.ray import client_actors, cluster

        with cluster.connected(resources):
            pool = client_actors.pool_of(resources)
            assert pool is not None
            yield pool
            pool.close()
    else:
        relay = RelayPool(resources, request.scheduler.max_iterations or 1)
        try:
            yield relay
        finally:
            relay.close()


class RelayPool:
    """Begins in this process, and hands over to client actors where they pay: to the same bits.

    Starting Ray and its actors takes seconds, in which a small federation is over. They are started, beside
    the rounds, once what is left would take this process more than WORTH seconds.
    """

    WORTH = 10.0

    def __init__(self, resources: Resources, rounds: int) -> None:
        self.resources = resources
        self.rounds = rounds
        self.here = LocalPool()
        self.there: ClientPool | None = None  # from when its actors are ready
        self.starter: Thread | None = None
        self.over = Event()

    def host(self, federation: Federation, images: Images, labels: Labels) -> None:
        self.hosted = federation, images, labels
        self.here.host(federation, images, labels)

    def train(self, state: Weights, orders: Orders) -> Update:
        if self.there is not None:
            return self.there.train(state, orders)
        began = time.perf_counter()
        update = self.here.train(state, orders)
        left = (self.rounds - orders.round - 1) * (time.perf_counter() - began)
        if self.starter is None and left > self.WORTH and min(self.resources.actors, len(orders.clients)) > 1:
            self.starter = Thread(target=self._start, daemon=True)
            self.starter.start()
        return update

    def close(self) -> None:
        self.over.set()
        if self.starter is not None:
            self.starter.join()

    def _start(self) -> None:
        """Holds Ray open until the pool is closed."""
        from tuneapp.backends.ray import client_actors, cluster

        with cluster.connected(self.resources):
            pool = client_actors.pool_of(self.resources)
            assert pool is not None
            pool.host(*self.hosted)
            pool.wait()
            self.there = pool
            self.over.wait()
            pool.close()
