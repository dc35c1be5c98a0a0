"""An image set in memory, and on disk as uint8 arrays that all processes of a machine share.

    <data dir>/<name>/{train,test}_images.npy  uint8 [N, H, W, C]    {train,test}_labels.npy  int64 [N]
                      meta.json                classes, source, flip, sha256 of each array's file;
                                               decoding: how files became uint8, where that was a choice

A set is there when its meta.json is: that is moved in last and taken away first.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneapp.errors import TuneappError, UsageError

Images = NDArray[np.uint8]  # [N, H, W, C], C is 1 or 3
Labels = NDArray[np.int64]  # [N], 0 to K - 1

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
META = "meta.json"
SIZES = range(8, 225)  # pixels per side that the models take


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels. The test set is read once, for the incumbent."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: list[str]
    flip: bool = True  # an image's mirror image is of the same class
    source: str = ""
    folder: Path | None = None  # where its files lie
    sha256: Mapping[str, str] | None = None  # of each array's file, where recorded
    decoding: Mapping[str, float] = field(default_factory=dict)  # ground, low, high: see decode.Decoding

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {array: getattr(self, array) for array in ARRAYS}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def checksum(self) -> str:
        """What the arrays hold, as one sha256; taken from the record where there is one."""
        sha256 = self.sha256 or measured_sha256(self)
        return hashlib.sha256("".join(sha256[array] for array in ARRAYS).encode()).hexdigest()


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


def read(folder: Path, *, flip: bool = True, downloaded: bool = False) -> ImageSet:
    """The set in a folder, its images memory-mapped; flip holds where meta.json doesn't say.

    Raises TuneappError, naming the file and the remedy, where a file is missing, torn or not as laid down.
    """
    remedy = f"bring the set in again with `tuneapp data import {folder.name} PATH --overwrite`"
    if downloaded:
        remedy += f", or delete {folder / META} to have it downloaded again"
    meta = read_meta(folder, remedy)
    images = ImageSet(
        name=folder.name,
        **{array: read_array(folder / f"{array}.npy", remedy) for array in ARRAYS},
        classes=meta["classes"],
        flip=meta.get("flip", flip),
        source=meta.get("source", ""),
        folder=folder,
        sha256=meta.get("sha256"),
        decoding=meta.get("decoding", {}),
    )
    if fault := problem(images):
        raise _broken(folder / f"{fault[0]}.npy", fault[1], remedy)
    return images


def read_meta(folder: Path, remedy: str) -> dict[str, Any]:
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(path, f"cannot be read ({error})", remedy) from error
    if not isinstance(meta, dict):
        raise _broken(path, f"must hold an object, but holds {meta!r:.40}", remedy)
    classes, sha256 = meta.get("classes"), meta.get("sha256")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise _broken(path, f"must hold `classes`, a list of their names, but has {classes!r:.40}", remedy)
    if sha256 is not None and (
        not isinstance(sha256, dict)
        or set(sha256) != set(ARRAYS)
        or not all(isinstance(digest, str) for digest in sha256.values())
    ):
        raise _broken(path, f"must hold the sha256 of {', '.join(ARRAYS)}, or nothing of it", remedy)
    kinds = {"flip": bool, "source": str, "decoding": dict}
    for key, kind in kinds.items():
        if not isinstance(meta.get(key, kind()), kind):
            raise _broken(path, f"must hold a {kind.__name__} as `{key}`, but has {meta[key]!r:.40}", remedy)
    if not all(isinstance(value, int | float) for value in meta.get("decoding", {}).values()):
        raise _broken(path, f"must hold numbers in `decoding`, but has {meta['decoding']!r:.40}", remedy)
    return meta


def read_array(path: Path, remedy: str) -> NDArray[Any]:
    """Images memory-mapped, labels in memory. Never unpickles."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    # Its header is read by Python's own tokenizer and parser, which raise many things at garbage.
    except Exception as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error
        raise _broken(path, f"cannot be read ({reason})", remedy) from error
    return array if path.stem.endswith("images") else np.array(array)


