"""The image sets that tuneapp knows by name, and those that were imported into the data dir."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneapp.data.download import Source, download
from tuneapp.data.image_sets import (
    META,
    ImageSet,
    data_folder,
    exists,
    making,
    measured_sha256,
    read,
    write,
)
from tuneapp.data.splits import stratified_split
from tuneapp.errors import TuneappError, UnknownName, UsageError, nearest

DIGITS_FILE = "datasets/data/digits.csv.gz"  # in scikit-learn


@dataclass(frozen=True)
class Dataset:
    """A built-in set."""

    make: Callable[[Path], ImageSet]  # given an empty scratch folder
    flip: bool  # an image's mirror image is of the same class
    stored: bool = True  # made once and kept in the data dir; False: made at each load, from no file


class Listing(NamedTuple):
    """A row of `tuneapp data list`. What nobody knows before a set is downloaded is empty."""

    name: str
    train: int | str  # examples
    test: int | str
    size: str  # height x width x channels
    classes: int | str
    state: str  # built in, ready, not downloaded, or broken
    where: str


@dataclass(frozen=True)
class Verification:
    """What a set holds. Its checksums are as recorded, or no checksum was recorded."""

    images: ImageSet
    sha256: dict[str, str]  # of each array's file, measured now
    recorded: bool  # False: no checksums to compare with
    train_counts: dict[str, int]  # class -> images
    test_counts: dict[str, int]


def load(name: str, data_dir: Path | None = None) -> ImageSet:
    """A set by its name, its images memory-mapped; a built-in one is downloaded where it is not there yet.

    The data dir is data_dir, else $TUNEAPP_DATA, else the platform's cache folder. Raises UnknownName, and
    TuneappError for a broken file or where a download fails.
    """
    built_in = DATASETS.get(name)
    if built_in is not None and not built_in.stored:
        return _made_in_memory(name)
    folder = data_folder(data_dir) / name
    if not is_name(name) or not (exists(folder) or built_in):
        raise _unknown(name, data_dir)
    if built_in is not None and not exists(folder):
        with making(folder) as scratch:
            if not exists(folder):  # made by another process while this one waited
                write(replace(built_in.make(scratch), flip=built_in.flip), folder, scratch)
    return read(folder, flip=built_in is None or built_in.flip, downloaded=built_in is not None)


def names(data_dir: Path | None = None) -> list[str]:
    """What `load` knows: the built-in sets, then the imported ones."""
    imported = {path.parent.name for path in data_folder(data_dir).glob(f"*/{META}")}
    return [*DATASETS, *sorted(filter(is_name, imported - set(DATASETS)))]


def is_name(name: str) -> bool:
    """A name is a folder and a word of the command line."""
    return re.fullmatch(r"[a-z0-9_][a-z0-9_-]*", name) is not None


def available(data_dir: Path | None = None) -> list[Listing]:
    """One row for each of `names`, filled in as far as possible without a download."""
    return [_listing(name, data_dir) for name in names(data_dir)]


def verify(name: str, data_dir: Path | None = None) -> Verification:
    """Read all of a set that is there and compare it with its record.

    Raises TuneappError where a file has changed, and what `load` raises; never downloads.
    """
    folder = data_folder(data_dir) / name
    if name in DATASETS and DATASETS[name].stored and not exists(folder):
        raise UsageError(f"{name} is not in {folder.parent} yet; `tuneapp tune {name}` downloads it.")
    images = load(name, data_dir)
    sha256 = measured_sha256(images)
    for array, recorded in (images.sha256 or {}).items():
        if sha256[array] != recorded:
            raise TuneappError(
                f"{folder / array}.npy must have the sha256 recorded when it was made, {recorded[:12]}…, but "
                f"has {sha256[array][:12]}…; bring the set in again with `tuneapp data import {name} PATH "
                "--overwrite`."
            )
    return Verification(
        images=images,
        sha256=sha256,
        recorded=images.sha256 is not None or images.folder is None,
        train_counts=_counts(images, "train_labels"),
        test_counts=_counts(images, "test_labels"),
    )


def digits(_scratch: Path | None = None) -> ImageSet:
    """1,797 real 8x8 digits (Alpaydin and Kaynak, 1998) from scikit-learn; a fifth is the test set."""
    pixels, labels = _scikit_learn_digits()
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)  # 0 to 16 as they come
    labels = labels.astype(np.int64)
    train, test = stratified_split(labels, 0.2, seed=0)
    return ImageSet(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        classes=[str(digit) for digit in range(10)],
        flip=False,
        source="scikit-learn",
    )


def _scikit_learn_digits() -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels [1797, 64] from 0 to 16, and labels [1797]."""
    package = find_spec("sklearn")
    table = Path(package.origin).parent / DIGITS_FILE if package and package.origin else Path(DIGITS_FILE)
    if table.is_file():  # takes 0.01 s; load_digits takes a second, in every worker, for its imports
        rows = np.loadtxt(table, delimiter=",", dtype=np.uint8)
        return rows[:, :64], rows[:, 64]
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels


@cache
def _made_in_memory(name: str) -> ImageSet:
    return DATASETS[name].make(Path())


def _unknown(name: str, data_dir: Path | None) -> UnknownName:
    choices = names(data_dir)
    return UnknownName(
        f"No data set named '{name}'; choose from {', '.join(choices)}, or bring one in with "
        f"`tuneapp data import {name if is_name(name) else 'NAME'} PATH`.{nearest(name, choices)}"
    )


def _listing(name: str, data_dir: Path | None) -> Listing:
    folder = data_folder(data_dir) / name
    stored = name not in DATASETS or DATASETS[name].stored
    if stored and not exists(folder):
        return Listing(name, "", "", "", "", "not downloaded", "")
    try:
        images = load(name, data_dir)
    except TuneappError:
        return Listing(name, "", "", "", "", f"broken: see `tuneapp data verify {name}`", str(folder))
    return Listing(
        name=name,
        train=len(images.train_labels),
        test=len(images.test_labels),
        size="x".join(map(str, images.shape)),
        classes=len(images.classes),
        state="ready" if stored else "built in",
        where=str(folder) if stored else "",
    )


def _counts(images: ImageSet, array: str) -> dict[str, int]:
    counts = Counter(images.arrays[array].tolist())
    return {label: counts[number] for number, label in enumerate(images.classes)}


def _downloaded(name: str) -> Callable[[Path], ImageSet]:
    return lambda scratch: download(name, SOURCES[name], scratch)


SOURCES = {
    "mnist": Source(
        "MNIST",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": Source(
        "FashionMNIST",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        [
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
    ),
    "cifar10": Source(
        "CIFAR10",
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    ),
    "cifar100": Source(
        "CIFAR100",
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    ),
}

DATASETS = {
    "digits": Dataset(digits, flip=False, stored=False),
    "mnist": Dataset(_downloaded("mnist"), flip=False),
    "fashion-mnist": Dataset(_downloaded("fashion-mnist"), flip=True),
    "cifar10": Dataset(_downloaded("cifar10"), flip=True),
    "cifar100": Dataset(_downloaded("cifar100"), flip=True),
}
