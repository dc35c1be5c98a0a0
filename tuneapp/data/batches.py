"""Batches of images that are resident as uint8: cropped, flipped, normalised, on the device.

Nothing is copied but the images of a batch: four trials on a node share one set in the page cache, and the
usual trick, the whole set padded in both orientations, would take 480 MB of CIFAR-10 in each of them. A
CIFAR-10 image costs about 2 us of one core with crop and flip, 1 us without: see benchmarks/batches.py.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from torch import Tensor

from tuneapp.data.image_sets import Images, Labels
from tuneapp.data.splits import Indices
from tuneapp.errors import UsageError, at_least

# Images are gathered in blocks of whole batches, so that small batches don't pay for calls: of about so
# many bytes, which a CPU core's cache holds, or which keep a GPU busy.
BLOCK_BYTES = {"cpu": 2**19, "gpu": 2**26}


class Draws(NamedTuple):
    """What happens to each image of an epoch, or of a part of it; all are [N]."""

    order: Indices  # positions in `index`
    down: Indices  # rows into the padded image, 0 to twice the padding
    right: Indices  # columns likewise
    mirrored: NDArray[np.bool_]

    def part(self, start: int, end: int) -> "Draws":
        return Draws(*(drawn[start:end] for drawn in self))  # type: ignore[arg-type]


Augment = Callable[[Draws], Tensor]  # -> uint8 [N, H, W, C]


def channel_statistics(
    images: Images, index: Indices | None = None, most: int = 5000
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of values in [0, 1], over at most so many images.

    images is uint8 [N, H, W, C]; the images are evenly spaced. A channel that never changes gets 1.
    """
    index = np.arange(len(images)) if index is None else index
    some = np.asarray(images)[index[:: -(-len(index) // most)]]
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(some.shape[-1]):
        # Counts are whole numbers: the same on any machine and any number of threads.
        shares = np.bincount(some[..., channel].ravel(), minlength=256) / some[..., channel].size
        mean = float(shares @ values)
        means.append(mean)
        deviations.append(float(np.sqrt(shares @ (values - mean) ** 2)) or 1.0)
    return means, deviations


class Batches:
    """Batches (x [B, C, H, W], y [B] int64) of the images that `index` names, all of them if None.

    images is uint8 [N, H, W, C], labels int64 [N]; both stay as they are. Shuffled, the order and each
    image's crop and flip are drawn anew every epoch, from (seed, epoch) alone and alike on every device; a
    last batch of a single image is left out, since batch norm has no variance there. Not shuffled, images
    come in order, whole. crop is the share of a side, up to a half, that an image is moved at most, black
    moving in: 0.125 is 4 pixels of 32. x is normalised by mean and std, of values in [0, 1]; measured
    where they are not given.

    Raises UsageError for a batch size below 1, a crop outside 0 to 0.5, or no images.
    """

    def __init__(
        self,
        images: Images,
        labels: Labels,
        *,
        batch_size: int,
        index: Indices | None = None,
        shuffle: bool = True,
        crop: float = 0.0,
        flip: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
        seed: int = 0,
    ) -> None:
        index = np.arange(len(images)) if index is None else np.asarray(index)
        at_least("batch_size", batch_size, 1)
        if not 0 <= crop <= 0.5:
            raise UsageError(f"`crop` must be a share of an image's side, 0 to 0.5, but got {crop}.")
        if len(index) == 0:
            raise UsageError("Batches need one image or more, but got none.")
        if mean is None or std is None:
            mean, std = channel_statistics(images, index)
        self.mean, self.std = list(mean), list(std)
        self.batch_size, self.shuffle, self.flip, self.seed = batch_size, shuffle, flip, seed
        self.device, self.dtype, self.channels_last = torch.device(device), dtype, channels_last
        self.height, self.width, self.channels = images.shape[1:]
        self.padding = round(crop * self.height), round(crop * self.width)
        self.labels = labels[index]
        # (value / 255 - mean) / std for a row of W pixels, C values each, as one product and one sum.
        scale, shift = 1 / (255 * np.array(self.std)), -np.array(self.mean) / self.std
        self._scale, self._shift = (
            torch.tensor(np.tile(row, self.width), dtype=torch.float32, device=self.device)
            for row in (scale, shift)
        )
        self._augmented = (
            _on_cpu(np.asarray(images), index, self.padding)  # a memmap's own indexing is slower
            if self.device.type == "cpu"
            else _on_device(torch.from_numpy(images[index]).to(self.device), self.padding)
        )

    @property
    def examples(self) -> int:
        """Images in an epoch."""
        count = len(self.labels)
        single = self.shuffle and count > 1 and self.batch_size > 1 and count % self.batch_size == 1
        return count - single

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.examples // self.batch_size)

    def epoch(self, number: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch; epochs may be asked for in any order, and again."""
        draws = self._draws(number)
        labels = torch.from_numpy(self.labels[draws.order]).to(self.device)
        image_bytes = self.height * self.width * self.channels
        block_bytes = BLOCK_BYTES["cpu" if self.device.type == "cpu" else "gpu"]
        block = self.batch_size * max(1, block_bytes // (self.batch_size * image_bytes))
        for start in range(0, self.examples, block):
            end = min(start + block, self.examples)
            gathered = self._augmented(draws.part(start, end))
            for first in range(start, end, self.batch_size):
                last = min(first + self.batch_size, end)
                yield self._normalised(gathered[first - start : last - start]), labels[first:last]

    def _draws(self, number: int) -> Draws:
        count = len(self.labels)
        middle = [np.full(count, padding) for padding in self.padding]
        if not self.shuffle:
            return Draws(np.arange(count), middle[0], middle[1], np.zeros(count, dtype=bool))
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(count)
        down, right = (rng.integers(2 * padding + 1, size=count) for padding in self.padding)
        return Draws(order, down, right, (rng.random(count) < 0.5) & self.flip)

    def _normalised(self, batch: Tensor) -> Tensor:
        """uint8 [B, H, W, C] -> [B, C, H, W]."""
        rows = batch.reshape(len(batch), self.height, -1).float()
        x = torch.addcmul(self._shift, rows, self._scale, out=rows).to(self.dtype)
        x = x.view(batch.shape).permute(0, 3, 1, 2)  # channels last, as it lies
        return x if self.channels_last else x.contiguous()


def _on_cpu(images: Images, index: Indices, padding: tuple[int, int]) -> Augment:
    """Whole rows are copied, never single pixels: a strided view holds all windows of the padded images."""
    height, width, channels = images.shape[1:]
    pad_y, pad_x = padding
    padded = np.zeros((0, height + 2 * pad_y, width + 2 * pad_x, channels), dtype=np.uint8)

    def augment(draws: Draws) -> Tensor:
        nonlocal padded
        batch = images[index[draws.order]]
        mirrored = np.flatnonzero(draws.mirrored)
        if len(mirrored):
            # torch mirrors channels-last images five times as fast as numpy
            turned = torch.from_numpy(batch[mirrored]).permute(0, 3, 1, 2).flip(3)
            batch[mirrored] = turned.permute(0, 2, 3, 1).numpy()
        if padding == (0, 0):
            return torch.from_numpy(batch)
        count = len(batch)
        if count > len(padded):
            padded = np.zeros((count, *padded.shape[1:]), dtype=np.uint8)
        padded[:count, pad_y : pad_y + height, pad_x : pad_x + width] = batch
        windows = as_strided(
            padded,
            shape=(count, 2 * pad_y + 1, 2 * pad_x + 1, height, width * channels),
            strides=(*padded.strides[:3], padded.strides[1], 1),
            writeable=False,
        )
        moved = windows[np.arange(count), draws.down, draws.right]
        return torch.from_numpy(moved.reshape(batch.shape))

    return augment


def _on_device(images: Tensor, padding: tuple[int, int]) -> Augment:
    """One gather on the device that holds the images, without a padded copy of them."""
    height, width = images.shape[1:3]
    pad_y, pad_x = padding

    def augment(draws: Draws) -> Tensor:
        position, y0, x0, mirrored = (torch.from_numpy(drawn).to(images.device)[:, None] for drawn in draws)
        y = y0 - pad_y + torch.arange(height, device=images.device)
        x = x0 - pad_x + torch.arange(width, device=images.device)
        x = torch.where(mirrored, width - 1 - x, x)
        inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
        batch = images[
            position[:, :, None], y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]
        ]
        return batch * inside[..., None]

    return augment
