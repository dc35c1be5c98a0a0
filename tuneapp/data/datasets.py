"""The image sets that tuneapp knows by name, and those imported into the data dir."""

from functools import cache
from pathlib import Path

import numpy as np

from tuneapp.data.image_sets import ARRAYS, ImageSet, array_sha256, combined, data_folder, exists, read
from tuneapp.data.splits import stratified_split
from tuneapp.errors import UnknownName, nearest


def load(name: str, data_dir: Path | None = None) -> ImageSet:
    """A set by its name; the pictures of all but `digits` are memory-mapped."""
    if name == "digits":
        return digits()
    folder = data_folder(data_dir)
    if exists(folder / name):
        return read(folder / name, flip=name != "mnist")
    raise UnknownName(f"No data set named '{name}' in {folder}.{nearest(name, names(data_dir))}")


def names(data_dir: Path | None = None) -> list[str]:
    folder = data_folder(data_dir)
    return ["digits", *sorted(meta.parent.name for meta in folder.glob("*/meta.json"))]


@cache
def digits() -> ImageSet:
    """1,797 real 8x8 digits (Alpaydin and Kaynak, 1998) from scikit-learn; a fifth is the test set."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = bunch.target.astype(np.int64)
    train, test = stratified_split(labels, 0.2, seed=0)
    parts = dict(zip(ARRAYS, (images[train], labels[train], images[test], labels[test]), strict=True))
    return ImageSet(
        name="digits",
        **parts,
        classes=[str(digit) for digit in range(10)],
        flip=False,
        source="scikit-learn",
        checksum=combined({array: array_sha256(values) for array, values in parts.items()}),
    )
