import math

import numpy as np
import pytest
from federations import SMALL, brightened_rows, context
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneapp.errors import TuneappError, UnknownName, UsageError
from tuneapp.federated import server_checkpoint
from tuneapp.federated.clients import draw_orders
from tuneapp.federated.fed_config import FedConfig, split_config
from tuneapp.federated.pools import LocalPool
from tuneapp.federated.rounds import evaluate, export, rounds, set_up
from tuneapp.federated.strategies import STRATEGIES
from tuneapp.objective import Diverged
from tuneapp.training import load_exported

IMAGES = brightened_rows()
TIMED = ("iteration_seconds", "client_updates_per_second")


def untimed(metrics):
    return {key: value for key, value in metrics.items() if key not in TIMED}


def test_a_federation_learns_and_reports_each_round():
    history = list(rounds(SMALL | {"lr": 0.3}, context(25), IMAGES))
    assert len(history) == 25
    # 3 steps at the chance loss of 3 classes: the loss is summed over local steps.
    assert history[0]["train_loss"] == pytest.approx(3 * math.log(3), rel=0.1)
    assert history[-1]["val_accuracy"] > 0.95
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[0]["clients_answered"] == 5
    assert history[0]["client_updates_per_second"] > 0


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_learns(strategy):
    config = SMALL | {"lr": 0.2, "strategy": strategy, "local_steps": 6}
    history = list(rounds(config, context(25), IMAGES))
    assert history[-1]["val_accuracy"] > 0.9


def test_fedavg_weighs_clients_by_their_examples_and_uniform_does_not():
    config = SMALL | {"partition": "quantity", "alpha": 0.3, "clients": 3}
    for weighting in ("examples", "uniform"):
        setup = set_up(config | {"weighting": weighting}, context(), IMAGES, dtype="float64")
        federation = setup.federation
        orders = draw_orders(setup.settings, federation, 0)
        pool = LocalPool()
        pool.host(federation, IMAGES.train_images, IMAGES.train_labels)
        changes = [
            pool.worker.train(setup.state, orders, (client, client + 1)).sums[client, client + 1]
            / federation.weight(client)
            for client in range(3)
        ]
        sizes = np.array([len(share) for share in federation.shares], float)
        shares = sizes / sizes.sum() if weighting == "examples" else np.full(3, 1 / 3)
        expected = setup.state + sum(share * change for share, change in zip(shares, changes, strict=True))
        total = pool.train(setup.state, orders).total / sum(federation.weight(client) for client in range(3))
        np.testing.assert_allclose(setup.state + total, expected, atol=1e-12)


def test_one_client_with_all_examples_is_plain_sgd_for_any_weighting():
    config = SMALL | {"clients": 1, "partition": "iid"}
    both = [list(rounds(config | {"weighting": w}, context(), IMAGES)) for w in ("examples", "uniform")]
    assert [untimed(m) for m in both[0]] == [untimed(m) for m in both[1]]


def test_fedprox_holds_clients_nearer_to_what_they_were_sent_as_mu_grows():
    def moved(mu):
        setup = set_up(SMALL | {"strategy": "fedprox", "prox_mu": mu}, context(), IMAGES, dtype="float64")
        pool = LocalPool()
        pool.host(setup.federation, IMAGES.train_images, IMAGES.train_labels)
        return np.linalg.norm(pool.train(setup.state, draw_orders(setup.settings, setup.federation, 0)).total)

    assert moved(5.0) < moved(1.0) < moved(0.0)


@settings(max_examples=8, deadline=None)
@given(
    strategy=st.sampled_from(sorted(STRATEGIES)),
    stop=st.integers(1, 4),
    faults=st.booleans(),
    eval_every=st.integers(1, 3),
)
def test_an_interrupted_federation_goes_on_bit_for_bit(tmp_path_factory, strategy, stop, faults, eval_every):
    config = SMALL | {"strategy": strategy, "fraction": 0.6, "momentum": 0.5, "lr_decay": 0.9}
    if faults:
        config |= {"client_dropout": 0.3, "stragglers": 0.5}
    folder = tmp_path_factory.mktemp("checkpoint")
    whole = list(rounds(config, context(5), IMAGES, eval_every=eval_every))
    first = rounds(config, context(5, folder=folder), IMAGES, eval_every=eval_every)
    early = [next(first) for _ in range(stop)]
    first.close()
    late = list(rounds(config, context(5, checkpoint=folder, folder=folder), IMAGES, eval_every=eval_every))
    assert [untimed(m) for m in early + late] == [untimed(m) for m in whole]


def test_a_checkpoint_of_another_federation_is_refused(tmp_path):
    list(rounds(SMALL, context(1, folder=tmp_path), IMAGES))
    with pytest.raises(TuneappError, match="its own checkpoint"):
        next(rounds(SMALL | {"lr": 0.2}, context(2, checkpoint=tmp_path), IMAGES))


