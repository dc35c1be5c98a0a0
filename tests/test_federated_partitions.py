import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.errors import UnknownName, UsageError
from tuneapp.federated.partitions import PARTITIONS, Skew, partition

DEALT = sorted(set(PARTITIONS) - {"shared"})


def labels_of(num_examples: int, num_classes: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, num_classes, num_examples)


@pytest.mark.parametrize("kind", DEALT)
@given(data=st.data())
def test_every_example_goes_to_exactly_one_client_and_every_client_has_one(kind, data):
    clients = data.draw(st.integers(1, 30))
    num_examples = data.draw(st.integers(2 * clients, 2 * clients + 200))
    labels = labels_of(num_examples, data.draw(st.integers(1, 12)), seed=data.draw(st.integers(0, 99)))
    alpha = data.draw(st.sampled_from([1e-3, 0.1, 1.0, 100.0]))
    shares = partition(labels, clients, data.draw(st.integers(0, 9)), kind, Skew(alpha=alpha, shards=2))
    assert len(shares) == clients
    assert min(len(share) for share in shares) >= 1
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(num_examples))


@pytest.mark.parametrize("kind", sorted(PARTITIONS))
def test_a_partition_is_decided_by_its_seed(kind):
    labels = labels_of(500, 10, seed=0)
    first, again, other = (partition(labels, 7, seed, kind) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert kind == "shared" or any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_shared_gives_everyone_the_whole_training_set():
    for share in partition(labels_of(50, 3, seed=0), 4, 0, "shared"):
        assert np.array_equal(share, np.arange(50))


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
@given(clients=st.integers(1, 20), num_examples=st.integers(20, 300))
def test_shares_are_of_equal_size_to_one_example(kind, clients, num_examples):
    sizes = [len(share) for share in partition(labels_of(num_examples, 5, seed=1), clients, 0, kind)]
    assert max(sizes) - min(sizes) <= 1


def test_two_shards_a_client_hold_at_most_a_few_classes():
    labels = np.repeat(np.arange(10), 100)
    shares = partition(labels, 50, 0, "shards", Skew(shards=2))
    # Shards of 10 never cross a class of 100: two shards are two classes at most.
    assert max(len(np.unique(labels[share])) for share in shares) <= 2


def _mean_classes(alpha: float) -> float:
    labels = np.repeat(np.arange(10), 200)
    shares = partition(labels, 20, 0, "dirichlet", Skew(alpha=alpha))
    return float(np.mean([len(np.unique(labels[share])) for share in shares]))


def test_a_small_alpha_gives_few_classes_and_a_large_one_gives_all():
    assert _mean_classes(1e-3) < 2
    assert _mean_classes(1000.0) > 9  # the last clients take what is left


def test_quantity_skew_makes_sizes_unequal_as_alpha_falls():
    def spread(alpha):
        return np.std(
            [len(s) for s in partition(labels_of(2000, 10, 0), 20, 0, "quantity", Skew(alpha=alpha))]
        )

    assert spread(0.1) > 3 * spread(100.0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_must_be_above_zero(alpha):
    with pytest.raises(UsageError, match="`alpha` must be above 0"):
        Skew(alpha=alpha)


def test_more_clients_than_examples_are_refused_with_both_numbers():
    with pytest.raises(UsageError, match="11 clients and 10 training examples"):
        partition(labels_of(10, 2, 0), 11, 0)


def test_more_shards_than_examples_are_refused():
    with pytest.raises(UsageError, match="12 shards"):
        partition(labels_of(10, 2, 0), 6, 0, "shards", Skew(shards=2))


def test_an_unknown_partition_suggests_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'dirichlet'"):
        partition(labels_of(10, 2, 0), 2, 0, "dirichelt")
