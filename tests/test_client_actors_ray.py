"""Client actors: the same bits as in one process, and rounds that outlive an actor."""

import os
import signal

import numpy as np
import pytest
from federations import SMALL, brightened_rows, context

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

IMAGES = brightened_rows()
CONFIG = SMALL | {
    "clients": 9,
    "partition": "quantity",
    "fraction": 0.8,
    "client_dropout": 0.1,
    "stragglers": 0.3,
    "momentum": 0.5,
    "strategy": "fedadam",
}
TIMED = ("iteration_seconds", "client_updates_per_second", "actor_restarts")


def make_pool(actors):
    from tuneapp.backends.ray.client_actors import RayPool

    return RayPool(actors, cpus=0.1)


def history_and_weights(folder, pool, config=CONFIG):
    from tuneapp.federated import server_checkpoint
    from tuneapp.federated.rounds import rounds

    folder.mkdir()
    history = [
        {key: value for key, value in metrics.items() if key not in TIMED}
        for metrics in rounds(config, context(4, folder=folder), IMAGES, pool)
    ]
    return history, server_checkpoint.read(folder).state


def test_any_number_of_actors_gives_the_bits_of_one_process(tmp_path):
    history, weights = history_and_weights(tmp_path / "here", None)
    for actors in (1, 2, 8):
        pool = make_pool(actors)
        try:
            other_history, other_weights = history_and_weights(tmp_path / str(actors), pool)
        finally:
            pool.close()
        assert other_history == history
        assert np.array_equal(other_weights, weights)


def test_actors_are_reused_by_the_next_federation_and_are_at_most_one_a_client(tmp_path):
    pool = make_pool(4)
    try:
        history_and_weights(tmp_path / "first", pool, SMALL | {"clients": 6})
        first = list(pool.actors)
        _, weights = history_and_weights(tmp_path / "second", pool, SMALL | {"clients": 3, "lr": 0.2})
        assert pool.actors == first[:3]
        assert np.array_equal(
            weights, history_and_weights(tmp_path / "here", None, SMALL | {"clients": 3, "lr": 0.2})[1]
        )
    finally:
        pool.close()


def test_a_round_outlives_an_actor_that_is_killed_and_says_so(tmp_path, caplog):
    import ray

    from tuneapp.federated.rounds import rounds

    _, weights = history_and_weights(tmp_path / "whole", None)
    from tuneapp.federated import server_checkpoint

    pool = make_pool(2)
    try:
        (folder := tmp_path / "killed").mkdir()
        going = rounds(CONFIG, context(4, folder=folder), IMAGES, pool)
        next(going)
        pid = ray.get(pool.actors[1].__ray_call__.remote(lambda host: os.getpid()))
        # In mid-round: the actor is at work on a call that the round's own call waits behind.
        pool.actors[1].__ray_call__.remote(lambda host: signal.pause())
        os.kill(pid, signal.SIGKILL)
        restarts = [metrics["actor_restarts"] for metrics in going]
    finally:
        pool.close()
    assert sum(restarts) == 1
    assert "actor 2 of 2 died in round 2 and was started anew; the round goes on" in caplog.text
    assert np.array_equal(server_checkpoint.read(folder).state, weights)


def test_actors_that_die_again_and_again_end_the_federation_with_what_to_do():
    from tuneapp.errors import TuneappError
    from tuneapp.federated.rounds import rounds

    pool = make_pool(1)
    start = pool._start

    def start_doomed():
        actor = start()
        actor.__ray_call__.remote(lambda host: os._exit(1))
        return actor

    pool._start = start_doomed
    try:
        with pytest.raises(TuneappError, match="use fewer --actors"):
            list(rounds(SMALL, context(2), IMAGES, pool))
    finally:
        pool.close()


def test_a_pool_of_no_actor_is_refused():
    from tuneapp.errors import UsageError

    with pytest.raises(UsageError, match="`actors` must be at least 1"):
        make_pool(0)
