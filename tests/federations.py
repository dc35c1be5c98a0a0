"""Small image sets and federations that several tests use."""

from typing import Any

import numpy as np

from tuneapp.data import ImageSet
from tuneapp.objective import Context

SMALL: dict[str, Any] = {"width1": 8, "width2": 6, "batch_size": 4, "local_steps": 3, "clients": 5}


def brightened_rows(num_examples: int = 200, channels: int = 1) -> ImageSet:
    """Three classes of 8x8 images, learnable: each class brightens a row of its own, on noise."""
    draw = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", num_examples), ("test", 60)):
        labels = np.arange(count) % 3
        images = draw.integers(0, 120, (count, 8, 8, channels), dtype=np.uint8)
        images[np.arange(count), labels] += 100
        arrays |= {f"{part}_images": images, f"{part}_labels": labels.astype(np.int64)}
    return ImageSet("rows", **arrays, classes=["0", "1", "2"])


def context(max_iterations: int = 3, **more: Any) -> Context:
    return Context(max_iterations=max_iterations, **more)
