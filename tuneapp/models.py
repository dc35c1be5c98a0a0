"""Classifiers of images in plain torch. A model's keyword arguments are its hyperparameters.

Every model takes [B, C, H, W] float images, C of 1 or 3 channels, H = W of 8 to 224 pixels, and gives
[B, K] logits.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuneapp.errors import UnknownName, UsageError, lookup, nearest

SMALLEST, LARGEST = 8, 224  # pixels per side

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "sigmoid": nn.Sigmoid,
    "silu": lambda: nn.SiLU(inplace=True),
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def build(name: str, *, classes: int, channels: int, size: int, **hyperparameters: Any) -> nn.Module:
    """The model of that name with fresh weights, drawn from torch's global generator.

    Raises UnknownName for a model or a hyperparameter that is not there, UsageError for one out of range.
    """
    defaults = hyperparameters_of(name)
    for key in hyperparameters:
        if key not in defaults:
            raise UnknownName(
                f"Model '{name}' has no hyperparameter '{key}'; it has {', '.join(defaults)}."
                f"{nearest(key, defaults)}"
            )
    _choose("size", size, range(SMALLEST, LARGEST + 1))
    _choose("channels", channels, (1, 3))
    _within("classes", classes, 2, 100_000)
    given = {key: typed(key, value, defaults[key]) for key, value in hyperparameters.items()}
    return MODELS[name](classes=classes, channels=channels, size=size, **given)


def hyperparameters_of(name: str) -> dict[str, Any]:
    """Hyperparameter -> default; raises UnknownName."""
    signature = inspect.signature(lookup(name, MODELS, "model"))
    given = ("classes", "channels", "size")  # by the data, not by the search
    return {key: parameter.default for key, parameter in signature.parameters.items() if key not in given}


def hyperparameters_in(
    config: Mapping[str, Any], name: str, others: Iterable[str], reader: str
) -> dict[str, Any]:
    """What the model reads of a trial's config, of the types of its defaults; `reader` reads the `others`.

    Names that begin with `_` are helpers of a space's expressions and are left out. Any other name that
    neither knows raises UnknownName.
    """
    own, others = hyperparameters_of(name), sorted(others)
    rest = {key: value for key, value in config.items() if key not in others and not key.startswith("_")}
    for key in rest:
        if key not in own:
            raise UnknownName(
                f"Neither {reader} nor model '{name}' has a hyperparameter '{key}'; {reader} has "
                f"{', '.join(others)}; the model has {', '.join(own)}.{nearest(key, [*others, *own])} "
                "A helper of expressions must begin with '_'."
            )
    return {key: typed(key, value, own[key]) for key, value in rest.items()}


def mlp(
    *,
    classes: int,
    channels: int,
    size: int,
    width1: int = 512,
    width2: int = 256,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Three dense layers, as in the federated MNIST study: H·W·C -> width1 -> width2 -> K."""
    _within("width1", width1, 1, 8192)
    _within("width2", width2, 1, 8192)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * size * size, width1),
        _activation(activation),
        *_dropout(dropout),
        nn.Linear(width1, width2),
        _activation(activation),
        *_dropout(dropout),
        nn.Linear(width2, classes),
    )


def small_cnn(
    *,
    classes: int,
    channels: int,
    size: int,
    depth: int = 3,
    width: int = 32,
    kernel: int = 3,
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = True,
) -> nn.Module:
    """`depth` blocks of convolution, 2x2 max pool, norm and activation, then one dense layer.

    The first block has `width` channels, each later one twice as many, 512 at most. Blocks halve the
    image while it is more than 2 pixels wide. Pooling comes before the norm: the norm and the activation
    then touch a quarter of the values.
    """
    _within("depth", depth, 1, 6)
    _within("width", width, 4, 512)
    _choose("kernel", kernel, (1, 3, 5, 7))
    layers: list[nn.Module] = []
    inputs, side = channels, size
    for block in range(depth):
        outputs = min(width * 2**block, max(512, width))
        layers.append(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not batch_norm))
        if side > 2:
            layers.append(nn.MaxPool2d(2))
            side //= 2
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(_activation(activation))
        inputs = outputs
    if side > 4:
        layers.append(nn.AdaptiveAvgPool2d(4))
        side = 4
    return nn.Sequential(*layers, nn.Flatten(), *_dropout(dropout), nn.Linear(inputs * side * side, classes))


