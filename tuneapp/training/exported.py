"""A trained model as two files that need nothing else of a run: model.safetensors and config.yaml."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from tuneapp import models
from tuneapp.data.decode import Decoding, read_image
from tuneapp.errors import UsageError
from tuneapp.settings import Config
from tuneapp.training import train_checkpoint

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.yaml"


def export(config: Config, checkpoint: Path, folder: Path) -> None:
    """Write a checkpoint's weights and what it takes to use them; `config` is kept beside it to be read."""
    state = train_checkpoint.read(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    # Safetensors knows no memory format: channels_last weights are written as plain [O, I, H, W].
    save_file({name: tensor.contiguous() for name, tensor in state.model.items()}, folder / WEIGHTS_FILE)
    text = yaml.safe_dump({"config": _plain(config), "model": _plain(state.meta)}, sort_keys=False)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def load_exported(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model, ready to predict on the CPU, and its meta: dataset, classes, channels, size, mean, std,
    model, hyperparameters. Raises UsageError where the folder holds no exported model."""
    try:
        meta = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model"]
        weights = load_file(folder / WEIGHTS_FILE)
        model = models.build(
            meta["model"],
            classes=len(meta["classes"]),
            channels=meta["channels"],
            size=meta["size"],
            **meta["hyperparameters"],
        )
        model.load_state_dict(weights)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{folder} must hold an exported model ({CONFIG_FILE} and {WEIGHTS_FILE}), but it cannot be read "
            f"({type(error).__name__}: {error})."
        ) from error
    return model.eval(), meta


def predict(
    folder: Path, paths: Iterable[Path], top: int = 3
) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
    """(path, [(class, probability), ...]) of each image, the `top` likeliest classes, the likeliest first.

    Images of any size are squeezed to the model's size and channels, and transparent or deep ones read as
    those of the training set were. Raises UsageError for what is no image.
    """
    model, meta = load_exported(folder)
    mean, std = (torch.tensor(meta[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
    decoding = Decoding.of(meta.get("decoding", {}))
    for path in paths:
        image = torch.from_numpy(read_image(path, meta["size"], meta["channels"], decoding))
        x = (image.permute(2, 0, 1)[None] / 255 - mean) / std
        with torch.inference_mode():
            shares = model(x)[0].softmax(0)
        best = shares.topk(min(top, len(shares)))
        likeliest = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        yield path, [(meta["classes"][index], share) for share, index in likeliest]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
