"""Array formats that data sets are passed around in: our own, idx (MNIST) and CIFAR's two.

A reader takes a folder in which it was recognised and returns the set, not yet checked; it raises
TuneappError, naming the file, where one is missing or torn.
"""

import gzip
import io
import math
import pickle
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneapp.data.image_sets import ARRAYS, META, Images, ImageSet, Labels, read_array, read_meta
from tuneapp.errors import TuneappError

MOST_RATIO, ALWAYS_FITS = 200, 2**30  # times its size, and bytes, that an archive may unpack to
MEND = "mend or fetch that file again"
IDX_FILE = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")


def has_arrays(folder: Path) -> bool:
    return any((folder / f"{array}.npy").is_file() for array in ARRAYS)


def read_arrays(folder: Path) -> ImageSet:
    """Arrays as we keep them; images [N, H, W] and labels of any whole type are taken too."""
    meta = read_meta(folder, MEND) if (folder / META).is_file() else {}
    train_images, train_labels, test_images, test_labels = (
        read_array(folder / f"{array}.npy", MEND) for array in ARRAYS
    )
    return ImageSet(
        name=folder.name,
        train_images=_with_channels(train_images),
        train_labels=_whole(train_labels),
        test_images=_with_channels(test_images),
        test_labels=_whole(test_labels),
        classes=meta.get("classes") or _numbered(train_labels),
        flip=meta.get("flip", True),
        source=meta.get("source") or "arrays",
        decoding=meta.get("decoding", {}),
    )


def has_idx(folder: Path) -> bool:
    return any(IDX_FILE.fullmatch(path.name) for path in folder.iterdir())


def read_idx(folder: Path) -> ImageSet:
    """Four files as MNIST's, gzipped or not."""
    train_images, train_labels = _idx_pair(folder, "train")
    test_images, test_labels = _idx_pair(folder, "t10k")
    return ImageSet(
        name=folder.name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        classes=_numbered(train_labels),
        flip=False,  # such files hold digits and letters
        source="idx files",
    )


def has_cifar_pickles(folder: Path) -> bool:
    return (folder / "batches.meta").is_file() or all(
        (folder / name).is_file() for name in ("train", "test", "meta")
    )