def problem(images: ImageSet) -> tuple[str, str] | None:
    """The first array that is not as laid down, and what must hold of it."""
    for part in ("train", "test"):
        pixels, labels = images.arrays[f"{part}_images"], images.arrays[f"{part}_labels"]
        shape = list(pixels.shape)
        array = f"{part}_images"
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or not pixels.flags.c_contiguous:
            return array, f"must be uint8 [N, H, W, C] in C order, but is {pixels.dtype} {shape}"
        height, width, channels = pixels.shape[1:]
        if channels not in (1, 3) or height not in SIZES or width not in SIZES or len(pixels) == 0:
            limits = f"{SIZES[0]} to {SIZES[-1]} pixels per side and 1 or 3 channels"
            return array, f"must hold images of {limits}, but is {shape}"
        if pixels.shape[1:] != images.train_images.shape[1:]:
            return array, f"must hold images like the training set's, but is {shape}"
        array = f"{part}_labels"
        if labels.dtype != np.int64 or labels.shape != (len(pixels),):
            actual = f"{labels.dtype} {list(labels.shape)}"
            return array, f"must be int64 [{len(pixels)}], one per image, but is {actual}"
        if labels.min() < 0 or labels.max() >= len(images.classes):
            classes, actual = f"0 to {len(images.classes) - 1}", f"{labels.min()} to {labels.max()}"
            return array, f"must lie in {classes}, a number for each class, but goes from {actual}"
    return None


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A scratch folder for the one process that makes a set, gone afterwards; others wait their turn.

    What a killed process left behind is cleared away. Raises UsageError where the data dir can't be written.
    """
    from filelock import FileLock

    scratch = folder.parent / f".{folder.name}.partial"
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise UsageError(
            f"The data dir must be writable, but {folder.parent} is not ({error.strerror}); choose another "
            "with --data-dir or $TUNEAPP_DATA."
        ) from error
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.release()


def write(images: ImageSet, folder: Path, scratch: Path) -> ImageSet:
    """Put the set's files into the folder, which may hold others, and read them back.

    All is written to scratch, in the same data dir, and only then moved: a reader finds a whole set or none.
    """
    try:
        for array, values in images.arrays.items():
            np.save(scratch / f"{array}.npy", values, allow_pickle=False)
        meta = {
            "classes": images.classes,
            "source": images.source,
            "flip": images.flip,
            **({"decoding": dict(images.decoding)} if images.decoding else {}),
            "sha256": {array: file_sha256(scratch / f"{array}.npy") for array in ARRAYS},
        }
        (scratch / META).write_text(json.dumps(meta, indent=2), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        (folder / META).unlink(missing_ok=True)
        for file in (*(f"{array}.npy" for array in ARRAYS), META):
            (scratch / file).replace(folder / file)
    except OSError as error:
        raise TuneappError(
            f"{folder} could not be written ({error.strerror}); make room there, or choose another data dir "
            "with --data-dir or $TUNEAPP_DATA."
        ) from error
    return read(folder)


def measured_sha256(images: ImageSet) -> dict[str, str]:
    """sha256 of each array's file, as `sha256sum` gives it, whatever is recorded."""
    if images.folder is None:
        return {array: _array_sha256(values) for array, values in images.arrays.items()}
    return {array: file_sha256(images.folder / f"{array}.npy") for array in ARRAYS}


def file_sha256(path: Path) -> str:
    """Read once per process while the file stays as it is: 0.4 s for CIFAR-10."""
    status = path.stat()
    return _file_sha256(path, status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _file_sha256(path: Path, *_identity: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _array_sha256(array: NDArray[Any]) -> str:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return hashlib.sha256(file.getbuffer()).hexdigest()


def _broken(path: Path, what: str, remedy: str) -> TuneappError:
    return TuneappError(f"{path} {what}; {remedy}.")
