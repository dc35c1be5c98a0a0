"""Every computation of client SGD does what plain autograd and torch.optim.SGD do."""

import numpy as np
import pytest
import torch
from federations import SMALL, brightened_rows, context
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneapp.federated.client_sgd import CLIENT_SGD, choose
from tuneapp.federated.clients import batches, draw_orders
from tuneapp.federated.pools import ClientWorker
from tuneapp.federated.rounds import set_up

IMAGES = brightened_rows()


def plain(setup, orders, images):
    """[clients, P] weights and summed losses, each client by its own torch.optim.SGD."""
    federation, blueprint = setup.federation, setup.federation.blueprint
    states, losses = [], []
    for client, steps in zip(orders.clients, orders.steps, strict=True):
        model = blueprint.build().double()
        model.load_state_dict({e.name: torch.tensor(e.of(setup.state)) for e in blueprint.entries})
        sent = [weight.detach().clone() for weight in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), lr=orders.lr, momentum=federation.momentum)
        total = 0.0
        for rows in batches(federation, orders, client, steps):
            x = torch.tensor(images.train_images[rows]).permute(0, 3, 1, 2).double() / 255
            loss = torch.nn.functional.cross_entropy(model(x), torch.tensor(images.train_labels[rows]))
            away = sum(((w - s) ** 2).sum() for w, s in zip(model.parameters(), sent, strict=True))
            optimizer.zero_grad()
            (loss + federation.proximal_mu / 2 * away).backward()
            optimizer.step()
            total += loss.item()
        tensors = [e.flattened(model.state_dict()[e.name][None])[0] for e in blueprint.entries]
        states.append(torch.cat(tensors).numpy())
        losses.append(total)
    return np.array(states), np.array(losses)


@pytest.mark.parametrize("client_sgd", sorted(CLIENT_SGD))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_computation_agrees_with_plain_autograd_and_sgd(client_sgd, data):
    config = {
        "width1": data.draw(st.integers(1, 12)),
        "width2": data.draw(st.integers(1, 9)),
        "clients": data.draw(st.integers(1, 4)),
        "partition": data.draw(st.sampled_from(["shared", "iid", "quantity"])),
        "batch_size": data.draw(st.integers(1, 9)),
        "local_steps": data.draw(st.integers(1, 4)),
        "local_epochs": data.draw(st.sampled_from([0, 0, 1])),
        "momentum": data.draw(st.sampled_from([0.0, 0.9])),
        "strategy": data.draw(st.sampled_from(["fedavg", "fedprox"])),
        "prox_mu": 0.3,
        "stragglers": data.draw(st.sampled_from([0.0, 0.5])),
        "lr": data.draw(st.floats(1e-3, 0.05)),  # larger ones diverge with momentum, and blow rounding up
    }
    seed = data.draw(st.integers(0, 999))
    setup = set_up(config, context(seed=seed), IMAGES, client_sgd=client_sgd, dtype="float64")
    orders = draw_orders(setup.settings, setup.federation, round_number=data.draw(st.integers(0, 5)))
    states, losses = plain(setup, orders, IMAGES)
    worker = ClientWorker(setup.federation, IMAGES.train_images, IMAGES.train_labels)
    update = worker.train(setup.state, orders, (0, len(orders.clients)))
    weights = np.array([setup.federation.weight(client) for client in orders.clients])
    expected = (weights[:, None] * (states - setup.state)).sum(axis=0)
    np.testing.assert_allclose(update.sums[0, len(orders.clients)], expected, atol=1e-12, rtol=0)
    np.testing.assert_allclose(update.losses, losses, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_computations_give_the_same_logits(channels):
    images = brightened_rows(channels=channels)
    logits = []
    for name, client_sgd in sorted(CLIENT_SGD.items()):
        setup = set_up(SMALL, context(), images, client_sgd=name, dtype="float64")
        logits.append(
            client_sgd(setup.federation, images.train_images, images.train_labels).logits(
                setup.state, images.test_images
            )
        )
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-12)
    np.testing.assert_allclose(logits[1], logits[2], atol=1e-12)


