"""The sum over clients has the same bits however the clients are spread."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from federations import SMALL, brightened_rows, context
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.federated import boards
from tuneapp.federated.clients import batches, draw_orders
from tuneapp.federated.pools import ClientWorker, LocalPool, blocks
from tuneapp.federated.reduction import combine, subtrees, tree_sum
from tuneapp.federated.rounds import set_up

IMAGES = brightened_rows()


@given(st.integers(1, 200), st.data())
def test_subtrees_of_neighbouring_blocks_cover_each_position_once(count, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=5)))
    edges = [0, *cuts, count]
    nodes = [node for block in itertools.pairwise(edges) for node in subtrees(block, (0, count))]
    assert [position for node in nodes for position in range(*node)] == list(range(count))


@given(st.integers(1, 10), st.integers(0, 3))
def test_equal_blocks_of_a_power_of_two_workers_are_one_subtree_each(size, power):
    workers, count = 2**power, size * 2**power
    for worker in range(workers):
        block = (worker * size, (worker + 1) * size)
        assert subtrees(block, (0, count)) == [block]


@given(st.integers(1, 500), st.data())
def test_a_block_is_few_subtrees(count, data):
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    assert len(subtrees((start, stop), (0, count))) <= max(1, 2 * np.ceil(np.log2(count)))


@given(st.integers(1, 60), st.data())
def test_the_sum_has_the_same_bits_for_any_blocks(count, data):
    leaves = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
    whole = tree_sum((0, count), lambda position: leaves[position].copy(), lambda array: None)
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=6)))
    edges = [0, *cuts, count]
    sums = {}
    for block in itertools.pairwise(edges):
        for node in subtrees(block, (0, count)):
            sums[node] = tree_sum(node, lambda position: leaves[position].copy(), lambda array: None)
    assert np.array_equal(combine((0, count), sums), whole)
    np.testing.assert_allclose(whole, leaves.sum(axis=0, dtype=np.float64), atol=1e-4)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 12))
def test_blocks_cover_all_clients_and_none_is_far_above_its_share_of_the_steps(steps, workers):
    cut = blocks(steps, workers)
    assert [position for block in cut for position in range(*block)] == list(range(len(steps)))
    assert 1 <= len(cut) <= workers
    assert all(start < stop for start, stop in cut)
    assert max(sum(steps[start:stop]) for start, stop in cut) <= sum(steps) / workers + max(steps)


def test_equal_clients_are_cut_where_the_tree_is():
    assert blocks([8] * 100, 2) == [(0, 50), (50, 100)]
    assert blocks([8] * 8, 8) == [(client, client + 1) for client in range(8)]
    assert blocks([8] * 3, 8) == [(0, 1), (1, 2), (2, 3)]


def test_a_worker_that_trains_part_of_the_round_gives_the_whole_rounds_bits():
    setup = set_up(SMALL | {"clients": 7, "partition": "quantity"}, context(), IMAGES)
    orders = draw_orders(setup.settings, setup.federation, 0)
    worker = ClientWorker(setup.federation, IMAGES.train_images, IMAGES.train_labels)
    whole = worker.train(setup.state, orders, (0, 7))
    sums, losses = {}, []
    for block in ((0, 2), (2, 3), (3, 7)):
        part = worker.train(setup.state, orders, block)
        sums |= part.sums
        losses.append(part.losses)
    assert np.array_equal(combine((0, 7), sums), whole.sums[0, 7])
    assert np.array_equal(np.concatenate(losses), whole.losses)


def test_a_pool_leaves_what_it_returned_alone():
    setup = set_up(SMALL, context(), IMAGES)
    pool = LocalPool()
    pool.host(setup.federation, IMAGES.train_images, IMAGES.train_labels)
    first = pool.train(setup.state, draw_orders(setup.settings, setup.federation, 0))
    kept = first.total.copy()
    pool.train(setup.state, draw_orders(setup.settings, setup.federation, 1))
    pool.close()
    assert np.array_equal(first.total, kept)


def test_clients_draw_different_batches_in_every_round_and_step():
    setup = set_up(SMALL, context(), IMAGES)
    federation = setup.federation
    drawn = {
        rows.tobytes()
        for number in range(4)
        for client in range(5)
        for rows in batches(federation, draw_orders(setup.settings, federation, number), client, 3)
    }
    assert len(drawn) == 4 * 5 * 3


def test_local_epochs_see_each_example_of_the_client_once_an_epoch():
    setup = set_up(SMALL | {"partition": "iid", "local_epochs": 2}, context(), IMAGES)
    federation = setup.federation
    orders = draw_orders(setup.settings, federation, 0)
    share = federation.shares[1]
    seen = np.concatenate(list(batches(federation, orders, 1, orders.steps[1])))
    assert orders.steps[1] == 2 * -(-len(share) // 4)
    assert np.array_equal(np.sort(seen[: len(share)]), share)
    assert np.array_equal(np.sort(seen[len(share) :]), share)


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_stragglers_batches_are_the_first_of_those_it_would_have_had(epochs):
    setup = set_up(SMALL | {"partition": "iid", "local_epochs": epochs}, context(), IMAGES)
    orders = draw_orders(setup.settings, setup.federation, 0)
    whole = list(batches(setup.federation, orders, 2, orders.steps[2]))
    early = list(batches(setup.federation, orders, 2, 2))
    assert len(early) == 2
    assert all(np.array_equal(a, b) for a, b in zip(early, whole, strict=False))


@pytest.mark.parametrize(("fraction", "size"), [(1.0, 20), (0.5, 10), (0.1, 2), (0.001, 1)])
def test_a_cohort_is_a_fraction_of_the_clients_and_changes_by_the_round(fraction, size):
    setup = set_up(SMALL | {"clients": 20, "fraction": fraction}, context(), IMAGES)
    cohorts = [draw_orders(setup.settings, setup.federation, number).clients for number in range(6)]
    assert all(len(cohort) == size and list(cohort) == sorted(set(cohort)) for cohort in cohorts)
    assert len(set(cohorts)) == 1 if size == 20 else len(set(cohorts)) > 1


def test_dropout_takes_about_its_share_of_clients_and_never_all():
    setup = set_up(SMALL | {"clients": 50, "client_dropout": 0.3}, context(), IMAGES)
    answered = [len(draw_orders(setup.settings, setup.federation, number).clients) for number in range(20)]
    assert 0.6 < np.mean(answered) / 50 < 0.8
    few = set_up(SMALL | {"clients": 2, "client_dropout": 0.99}, context(), IMAGES)
    assert all(draw_orders(few.settings, few.federation, number).clients for number in range(50))


def test_stragglers_do_some_but_not_all_of_their_steps():
    setup = set_up(SMALL | {"clients": 50, "stragglers": 0.4, "local_steps": 9}, context(), IMAGES)
    steps = np.array(draw_orders(setup.settings, setup.federation, 0).steps)
    assert 0.2 < np.mean(steps < 9) < 0.6
    assert steps.min() >= 1


BOARDS = pytest.mark.skipif(not boards.MEMORY.is_dir(), reason="this system has no /dev/shm, and no boards")


@BOARDS
def test_a_board_is_found_by_its_address_until_it_is_forgotten_and_lives_on_nameless():
    board = boards.Board(2, 5, np.float32)
    rows = boards.find(*board.address)
    assert Path(board.path).stat().st_mode & 0o077 == 0
    board.forget()
    board.rows[0] = 3
    rows[2] = 4
    assert rows[0].tolist() == [3] * 5
    assert board.rows[2].tolist() == [4] * 5
    assert not Path(board.path).exists()
    assert boards.find(*board.address) is None


@BOARDS
def test_a_board_that_memory_is_too_short_for_is_refused_and_leaves_nothing(monkeypatch):
    with tempfile.TemporaryDirectory(dir=boards.MEMORY) as folder:
        monkeypatch.setattr(boards, "MEMORY", folder)
        with pytest.raises(OSError, match=r"space|large"):
            boards.Board(2, 2**45, np.float32)
        assert list(Path(folder).iterdir()) == []
