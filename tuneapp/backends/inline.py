"""A study of one trial, without Ray Tune: there is nothing to stop, and no second process to wait for.

Ray itself is imported once client actors are wanted.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tuneapp.backends.record import Record, Watcher, close, search_of
from tuneapp.backends.runner import Runner
from tuneapp.federated.client_sgd import Images
from tuneapp.federated.clients import Federation, Orders
from tuneapp.federated.partitions import Labels
from tuneapp.federated.pools import ClientPool, LocalPool, Update
from tuneapp.federated.strategies import Weights
from tuneapp.settings import Request, Resources
from tuneapp.studies import RunDirectory, Study


def run(run_directory: RunDirectory, watchers: list[Watcher], eager: bool) -> Study:
    """Run the only trial of a new study; its record is what `engine.run` would write, which can resume it.

    With `eager` its client actors are there from the first round on, else from when they pay. Ctrl-C ends it
    between two rounds; the study is then not closed.
    """
    study = run_directory.read()
    record = Record(run_directory, study, search_of(study), watchers)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    with run_directory.lock(), _pool(study.request, eager) as pool:
        trial = record.ask()
        assert trial is not None
        runner = Runner(study.request, run_directory.path, pool=pool, captures=False)
        runner.begin(trial.number, trial.config, trial.seed)
        record.start(trial)
        try:
            while not trial.over:
                record.take(trial, runner.step(), worker)
                record.watch()
        except KeyboardInterrupt:
            return study
        finally:
            runner.close()
        close(run_directory, study)
    return study


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