def fedavg_cnn(*, classes: int, channels: int, size: int, width: int = 32, dense: int = 512) -> nn.Module:
    """The MNIST CNN of McMahan et al. (2017): 1,663,370 weights at 28 pixels, 1 channel and 10 classes.

    Two 5x5 convolutions of `width` and 2 · width channels, each with ReLU and a 2x2 max pool, then a dense
    layer of `dense` units with ReLU, and the classes.
    """
    _within("width", width, 1, 512)
    _within("dense", dense, 1, 8192)
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (size // 4) ** 2, dense),
        nn.ReLU(inplace=True),
        nn.Linear(dense, classes),
    )


def resnet18(*, classes: int, channels: int, size: int, dropout: float = 0.0) -> nn.Module:
    """torchvision's ResNet-18 (He et al., 2016); up to 64 pixels with a 3x3 stem and no first pool."""
    # Imported here: torchvision imports torch._dynamo, 1.4-2 s and 160 MB that other models do without.
    from torchvision.models.resnet import BasicBlock, ResNet

    model: nn.Module = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=classes)
    if size <= 64:
        stem = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    else:
        stem = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = stem
    model.fc = nn.Sequential(*_dropout(dropout), nn.Linear(512, classes))
    return model


class DepthwiseConv(nn.Conv2d):
    """A 3x3 convolution of each channel by itself, in float32 on a CPU, where bfloat16 is slower."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            y = F.conv2d(x.float(), self.weight, None, self.stride, self.padding, 1, self.groups)
        return y.to(x.dtype)  # the norm that follows is faster in bfloat16


# (output channels, stride) of MobileNet V1's 13 blocks, as they are used for 32-pixel images.
_MOBILENET_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


def mobilenet(
    *,
    classes: int,
    channels: int,
    size: int,
    width: float = 1.0,
    activation: str = "relu",
    other_activation: str = "sigmoid",
    first_other: int = 1,
    num_other: int = 0,
    dropout: float = 0.0,
) -> nn.Module:
    """MobileNet V1 (Howard et al., 2017): 13 depthwise-separable blocks, 3,309,476 weights at 100 classes.

    `width` multiplies all channels. `num_other` blocks from block `first_other` (1 to 13) on use
    `other_activation`: 7 from the 4th on is the sigmoid variant of the study of CIFAR-100. The stem has
    stride 2 above 64 pixels; a block's stride is dropped where the image is down to 2 pixels.
    """
    _within("width", width, 0.125, 4.0)
    _within("first_other", first_other, 1, 13)
    _within("num_other", num_other, 0, 14 - first_other)
    lookup(other_activation, ACTIVATIONS, "activation")  # wrong is wrong, used or not
    stem_stride = 2 if size > 64 else 1
    side = -(-size // stem_stride)
    inputs = max(8, round(32 * width))
    layers: list[nn.Module] = [
        nn.Conv2d(channels, inputs, 3, stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(inputs),
        _activation(activation),
    ]
    for block, (full_width, full_stride) in enumerate(_MOBILENET_BLOCKS, start=1):
        outputs = max(8, round(full_width * width))
        stride = full_stride if side > 2 else 1
        side = -(-side // stride)
        is_other = first_other <= block < first_other + num_other
        name = other_activation if is_other else activation
        layers += [
            DepthwiseConv(inputs, stride),
            nn.BatchNorm2d(inputs),
            _activation(name),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            _activation(name),
        ]
        inputs = outputs
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_dropout(dropout), nn.Linear(inputs, classes)]
    return nn.Sequential(*layers, *head)


def typed(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`: 3 for a float, 3.0 and numpy's 3 for an int. Raises UsageError."""
    kind = type(default)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}
    raise UsageError(f"`{name}` must be {kinds[kind]}, but got {value!r}.")


def _activation(name: str) -> nn.Module:
    return lookup(name, ACTIVATIONS, "activation")()


def _dropout(share: float) -> list[nn.Module]:
    """Nothing where nothing is dropped: the layer would cost a pass over the values all the same."""
    if not 0.0 <= share < 1.0:
        raise UsageError(f"`dropout` must be from 0 to below 1, but got {share}.")
    return [nn.Dropout(share)] if share > 0 else []


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"`{name}` must be from {low} to {high}, but got {value}.")


def _choose(name: str, value: Any, choices: Iterable[Any]) -> None:
    choices = list(choices)
    if value not in choices:
        among = ", ".join(map(str, choices)) if len(choices) < 20 else f"{choices[0]} to {choices[-1]}"
        raise UsageError(f"`{name}` must be one of {among}, but got {value}.")


MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "fedavg_cnn": fedavg_cnn,
    "resnet18": resnet18,
    "mobilenet": mobilenet,
}