def test_a_torn_checkpoint_is_named(tmp_path):
    (tmp_path / server_checkpoint.FILE).write_bytes(b"torn")
    with pytest.raises(TuneappError, match=r"federation\.safetensors"):
        next(rounds(SMALL, context(2, checkpoint=tmp_path), IMAGES))


def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged():
    with pytest.raises(Diverged, match="loss is"):
        list(rounds(SMALL | {"lr": 1e30}, context(10), IMAGES))


def test_rounds_in_the_config_end_the_trial_before_the_study_does():
    assert len(list(rounds(SMALL | {"rounds": 2}, context(5), IMAGES))) == 2
    assert len(list(rounds(SMALL | {"rounds": 9}, context(5), IMAGES))) == 5


def test_rounds_without_an_evaluation_repeat_the_last():
    history = list(rounds(SMALL, context(5), IMAGES, eval_every=3))
    values = [metrics["val_loss"] for metrics in history]
    assert values[0] == values[1]
    assert len(set(values)) == 3  # the first round's, the third's, the last's


def test_the_client_learning_rate_decays_each_round():
    setup = set_up(SMALL | {"lr": 0.4, "lr_decay": 0.5}, context(), IMAGES)
    assert [draw_orders(setup.settings, setup.federation, n).lr for n in range(3)] == [0.4, 0.2, 0.1]


def test_per_client_evaluation_gives_the_mean_and_the_worst_tenth():
    config = SMALL | {"partition": "shards", "clients": 10}
    metrics = list(rounds(config, context(4), IMAGES, per_client=True))[-1]
    assert 0 <= metrics["client_accuracy_worst_tenth"] <= metrics["client_accuracy_mean"] <= 1


def test_the_validation_set_and_the_partition_depend_on_the_split_seed_alone():
    config = SMALL | {"partition": "iid"}
    first = set_up(config, context(seed=1), IMAGES, split_seed=7)
    other = set_up(config, context(seed=2), IMAGES, split_seed=7)
    assert np.array_equal(first.val_rows, other.val_rows)
    assert all(
        np.array_equal(a, b) for a, b in zip(first.federation.shares, other.federation.shares, strict=True)
    )
    assert not np.array_equal(first.state, other.state)
    dealt = np.concatenate(first.federation.shares)
    assert not np.intersect1d(dealt, first.val_rows).size
    assert len(dealt) + len(first.val_rows) == len(IMAGES.train_labels)


@pytest.mark.parametrize(
    "model", [SMALL, {"model": "small_cnn", "depth": 1, "width": 4, "local_steps": 2, "clients": 2}]
)
def test_an_exported_federation_predicts_as_it_was_evaluated(model, tmp_path):
    list(rounds(model, context(3, folder=tmp_path), IMAGES))
    at_end = context(3, checkpoint=tmp_path)
    export(model, at_end, IMAGES, tmp_path / "best")
    module, meta = load_exported(tmp_path / "best")
    import torch

    x = torch.tensor(IMAGES.test_images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        accuracy = float((module(x).argmax(1).numpy() == IMAGES.test_labels).mean())
    tested = evaluate(model, at_end, IMAGES)
    assert tested["test_accuracy"] == pytest.approx(accuracy)
    assert math.isfinite(tested["test_loss"])
    assert meta["mean"] == [0.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clients": 0}, "`clients` must be 1 or more"),
        ({"fraction": 0.0}, "`fraction` must be above 0"),
        ({"fraction": 1.5}, "`fraction` must be above 0"),
        ({"alpha": 0}, "`alpha` must be above 0"),
        ({"alpha": -1.0}, "`alpha` must be above 0"),
        ({"shards": 0}, "`shards` must be at least 1"),
        ({"lr": float("nan")}, "`lr` must be above 0"),
        ({"momentum": 1.0}, "`momentum` must be from 0 to below 1"),
        ({"local_steps": 0}, "`local_steps` must be 1 or more"),
        ({"client_dropout": 1.0}, "`client_dropout` must be"),
        ({"clients": 2.5}, "`clients` must be a whole number"),
        ({"strategy": "fedavq"}, "Did you mean 'fedavg'"),
        ({"partition": "idd"}, "Did you mean 'iid'"),
        ({"weighting": "equal"}, "weighting"),
        ({"batchsize": 3}, "Did you mean 'batch_size'"),
    ],
)
def test_a_wrong_hyperparameter_is_named_with_what_must_hold(wrong, message):
    with pytest.raises(UsageError, match=message):
        split_config(wrong)


def test_more_clients_than_examples_are_refused():
    with pytest.raises(UsageError, match="fewer --clients"):
        next(rounds(SMALL | {"clients": 181, "partition": "iid"}, context(), IMAGES))


def test_a_config_is_told_apart_into_the_federations_and_the_models():
    ours, models_own = split_config({"lr": 1, "clients": 4.0, "width1": 32, "_helper": 9})
    assert ours == FedConfig(lr=1.0, clients=4)
    assert models_own == {"width1": 32}


def test_an_unknown_model_is_an_unknown_name():
    with pytest.raises(UnknownName, match="No model named"):
        split_config({"model": "mpl"})
