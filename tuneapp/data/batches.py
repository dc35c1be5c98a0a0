"""Batches of pictures that are resident as uint8: cropped, flipped, normalised, on the device."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuneapp.data.image_sets import Images, Labels
from tuneapp.data.splits import Indices
from tuneapp.errors import at_least


def channel_statistics(
    images: Images, index: Indices | None = None, most: int = 5000
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of values in [0, 1], over at most so many pictures.

    images is uint8 [N, H, W, C]; the pictures are evenly spaced. A channel that never changes gets 1.
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
    """Batches (x [B, C, H, W], y [B] int64) of the pictures that `index` names, all of them if None.

    images is uint8 [N, H, W, C], labels int64 [N]; both stay as they are. Shuffled, the order and each
    picture's crop and flip are drawn anew every epoch, from (seed, epoch) alone; a last batch of a single
    picture is left out, since batch norm has no variance there. Not shuffled, pictures come in order, whole.
    crop is the share of a side that a picture is moved at most, black moving in: 0.125 is 4 pixels of 32.
    x is normalised by mean and std, which are of values in [0, 1] and measured where not given.
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
        at_least("batch_size", batch_size, 1)
        self.images = np.asarray(images)
        self.labels = np.asarray(labels)
        self.index = np.arange(len(images)) if index is None else index
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.crop, self.flip = crop, flip
        if mean is None or std is None:
            mean, std = channel_statistics(images, self.index)
        self.mean, self.std = list(mean), list(std)
        self.device, self.dtype, self.channels_last = torch.device(device), dtype, channels_last

    @property
    def examples(self) -> int:
        """Pictures in an epoch."""
        count = len(self.index)
        single = self.shuffle and count > 1 and self.batch_size > 1 and count % self.batch_size == 1
        return count - single

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.examples // self.batch_size)

    def epoch(self, number: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch; epochs may be asked for in any order, and again."""
        height, width = self.images.shape[1:3]
        pad_y, pad_x = (round(self.crop * side) for side in (height, width))
        order, flips = self.index, np.zeros(len(self.index), dtype=bool)
        down = right = np.zeros(len(self.index), dtype=np.int64)
        if self.shuffle:
            rng = np.random.default_rng([self.seed, number])
            order = rng.permutation(order)
            down, right = (
                rng.integers(2 * pad_y + 1, size=len(order)),
                rng.integers(2 * pad_x + 1, size=len(order)),
            )
            flips = (rng.random(len(order)) < 0.5) & self.flip
        for start in range(0, self.examples, self.batch_size):
            batch = slice(start, min(start + self.batch_size, self.examples))
            pictures = self.images[order[batch]]
            if self.shuffle:
                pictures = _augment(pictures, pad_y, pad_x, down[batch], right[batch], flips[batch])
            yield self._normalised(pictures), torch.from_numpy(self.labels[order[batch]]).to(self.device)

    def _normalised(self, pictures: Images) -> Tensor:
        x = torch.from_numpy(pictures).to(self.device).float()
        mean, std = torch.tensor(self.mean, device=self.device), torch.tensor(self.std, device=self.device)
        x = ((x / 255 - mean) / std).to(self.dtype).permute(0, 3, 1, 2)
        return x.contiguous(
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format
        )


def _augment(
    pictures: Images, pad_y: int, pad_x: int, down: Indices, right: Indices, flips: NDArray[np.bool_]
) -> Images:
    height, width = pictures.shape[1:3]
    pictures = np.where(flips[:, None, None, None], pictures[:, :, ::-1], pictures)
    padded = np.pad(pictures, ((0, 0), (pad_y, pad_y), (pad_x, pad_x), (0, 0)))
    rows = down[:, None, None] + np.arange(height)[:, None]
    columns = right[:, None, None] + np.arange(width)
    return np.ascontiguousarray(padded[np.arange(len(padded))[:, None, None], rows, columns])
