"""`tuneapp data import`: bring a user's pictures into the data dir."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tuneapp.data import decode as pictures
from tuneapp.data import formats
from tuneapp.data.datasets import DATASETS, is_name
from tuneapp.data.image_sets import SIZES, ImageSet, data_folder, exists, making, problem, write
from tuneapp.errors import TuneappError, UsageError

UNPACKED = "unpacked"  # in the scratch folder


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
    progress: pictures.Progress | None = None,
) -> Imported:
    """Bring a folder or archive of pictures, idx files, CIFAR files or arrays into the data dir as `name`.

    size: pixels a side that pictures are resized to; None: they are of one size already. flip: a picture's
    mirror image is of the same class; None: as the built-in set of that name or the files say, else only for
    pictures that are no idx files. progress is called with pictures done and in all. Raises UsageError for a
    name that is taken, unless overwrite, and TuneappError for what can't be read: nothing is changed then.
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
        found, notes = _found(path, folder, scratch, size, progress)
        built_in = DATASETS.get(name)
        images = replace(
            found,
            name=name,
            flip=flip if flip is not None else (built_in.flip if built_in else found.flip),
            source=f"{found.source}, imported from {path.name}",
        )
        return Imported(write(images, folder, scratch), notes)


def _found(
    path: Path, folder: Path, scratch: Path, size: int | None, progress: pictures.Progress | None
) -> tuple[ImageSet, list[str]]:
    """The set that lies at a path, and what the user should know of it."""
    try:
        if path == folder and pictures.folders(path):
            # Pictures imported where they lie: the arrays beside them came from an earlier import.
            return pictures.read_folder(path, size, progress)
        return _read(_unpacked(path, scratch), size, progress)
    except OSError as error:
        raise TuneappError(f"{path} must be readable, but is not ({error}).") from error
    except TuneappError as error:
        unpacked = str(scratch / UNPACKED)
        if unpacked not in str(error):
            raise
        raise type(error)(str(error).replace(unpacked, str(path))) from error


def _read(folder: Path, size: int | None, progress: pictures.Progress | None) -> tuple[ImageSet, list[str]]:
    """What lies in a folder, or in its only subfolder."""
    for reader in READERS.values():
        if reader.recognises(folder):
            images = reader.read(folder)
            if size is not None:
                images = replace(
                    images,
                    train_images=pictures.resized(images.train_images, size),
                    test_images=pictures.resized(images.test_images, size),
                )
            if found := problem(images):
                raise TuneappError(
                    f"{found[0]} of {folder} {found[1]}; mend the file, or pass --size to have it resized."
                )
            return images, []
    inside = pictures.folders(folder)
    if len(inside) == 1:
        return _read(inside[0], size, progress)
    if inside:
        return pictures.read_folder(folder, size, progress)
    raise TuneappError(
        f"{folder} must hold a folder of pictures for each class (in train/ and test/, or not), or "
        f"{', or '.join(READERS)}, but holds "
        f"{', '.join(sorted(path.name for path in folder.iterdir())[:5]) or 'nothing'}."
    )


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
                archive.extractall(target)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
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
