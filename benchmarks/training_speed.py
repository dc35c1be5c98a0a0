"""What an image costs to learn from: ours in float32, ours at its own precision, a tutorial's loop.

one core of AMD EPYC (Zen 5), load 32 on 4, torch 2.15.0, torchvision 0.29.2, Python 3.11; auto is bfloat16;
CPU seconds per 1,000 images, mean ± standard deviation of 5 epochs; ratio epoch by epoch:

                             tutorial    ours, float32       ours, auto  tutorial / auto
    mlp 784-256-128    0.0908 ± 0.004  0.0167 ± 0.0009 0.00984 ± 0.0008         9.29 ± 1
    small_cnn, kernel 3   0.75 ± 0.02    0.436 ± 0.009    0.286 ± 0.009      2.62 ± 0.06
    small_cnn, kernel 7    1.7 ± 0.02      1.29 ± 0.01     0.853 ± 0.02      1.99 ± 0.06
    mobilenet              5.09 ± 0.2       3.87 ± 0.2       2.26 ± 0.2       2.26 ± 0.2
    resnet18                   19 ± 1       16.5 ± 0.3       9.22 ± 0.2      2.06 ± 0.08

    python benchmarks/training_speed.py --epochs 5     (data: $TUNEAPP_DATA; --smoke needs none, 15 s)

CPU time, everything included: data, both passes, the update. All crop by an eighth of a side, flip (not
MNIST), and take batches of 128 on one thread; the methods take turns epoch by epoch, so that a busy machine
slows all of them. tutorial: the same model in torch's default memory format, torchvision's transforms of PIL
images in a DataLoader without workers, torch.optim.SGD, loss.item() at each step. Ours validates on one
image of each class in that time as well.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tuneapp import data, models, training
from tuneapp.objective import Context
from tuneapp.settings import Metrics

BATCH_SIZE = 128
MODELS: dict[str, tuple[str, int, dict[str, Any]]] = {  # label -> image set, images per epoch, config
    "mlp 784-256-128": ("mnist", 10_000, {"model": "mlp", "width1": 256, "width2": 128}),
    "small_cnn, kernel 3": ("cifar10", 2000, {"model": "small_cnn"}),
    "small_cnn, kernel 7": ("cifar10", 1000, {"model": "small_cnn", "kernel": 7}),
    "mobilenet": ("cifar10", 500, {"model": "mobilenet"}),
    "resnet18": ("cifar10", 250, {"model": "resnet18"}),
}
SMOKE = {label: ("digits", 250, config) for label, (_, _, config) in MODELS.items() if "resnet" not in label}
METHODS = ("tutorial", "float32", "auto")


def ours(images: data.ImageSet, examples: int, config: dict[str, Any], precision: str) -> Iterator[Metrics]:
    """One epoch at each `next`."""
    config = {**config, "batch_size": BATCH_SIZE, "augment": "crop_flip"}
    validated = len(images.classes)
    yield from training.train(
        config,
        Context(max_iterations=1000),
        images,
        examples=examples + validated,
        val_share=validated / (examples + validated),
        precision=precision,
    )


class TutorialImages(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: data.ImageSet, examples: int) -> None:
        rows = data.stratified_subset(images.train_labels, examples, seed=0)
        side, _, channels = images.shape
        self.images, self.labels = images.train_images[rows], images.train_labels[rows]
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(side, round(side * 0.125)),
                *([transforms.RandomHorizontalFlip()] if images.flip else []),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * channels, [0.25] * channels),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return self.transform(self.images[at]), int(self.labels[at])


def tutorial(images: data.ImageSet, examples: int, config: dict[str, Any]) -> Iterator[None]:
    side, _, channels = images.shape
    settings, hyperparameters = training.split_config(config)
    model = models.build(
        settings.model, classes=len(images.classes), channels=channels, size=side, **hyperparameters
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loader = DataLoader(TutorialImages(images, examples), batch_size=BATCH_SIZE, shuffle=True)
    loss_function = nn.CrossEntropyLoss()
    while True:
        running_loss = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_function(model(x), y)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        yield


def seconds_per_thousand(
    images: data.ImageSet, examples: int, config: dict[str, Any], epochs: int
) -> dict[str, list[float]]:
    """CPU seconds per 1,000 images of each method, one item per epoch; the first is not counted."""
    running = {
        "tutorial": tutorial(images, examples, config),
        "float32": ours(images, examples, config, "float32"),
        "auto": ours(images, examples, config, "auto"),
    }
    taken: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(epochs + 1):
        for method in METHODS:
            start = time.process_time()
            next(running[method])
            taken[method].append((time.process_time() - start) / examples * 1000)
    return {method: seconds[1:] for method, seconds in taken.items()}


def shown(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3g} ± {spread:.1g}"


def machine() -> str:
    """The processor's name and the load, where Linux tells."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = text.partition("model name")[2].partition("\n")[0].strip("\t :") or "an unnamed processor"
    return f"one core of {name}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--epochs", type=int, default=5, help="Epochs timed of each method, after one that is not."
    )
    parser.add_argument("--smoke", action="store_true", help="Only show that it runs: digits, two epochs.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, epochs = (SMOKE, 2) if arguments.smoke else (MODELS, arguments.epochs)
    precision = training.resolve_precision("auto", torch.device("cpu"))
    print(
        f"{machine()}, torch {torch.__version__}, torchvision {torchvision.__version__}; auto is {precision}"
    )
    print(
        f"CPU seconds per 1,000 images, mean ± standard deviation of {epochs} epochs; ratio epoch by epoch\n"
    )
    print(f"{'':20} {'tutorial':>16} {'ours, float32':>16} {'ours, auto':>16} {'tutorial / auto':>16}")
    for label, (name, examples, config) in rows.items():
        taken = seconds_per_thousand(data.load(name), examples, config, epochs)
        ratios = [slow / fast for slow, fast in zip(taken["tutorial"], taken["auto"], strict=True)]
        columns = [*(shown(taken[method]) for method in METHODS), shown(ratios)]
        print(f"{label:20} " + " ".join(f"{column:>16}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
