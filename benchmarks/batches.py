"""What an image costs on its way into a batch: ours, a padded copy of the set, the tutorial's DataLoader.

one core of AMD EPYC (Zen 5), load 26 on 4, torch 2.15.0, torchvision 0.29.2, numpy 2.4.6, Python 3.11; mean ±
standard deviation of 5 epochs:

    cifar10  ours without augmentation     1.08 ± 0.04 us per image,     26 MB
    cifar10  ours                          2.13 ± 0.23 us per image,     14 MB
    cifar10  padded                        1.51 ± 0.06 us per image,    469 MB
    cifar10  tutorial                     87.46 ± 2.66 us per image,      2 MB
    mnist    ours without augmentation     0.41 ± 0.01 us per image,      0 MB
    mnist    ours                          0.72 ± 0.01 us per image,      8 MB
    mnist    padded                        0.89 ± 0.01 us per image,     76 MB
    mnist    tutorial                     73.02 ± 2.15 us per image,      0 MB

    python benchmarks/batches.py --epochs 5     (data: $TUNEAPP_DATA)

CPU time. All crop by an eighth of a side, flip (not MNIST), normalise, and give float32 batches of 128, on
one thread. padded: the set copied once, padded, in both orientations, then windows gathered from the copy.
tutorial: torchvision's transforms of PIL images in a DataLoader without workers. Memory is what the process
holds for itself alone (RssAnon) after the epochs, above what it held before.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tuneapp import data
from tuneapp.data.batches import Batches

BATCH_SIZE = 128
Epoch = Callable[[int], Iterator[tuple[Tensor, Tensor]]]


def ours(images: data.ImageSet) -> Epoch:
    return Batches(
        images.train_images, images.train_labels, batch_size=BATCH_SIZE, crop=0.125, flip=images.flip
    ).epoch


def ours_without_augmentation(images: data.ImageSet) -> Epoch:
    return Batches(images.train_images, images.train_labels, batch_size=BATCH_SIZE).epoch


def padded(images: data.ImageSet) -> Epoch:
    pixels = np.asarray(images.train_images)
    count, height, width, channels = pixels.shape
    pad = round(height * 0.125)
    whole = np.zeros((1 + images.flip, count, height + 2 * pad, width + 2 * pad, channels), dtype=np.uint8)
    whole[0, :, pad:-pad, pad:-pad] = pixels
    if images.flip:
        whole[1, :, pad:-pad, pad:-pad] = pixels[:, :, ::-1]
    whole = whole.reshape(-1, *whole.shape[2:])
    windows = np.lib.stride_tricks.as_strided(
        whole,
        (len(whole), 2 * pad + 1, 2 * pad + 1, height, width * channels),
        (*whole.strides[:3], whole.strides[1], 1),
    )
    loader = Batches(images.train_images[:8], images.train_labels[:8], batch_size=BATCH_SIZE)

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng([0, number])
        order = rng.permutation(count)
        for start in range(0, count, BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            turned = rng.integers(1 + images.flip, size=len(rows)) * count
            moved = windows[rows + turned, *rng.integers(2 * pad + 1, size=(2, len(rows)))]
            batch = torch.from_numpy(moved).view(len(rows), height, width, channels)
            yield loader._normalised(batch), torch.from_numpy(images.train_labels[rows])

    return epoch


class Tutorial(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: data.ImageSet) -> None:
        height, _, channels = images.shape
        flip = [transforms.RandomHorizontalFlip()] if images.flip else []
        self.images, self.labels = images.train_images, images.train_labels
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(height, round(height * 0.125)),
                *flip,
                transforms.ToTensor(),
                transforms.Normalize([0.5] * channels, [0.25] * channels),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return self.transform(self.images[at]), int(self.labels[at])


def tutorial(images: data.ImageSet) -> Epoch:
    loader = DataLoader(Tutorial(images), batch_size=BATCH_SIZE, shuffle=True)
    return lambda _: iter(loader)


def cpu() -> str:
    """The processor's name and the load on the machine, where Linux tells."""
    name = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0].strip("\t :")
    return f"one core of {name}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()}"


def private_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5, help="Epochs timed of each, after one that is not.")
    parser.add_argument("--sets", nargs="+", default=["cifar10", "mnist"], help="Image sets.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (torch, torchvision, np))
    print(f"{cpu()}, {versions}; mean ± standard deviation of {arguments.epochs} epochs\n")
    for name in arguments.sets:
        images = data.load(name)
        for method in (ours_without_augmentation, ours, padded, tutorial):
            before = private_megabytes()
            epoch = method(images)
            microseconds = []
            for number in range(arguments.epochs + 1):
                start = time.process_time()
                examples = sum(len(y) for _, y in epoch(number))
                microseconds.append((time.process_time() - start) / examples * 1e6)
            mean, spread = statistics.mean(microseconds[1:]), statistics.stdev(microseconds[1:])
            print(
                f"{name:8} {method.__name__.replace('_', ' '):26} {mean:7.2f} ± {spread:.2f} us per image, "
                f"{private_megabytes() - before:6.0f} MB"
            )
            del epoch  # and its copies, before the next is measured


if __name__ == "__main__":
    main()
