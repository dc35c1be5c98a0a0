"""Every model, whatever its name: shapes, gradients, hyperparameters."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tuneapp import models
from tuneapp.errors import UnknownName, UsageError

BUILT_IN = sorted(models.MODELS)


def make(
    name: str, *, classes: int = 5, channels: int = 3, size: int = 16, **hyperparameters: Any
) -> nn.Module:
    return models.build(name, classes=classes, channels=channels, size=size, **hyperparameters)


def learns_with_every_weight(name: str, channels: int, size: int) -> None:
    torch.manual_seed(0)
    model = make(name, channels=channels, size=size)
    logits = model(torch.randn(4, channels, size, size))
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.shape == (4, 5)
    assert logits.isfinite().all()
    for weight_name, weight in model.named_parameters():
        assert weight.grad is not None, weight_name
        assert weight.grad.isfinite().all(), weight_name
        assert weight.grad.abs().sum() > 0, weight_name


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_model_gives_logits_and_every_weight_learns(name: str, size: int, channels: int) -> None:
    learns_with_every_weight(name, channels, size)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [65, 224])
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_model_takes_large_images(name: str, size: int, channels: int) -> None:
    learns_with_every_weight(name, channels, size)


@pytest.mark.parametrize("size", [9, 13, 28, 33])
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_model_takes_sizes_that_do_not_halve_evenly(name: str, size: int) -> None:
    assert make(name, size=size).eval()(torch.randn(2, 3, size, size)).shape == (2, 5)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_models_weights_come_from_torchs_generator(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([weight.detach().flatten() for weight in make(name).parameters()])

    assert weights(3).equal(weights(3))
    assert not weights(3).equal(weights(4))


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_unknown_hyperparameter_names_the_nearest(name: str) -> None:
    known = next(iter(models.hyperparameters_of(name)))
    with pytest.raises(UnknownName, match=f"Did you mean '{known}'"):
        make(name, **{known + "s": 1})


@pytest.mark.parametrize("name", BUILT_IN)
def test_hyperparameters_are_told_with_their_defaults(name: str) -> None:
    defaults = models.hyperparameters_of(name)
    assert not {"classes", "channels", "size"} & set(defaults)
    explicit, implicit = make(name, **defaults), make(name)
    assert explicit.state_dict().keys() == implicit.state_dict().keys()


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'small_cnn'"):
        make("smal_cnn")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("mlp", {"width1": 0}),
        ("mlp", {"width2": 10_000}),
        ("mlp", {"dropout": 1.0}),
        ("mlp", {"dropout": float("nan")}),
        ("mlp", {"activation": "rellu"}),
        ("small_cnn", {"kernel": 4}),
        ("small_cnn", {"depth": 0}),
        ("small_cnn", {"width": 3}),
        ("small_cnn", {"batch_norm": 1}),
        ("small_cnn", {"depth": 2.5}),
        ("small_cnn", {"depth": "3"}),
        ("small_cnn", {"depth": True}),
        ("resnet18", {"dropout": -0.1}),
        ("mobilenet", {"width": 0.0}),
        ("mobilenet", {"first_other": 0}),
        ("mobilenet", {"num_other": 14}),
        ("mobilenet", {"other_activation": "none"}),
        ("mlp", {"size": 7}),
        ("mlp", {"size": 225}),
        ("mlp", {"channels": 2}),
        ("mlp", {"classes": 1}),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, wrong: dict[str, Any]) -> None:
    ((hyperparameter, value),) = wrong.items()
    with pytest.raises(UsageError, match=rf"{hyperparameter.split('_')[-1]}.*{value}"):
        make(name, **wrong)


@given(
    depth=st.integers(1, 6),
    width=st.integers(4, 24),
    kernel=st.sampled_from([1, 3, 5, 7]),
    activation=st.sampled_from(sorted(models.ACTIVATIONS)),
    dropout=st.floats(0, 0.9),
    batch_norm=st.booleans(),
    size=st.integers(8, 40),
)
@settings(max_examples=25)
def test_every_small_cnn_in_range_gives_logits(size: int, **hyperparameters: Any) -> None:
    model = make("small_cnn", size=size, **hyperparameters)
    assert model(torch.randn(2, 3, size, size)).shape == (2, 5)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    assert norms == (hyperparameters["depth"] if hyperparameters["batch_norm"] else 0)


def test_mobilenet_has_the_weights_of_the_study_and_thirteen_blocks() -> None:
    model = make("mobilenet", classes=100, size=32)
    assert sum(weight.numel() for weight in model.parameters()) == 3_309_476
    assert sum(isinstance(layer, models.DepthwiseConv) for layer in model.modules()) == 13


def test_mobilenets_sigmoid_stands_in_the_blocks_asked_for() -> None:
    model = make("mobilenet", first_other=4, num_other=7)
    kinds = [type(layer) for layer in model if isinstance(layer, nn.ReLU | nn.Sigmoid)]
    stem, blocks = kinds[0], kinds[1:]
    assert stem is nn.ReLU
    assert blocks[0::2] == blocks[1::2]  # after the depthwise and after the pointwise convolution
    assert blocks[::2] == [nn.ReLU] * 3 + [nn.Sigmoid] * 7 + [nn.ReLU] * 3


@pytest.mark.parametrize("size", [8, 32, 64, 224])
def test_mobilenet_never_halves_below_two_pixels(size: int) -> None:
    sides: list[int] = []
    model = make("mobilenet", size=size, width=0.125).eval()
    for layer in model:
        if isinstance(layer, models.DepthwiseConv):
            layer.register_forward_hook(lambda _layer, _given, y: sides.append(y.shape[-1]))
    model(torch.zeros(1, 3, size, size))
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] == max(2, size // (32 if size > 64 else 16))


def test_a_depthwise_convolution_on_a_cpu_computes_in_float32_and_goes_on_as_it_came() -> None:
    layer = models.DepthwiseConv(8, stride=1)
    x = torch.randn(2, 8, 6, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    exact = nn.functional.conv2d(x.float(), layer.weight, padding=1, groups=8)
    assert y.dtype == torch.bfloat16
    assert y.equal(exact.bfloat16())


def test_resnet18_is_torchvisions_above_64_pixels() -> None:
    from torchvision.models import resnet18

    ours = make("resnet18", classes=10, size=224)
    theirs = resnet18(num_classes=10)
    shapes = [weight.shape for weight in theirs.parameters()]
    assert [weight.shape for weight in ours.parameters()] == shapes
    for mine, weight in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.data.copy_(weight)
    x = torch.randn(1, 3, 96, 96)
    assert ours.eval()(x).equal(theirs.eval()(x))


def test_resnet18_keeps_small_images_whole_at_its_stem() -> None:
    model = make("resnet18", size=64)
    assert model.get_submodule("layer1")(
        model.get_submodule("maxpool")(model.get_submodule("conv1")(torch.zeros(1, 3, 64, 64)))
    ).shape == (1, 64, 64, 64)


def test_mlp_has_three_dense_layers_of_the_widths_asked_for() -> None:
    model = make("mlp", classes=10, channels=1, size=28, width1=20, width2=7)
    dense = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(784, 20), (20, 7), (7, 10)]


@pytest.mark.parametrize(
    ("value", "default", "typed"),
    [
        (3, 0.5, 3.0),
        (3.0, 1, 3),
        (np.int64(3), 1, 3),
        (np.float32(0.5), 1.0, 0.5),
        (np.bool_(True), False, True),
        ("relu", "silu", "relu"),
    ],
)
def test_a_value_takes_the_type_of_its_default(value: Any, default: Any, typed: Any) -> None:
    result = models.typed("x", value, default)
    assert result == typed
    assert type(result) is type(typed)
