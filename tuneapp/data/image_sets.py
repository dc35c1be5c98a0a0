"""An image set: uint8 arrays on disk that all processes of a machine share, and the set in memory.

    <data dir>/<name>/{train,test}_images.npy  uint8 [N, H, W, C]    {train,test}_labels.npy  int64 [N]
                      meta.json                classes, source, sha256 of each file, flip

A set is there once its meta.json is: it is written last.
"""

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneapp.errors import TuneappError

Images = NDArray[np.uint8]  # [N, H, W, C], C is 1 or 3
Labels = NDArray[np.int64]  # [N], 0 to K - 1

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
META = "meta.json"
SIZES = range(8, 225)  # pixels a side that the models take


@dataclass(frozen=True)
class ImageSet:
    """Pictures and their labels. The test set is read once, for the incumbent."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: list[str]
    flip: bool = True  # a picture's mirror image is of the same class
    source: str = ""
    checksum: str = ""  # sha256 over those of the four arrays

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels


def data_folder(data_dir: Path | None = None) -> Path:
    """The data dir: the argument, else $TUNEAPP_DATA, else the platform's cache folder."""
    if data_dir is not None:
        return data_dir.expanduser().absolute()
    if chosen := os.environ.get("TUNEAPP_DATA"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("tuneapp") / "data"


def exists(folder: Path) -> bool:
    return (folder / META).is_file()


def read(folder: Path, *, flip: bool = True) -> ImageSet:
    """The set in a folder, its pictures memory-mapped; flip holds where meta.json doesn't say.

    Raises TuneappError, naming the file and the remedy, where a file is missing, torn or not as laid down.
    """
    meta = read_meta(folder)
    images_and_labels = {array: read_array(folder / f"{array}.npy") for array in ARRAYS}
    recorded = meta.get("sha256") or {array: file_sha256(folder / f"{array}.npy") for array in ARRAYS}
    return checked(
        ImageSet(
            name=folder.name,
            **images_and_labels,
            classes=meta["classes"],
            flip=meta.get("flip", flip),
            source=meta.get("source", ""),
            checksum=combined(recorded),
        ),
        folder,
    )


def read_meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(path, f"cannot be read ({error})") from error
    classes = meta.get("classes") if isinstance(meta, dict) else None
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise _broken(path, "must hold `classes`, a list of their names")
    sha256 = meta.get("sha256", {})
    if not isinstance(sha256, dict) or (sha256 and set(sha256) != set(ARRAYS)):
        raise _broken(path, f"must hold the sha256 of {', '.join(ARRAYS)}, or of none")
    return dict(meta)


def read_array(path: Path) -> NDArray[Any]:
    """Pictures memory-mapped, labels in memory. Never unpickles."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    # Its header is parsed by hand and by Python's own parser: garbage raises anything.
    except Exception as error:
        raise _broken(path, f"cannot be read ({error or type(error).__name__})") from error
    return array if path.stem.endswith("images") else np.array(array)


def checked(images: ImageSet, folder: Path) -> ImageSet:
    """The set itself, if it is as laid down."""
    for part in ("train", "test"):
        pictures, labels = getattr(images, f"{part}_images"), getattr(images, f"{part}_labels")
        path = folder / f"{part}_images.npy"
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or not pictures.flags.c_contiguous:
            raise _broken(path, f"must be uint8 [N, H, W, C], but is {pictures.dtype} {list(pictures.shape)}")
        height, width, channels = pictures.shape[1:]
        if channels not in (1, 3) or height not in SIZES or width not in SIZES or len(pictures) == 0:
            raise _broken(
                path,
                f"must hold pictures of 1 or 3 channels and {SIZES[0]} to {SIZES[-1]} pixels a side, but is "
                f"{list(pictures.shape)}",
            )
        if pictures.shape[1:] != images.train_images.shape[1:]:
            raise _broken(path, f"must hold pictures like the training set's, but is {list(pictures.shape)}")
        path = folder / f"{part}_labels.npy"
        if labels.dtype != np.int64 or labels.shape != (len(pictures),):
            raise _broken(
                path,
                f"must be int64 [{len(pictures)}], one a picture, but is {labels.dtype} {list(labels.shape)}",
            )
        if labels.min() < 0 or labels.max() >= len(images.classes):
            raise _broken(
                path,
                f"must lie in 0 to {len(images.classes) - 1}, one for each class in {META}, but goes from "
                f"{labels.min()} to {labels.max()}",
            )
    return images


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_sha256(array: NDArray[Any]) -> str:
    """As `sha256sum` would give for the array's file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return hashlib.sha256(file.getbuffer()).hexdigest()


def combined(sha256: dict[str, str]) -> str:
    return hashlib.sha256("".join(sha256[array] for array in ARRAYS).encode()).hexdigest()


def _broken(path: Path, what: str) -> TuneappError:
    return TuneappError(
        f"{path} {what}; see `tuneapp data verify {path.parent.name}`, or import or download it anew."
    )