def read_cifar_pickles(folder: Path) -> ImageSet:
    """`cifar-10-batches-py` or `cifar-100-python`; read without running what a pickle asks for."""
    if (folder / "batches.meta").is_file():
        train, test = _numbered_files(folder, "data_batch_*"), [folder / "test_batch"]
        labels_key, meta, classes_key = b"labels", folder / "batches.meta", b"label_names"
    else:
        train, test = [folder / "train"], [folder / "test"]
        labels_key, meta, classes_key = b"fine_labels", folder / "meta", b"fine_label_names"

    def entry(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        record = _restricted_pickle(path)
        rows, labels = record.get(b"data"), record.get(labels_key)
        rows = rows.values if isinstance(rows, _PickledArray) else None
        if rows is None or rows.ndim != 2 or rows.shape[1] != 3072:
            raise _torn(path, "must hold `data`, uint8 [N, 3072]")
        if not isinstance(labels, list) or len(labels) != len(rows) or not set(labels) <= set(range(256)):
            raise _torn(path, f"must hold `{labels_key.decode()}`, one whole number per image")
        return rows, np.array(labels, dtype=np.uint8)

    classes = _restricted_pickle(meta).get(classes_key)
    if not isinstance(classes, list) or not all(isinstance(label, bytes | str) for label in classes):
        raise _torn(meta, f"must hold `{classes_key.decode()}`, the names of the classes")
    return _cifar(
        entry, train, test, [label if isinstance(label, str) else _named(label, meta) for label in classes]
    )


def _named(label: bytes, file: Path) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError:
        raise _torn(file, f"must name its classes in UTF-8, but names {label!r:.40}") from None


def has_cifar_binary(folder: Path) -> bool:
    return (folder / "test_batch.bin").is_file() or (folder / "test.bin").is_file()


def read_cifar_binary(folder: Path) -> ImageSet:
    """`cifar-10-batches-bin` or `cifar-100-binary`: a label (of 100 two: coarse, fine), 3,072 of pixels."""
    if (folder / "test_batch.bin").is_file():
        train, test = _numbered_files(folder, "data_batch_*.bin"), [folder / "test_batch.bin"]
        label_bytes, names = 1, folder / "batches.meta.txt"
    else:
        train, test = [folder / "train.bin"], [folder / "test.bin"]
        label_bytes, names = 2, folder / "fine_label_names.txt"

    def entry(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        values = np.frombuffer(_bytes(path), dtype=np.uint8)
        if len(values) == 0 or len(values) % (label_bytes + 3072):
            raise _torn(path, f"must hold {label_bytes + 3072} bytes per image, but has {len(values)}")
        rows = values.reshape(-1, label_bytes + 3072)
        return rows[:, label_bytes:], rows[:, label_bytes - 1]

    return _cifar(entry, train, test, _bytes(names).decode(errors="replace").split())


def _cifar(
    entry: Callable[[Path], tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    train: list[Path],
    test: list[Path],
    classes: list[str],
) -> ImageSet:
    def joined(paths: list[Path]) -> tuple[Images, Labels]:
        rows, labels = zip(*map(entry, paths), strict=True)
        planes = np.concatenate(rows).reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate(labels).astype(np.int64)

    train_images, train_labels = joined(train)
    test_images, test_labels = joined(test)
    return ImageSet("", train_images, train_labels, test_images, test_labels, classes, source="CIFAR files")


def _idx_pair(folder: Path, part: str) -> tuple[Images, Labels]:
    """Images [N, H, W, 1] and labels [N] of `train` or `t10k`."""
    images = _idx(_idx_file(folder, f"{part}-images", "idx3-ubyte"), 3)
    path = _idx_file(folder, f"{part}-labels", "idx1-ubyte")
    labels = _idx(path, 1)
    if len(images) != len(labels):
        raise _torn(path, f"must hold one label for each of {len(images)} images, but has {len(labels)}")
    return images[..., np.newaxis], labels.astype(np.int64)


def _idx_file(folder: Path, stem: str, kind: str) -> Path:
    """The file, gzipped or not. Kaggle's names have a dot in the middle."""
    names = [f"{stem}{dot}{kind}{end}" for end in ("", ".gz") for dot in "-."]
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """http://yann.lecun.com/exdb/mnist: 0, 0, 8 (uint8), dimensions; sizes as big-endian int32; values."""
    values = _bytes(path)
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(values[at : at + 4]) for at in range(4, header, 4)]
    if values[:4] != bytes([0, 0, 8, dimensions]) or len(values) != header + math.prod(shape):
        raise _torn(path, f"must be a whole idx file of uint8 in {dimensions} dimensions")
    return np.frombuffer(values, dtype=np.uint8, offset=header).reshape(shape)


def most_unpacked(path: Path) -> int:
    """Bytes that an archive may hold: images shrink to a tenth, plain ones perhaps to a hundredth."""
    return max(ALWAYS_FITS, MOST_RATIO * path.stat().st_size)


def refuse_bomb(path: Path, size: int) -> None:
    """Raises TuneappError for an archive that would unpack to more than any set of images does."""
    if size > most_unpacked(path):
        raise TuneappError(
            f"{path} must unpack to at most {most_unpacked(path):,} bytes, {MOST_RATIO} times its size, but "
            "holds more; if you trust it, unpack it yourself and import the folder."
        )


def _bytes(path: Path) -> bytes:
    """A file's bytes, unpacked where it is gzipped."""
    try:
        values = path.read_bytes()
        if values[:2] != b"\x1f\x8b":
            return values
        with gzip.GzipFile(fileobj=io.BytesIO(values)) as file:
            unpacked = file.read(most_unpacked(path) + 1)
        refuse_bomb(path, len(unpacked))
        return unpacked
    except FileNotFoundError:
        raise _torn(path, "must be there, but is not") from None
    except (OSError, EOFError, zlib.error) as error:
        raise _torn(path, f"cannot be read ({error})") from error


class _PickledArray:
    """Stands in for numpy's array while a pickle is read, so that the pickle reaches nothing of numpy."""

    values: NDArray[np.uint8] | None = None

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if isinstance(raw, bytes) and dtype.name in ("u1", b"u1", "uint8") and not fortran:
            self.values = np.frombuffer(raw, dtype=np.uint8).reshape(shape)


class _PickledType:
    """Stands in for numpy's dtype, and is the class `numpy.ndarray` where a pickle names it."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None: ...


class _Unpickler(pickle.Unpickler):
    """Accepts the four names that CIFAR's files use, and runs nothing of what they stand for."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _PickledArray
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _PickledType
        if (module, name) == ("_codecs", "encode"):  # bytes, in a protocol that has none
            return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")


def _restricted_pickle(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            record = _Unpickler(file, encoding="bytes").load()
    except FileNotFoundError:
        raise _torn(path, "must be there, but is not") from None
    # An unpickler led astray by garbage, or by stand-ins, may raise anything.
    except Exception as error:
        raise _torn(path, f"cannot be read as a CIFAR file ({error})") from error
    if not isinstance(record, dict):
        raise _torn(path, f"must hold a CIFAR record, but holds {type(record).__name__}")
    return {key.encode() if isinstance(key, str) else key: value for key, value in record.items()}


def _numbered_files(folder: Path, pattern: str) -> list[Path]:
    """data_batch_1 to _5; the missing one is named when it is opened."""
    return sorted(folder.glob(pattern)) or [folder / pattern.replace("*", "1")]


def _with_channels(images: NDArray[Any]) -> NDArray[Any]:
    return images[..., np.newaxis] if images.ndim == 3 else images


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    return labels.astype(np.int64) if np.issubdtype(labels.dtype, np.integer) else labels


def _numbered(labels: NDArray[Any]) -> list[str]:
    """One class for each number up to the largest label, but at most 1,000, whatever the array holds."""
    largest = int(labels.max()) if np.issubdtype(labels.dtype, np.integer) and labels.size else 0
    return [str(number) for number in range(min(max(largest, 0), 999) + 1)]


def _torn(path: Path, what: str) -> TuneappError:
    return TuneappError(f"{path} {what}; {MEND}.")