@pytest.mark.parametrize("client_sgd", ["autograd", "batched"])
def test_a_convolutional_model_agrees_with_plain_autograd_and_sgd(client_sgd):
    config = {
        "model": "small_cnn",
        "depth": 2,
        "width": 4,
        "batch_norm": False,
        "clients": 2,
        "batch_size": 5,
        "local_steps": 2,
    }
    setup = set_up(config, context(), IMAGES, client_sgd=client_sgd, dtype="float64")
    orders = draw_orders(setup.settings, setup.federation, 0)
    states, losses = plain(setup, orders, IMAGES)
    update = ClientWorker(setup.federation, IMAGES.train_images, IMAGES.train_labels).train(
        setup.state, orders, (0, 2)
    )
    np.testing.assert_allclose(update.sums[0, 2], (states - setup.state).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(update.losses, losses, atol=1e-12)


def test_running_statistics_are_averaged_like_weights():
    config = {"model": "small_cnn", "depth": 1, "width": 4, "clients": 2, "batch_size": 5, "local_steps": 2}
    setup = set_up(config, context(), IMAGES, dtype="float64")
    orders = draw_orders(setup.settings, setup.federation, 0)
    states, _ = plain(setup, orders, IMAGES)
    update = ClientWorker(setup.federation, IMAGES.train_images, IMAGES.train_labels).train(
        setup.state, orders, (0, 2)
    )
    running = next(e for e in setup.federation.blueprint.entries if e.name.endswith("running_mean"))
    assert not running.trained
    assert np.any(running.of(update.sums[0, 2]) != 0)
    np.testing.assert_allclose(update.sums[0, 2], (states - setup.state).sum(axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("config", "device", "client_sgd"),
    [
        ({}, "cpu", "blas"),
        ({"activation": "tanh"}, "cpu", "autograd"),
        ({"dropout": 0.2}, "cpu", "autograd"),
        ({"model": "small_cnn"}, "cpu", "autograd"),
        ({}, "cuda", "batched"),
        ({"dropout": 0.2}, "cuda", "autograd"),
        ({"model": "small_cnn"}, "cuda", "autograd"),
        ({"model": "small_cnn", "batch_norm": False}, "cuda", "batched"),
    ],
)
def test_the_computation_is_chosen_by_the_stated_rule(config, device, client_sgd):
    blueprint = set_up(config, context(), IMAGES).federation.blueprint
    assert choose(blueprint, device) == client_sgd


def test_dropout_layers_draw_by_seed_round_and_client():
    config = SMALL | {"dropout": 0.5}
    setup = set_up(config, context(), IMAGES)
    worker = ClientWorker(setup.federation, IMAGES.train_images, IMAGES.train_labels)
    first, second = (draw_orders(setup.settings, setup.federation, number) for number in (0, 1))
    whole = worker.train(setup.state, first, (0, 5)).losses
    torch.rand(7)  # what else draws from torch's generator must not matter
    alone = worker.train(setup.state, first, (3, 5)).losses
    assert np.array_equal(whole[3:], alone)
    assert not np.array_equal(whole, worker.train(setup.state, second, (0, 5)).losses)


def test_a_memory_mapped_set_is_read_as_a_plain_array(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES.train_images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    setup = set_up(SMALL, context(), IMAGES)
    client_sgd = CLIENT_SGD["blas"](setup.federation, mapped, IMAGES.train_labels)
    assert type(client_sgd.images) is np.ndarray
    assert np.shares_memory(client_sgd.images, mapped)


def test_mcmahans_cnn_has_the_weights_that_the_paper_counts():
    from tuneapp import models

    model = models.build("fedavg_cnn", classes=10, channels=1, size=28)
    assert sum(weight.numel() for weight in model.parameters()) == 1_663_370
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
