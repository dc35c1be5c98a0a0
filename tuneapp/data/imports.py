"""`tuneapp data import`: bring a user's images into the data dir."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tuneapp.data import formats
from tuneapp.data.datasets import DATASETS, is_name
from tuneapp.data.decode import ShowProgress, resized
from tuneapp.data.duplicates import equal_groups, note_on_published, refuse_alike, rows_to_train_on
from tuneapp.data.folder_walk import Passed, folders, is_hidden, listed, pass_over_hidden
from tuneapp.data.image_folders import class_notes, read_folder
from tuneapp.data.image_sets import SIZES, ImageSet, data_folder, exists, making, problem, write
from tuneapp.errors import TuneappError, UsageError

UNPACKED = "unpacked"  # in the scratch folder
LEAST_RANGE = 16  # of 256 levels, from the darkest to the lightest pixel of a set: less is told


@dataclass(frozen=True)
class Imported:
    images: ImageSet
    notes: list[str]  # sentences for the user: files left out, how the test set came about


@dataclass(frozen=True)
class Reader:
    recognises: Callable[[Path], bool]
    read: Callable[[Path], ImageSet]


def import_images(
    name: str,
    path: Path,
    data_dir: Path | None = None,
    size: int | None = None,
    *,
    flip: bool | None = None,
    overwrite: bool = False,
    progress: ShowProgress | None = None,
) -> Imported:
    """Bring a folder or archive of images, idx files, CIFAR files or arrays into the data dir as `name`.

    size: pixels per side to which images are resized; None: they are of one size already. flip: an image's
    mirror image is of the same class; None: as the built-in set of that name or the files say, else only for
    images that are no idx files. progress is called with the images done and all images.

    No image stands in the training set twice or in both sets, except where idx or CIFAR files or arrays come
    under the name of a built-in set: these stay as published. The notes tell what was guessed, changed or
    left out.

    Raises UsageError for a name that is taken, unless overwrite, and TuneappError for what can't be read:
    nothing is changed then.
    """
    if not is_name(name):
        raise UsageError(f"A data set's name must be of a-z, 0-9, '_' and '-', but got '{name}'.")
    if name in DATASETS and not DATASETS[name].stored:
        raise UsageError(f"{name} is built in and needs no import; choose another name.")
    if size is not None and size not in SIZES:
        raise UsageError(f"--size must be {SIZES[0]} to {SIZES[-1]} pixels, but got {size}.")
    path = path.expanduser().absolute()
    if not path.exists():
        raise UsageError(f"There must be a folder or archive to import, but {path} does not exist.")
    folder = data_folder(data_dir) / name
    with making(folder) as scratch:
        if exists(folder) and not overwrite:
            raise UsageError(
                f"A data set named '{name}' is there already in {folder.parent}; choose another name, or "
                "pass --overwrite."
            )
        read_set, notes = _read_path(path, folder, scratch, size, progress, published=name in DATASETS)
        built_in = DATASETS.get(name)
        images = replace(
            read_set,
            name=name,
            flip=flip if flip is not None else (built_in.flip if built_in else read_set.flip),
            source=f"{read_set.source}, imported from {path.name}",
        )
        return Imported(write(images, folder, scratch), [*notes, *_note_on_range(images)])


def _read_path(
    path: Path,
    folder: Path,
    scratch: Path,
    size: int | None,
    progress: ShowProgress | None,
    *,
    published: bool,
) -> tuple[ImageSet, list[str]]:
    """The set that lies at a path, and what the user should know of it."""
    try:
        if path == folder and folders(path):
            # Images imported where they lie: the arrays beside them came from an earlier import.
            return read_folder(path, size, progress)
        return _read(_unpacked(path, scratch), size, progress, published)
    except OSError as error:
        raise TuneappError(f"{path} must be readable, but is not ({error}).") from error
    except TuneappError as error:
        unpacked = str(scratch / UNPACKED)
        if unpacked not in str(error):
            raise
        raise type(error)(str(error).replace(unpacked, str(path))) from error


def _read(
    folder: Path, size: int | None, progress: ShowProgress | None, published: bool
) -> tuple[ImageSet, list[str]]:
    """What lies in a folder, or in its only subfolder."""
    for reader in READERS.values():
        if reader.recognises(folder):
            images = reader.read(folder)
            if size is not None:
                images = replace(
                    images,
                    train_images=resized(images.train_images, size),
                    test_images=resized(images.test_images, size),
                )
            if fault := problem(images):
                raise TuneappError(
                    f"{fault[0]} of {folder} {fault[1]}; mend the file, or pass --size to have it resized."
                )
            return _without_copies(images, folder, published)
    inside = folders(folder)
    if len(inside) == 1:
        images, notes = _read(inside[0], size, progress, published)
        beside = [path.name for path in folder.iterdir() if path not in inside and not is_hidden(path)]
        left_out = f" Left out beside it: {listed(sorted(beside))}." if beside else ""
        passed = Passed()
        pass_over_hidden(folder, passed)
        guess = f"Read from {inside[0].name}/, the only folder there.{left_out}"
        return images, [guess, *passed.notes(), *notes]
    if inside:
        return read_folder(folder, size, progress)
    raise TuneappError(
        f"{folder} must hold one folder of images per class (in train/ and test/, or not), or "
        f"{', or '.join(READERS)}, but holds "
        f"{', '.join(sorted(path.name for path in folder.iterdir())[:5]) or 'nothing'}."
    )


def _without_copies(images: ImageSet, folder: Path, published: bool) -> tuple[ImageSet, list[str]]:
    """A set of arrays in which no training image stands twice; a published one stays as it is."""
    count = len(images.train_labels)
    labels = np.concatenate([images.train_labels, images.test_labels])
    groups = equal_groups([*images.train_images, *images.test_images])
    train, test = np.arange(count), np.arange(count, len(labels))
    refuse_alike(groups[train], folder)
    if published:
        return images, note_on_published(train, test, groups)
    rows, notes = rows_to_train_on(
        train, test, groups, labels, lambda row: f"train {row}" if row < count else f"test {row - count}"
    )
    if not len(rows):
        raise TuneappError(f"{folder} has no training image of its own. {' '.join(notes)}")
    notes += class_notes(labels[rows], labels[test], images.classes)
    if len(rows) < count:
        images = replace(
            images,
            train_images=np.ascontiguousarray(images.train_images[rows]),
            train_labels=images.train_labels[rows],
        )
    return images, notes


def _note_on_range(images: ImageSet) -> list[str]:
    """A note where the images are next to uniform: a file of another range than it says looks like that."""
    low, high = int(images.train_images.min()), int(images.train_images.max())
    if high - low >= LEAST_RANGE:
        return []
    return [f"All training images lie between {low} and {high} of 0 to 255: they hold next to no contrast."]


def _unpacked(path: Path, scratch: Path) -> Path:
    """The folder to read from: the path itself, the folder of an idx file, or what an archive holds.

    Raises TuneappError for an archive that is torn, or that would write outside its folder.
    """
    if path.is_dir():
        return path
    if formats.IDX_FILE.fullmatch(path.name):
        return path.parent
    target = scratch / UNPACKED
    target.mkdir()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                outside = [entry for entry in archive.namelist() if not _stays_inside(entry)]
                if outside:
                    raise TuneappError(
                        f"An archive must stay in its folder, but {path} holds '{outside[0]}': don't use it."
                    )
                formats.refuse_bomb(path, sum(entry.file_size for entry in archive.infolist()))
                archive.extractall(target)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                formats.refuse_bomb(path, sum(member.size for member in archive))
                archive.extractall(target, filter="data")
        else:
            raise TuneappError(
                f"{path} must be a folder or a zip or tar archive, but is neither; unpack it and import the "
                "folder."
            )
    except tarfile.FilterError as error:
        raise TuneappError(
            f"An archive must stay in its folder, but in {path} {error}: don't use it."
        ) from error
    # RuntimeError: a zip that wants a password. NotImplementedError, one of them: an unknown compression.
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise TuneappError(f"{path} cannot be unpacked ({error}); fetch it again.") from error
    return target


def _stays_inside(entry: str) -> bool:
    parts = entry.replace("\\", "/").split("/")
    return not entry.startswith(("/", "\\")) and ".." not in parts and not parts[0].endswith(":")


READERS = {
    "our arrays": Reader(formats.has_arrays, formats.read_arrays),
    "idx files": Reader(formats.has_idx, formats.read_idx),
    "CIFAR's Python files": Reader(formats.has_cifar_pickles, formats.read_cifar_pickles),
    "CIFAR's binary files": Reader(formats.has_cifar_binary, formats.read_cifar_binary),
}
