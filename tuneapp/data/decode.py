"""Image folders: a folder for each class, split into train and test or not."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tuneapp.data.image_sets import SIZES, Images, ImageSet
from tuneapp.data.splits import stratified_split
from tuneapp.errors import TuneappError, UsageError

Progress = Callable[[int, int], None]  # pictures done, pictures in all

# Not all that Pillow knows: its EPS reader, for one, runs Ghostscript on the file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits; the others' range is anybody's guess
GREY = ("1", "L", "LA")
ORIENTATION = 0x0112  # in EXIF
ON_ITS_SIDE = (5, 6, 7, 8)

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
VALIDATION = ("val", "valid", "validation")


def read_folder(
    folder: Path, size: int | None, progress: Progress | None = None
) -> tuple[ImageSet, list[str]]:
    """train/<class>/* and test/<class>/*, or <class>/*, of which a fifth becomes the test set.

    size: pixels a side that every picture is resized to (Lanczos); None: all must be of one size already.
    Pictures turn as their EXIF says; they are grey where all are. What can't be read is left out. Returns the
    set and what the user should know of it. Raises TuneappError where more than half can't be read, or a
    class is left with nothing.
    """
    roots, notes = _parts(folder)
    classes = _classes(roots)
    entries = [
        (path, label, part)
        for part, root in roots.items()
        for label, name in enumerate(classes)
        for path in _files(root / name)
    ]
    images, reasons = _decoded([path for path, _, _ in entries], size, progress)
    if reasons:
        notes.append(_left_out(reasons, len(entries), folder))
    labels = np.array([label for _, label, _ in entries], dtype=np.int64)
    rows = {
        part: np.array(
            [at for at, (path, _, of) in enumerate(entries) if of == part and path not in reasons], np.int64
        )
        for part in roots
    }
    _refuse_empty({part: {classes[label] for label in labels[rows[part]]} for part in rows}, classes)
    if "test" not in rows:
        rest, aside = stratified_split(labels[rows["train"]], 0.2, seed=0)
        notes.append(
            f"There is no test/: {len(aside)} of {len(rows['train'])} pictures, a fifth of each class, "
            "became the test set."
        )
        rows = {"train": rows["train"][rest], "test": rows["train"][aside]}
    return (
        ImageSet(
            name=folder.name,
            train_images=images[rows["train"]],
            train_labels=labels[rows["train"]],
            test_images=images[rows["test"]],
            test_labels=labels[rows["test"]],
            classes=classes,
            source="image folder",
        ),
        notes,
    )


def read_picture(path: Path, size: int, channels: int) -> Images:
    """[size, size, C]: one picture as an imported set would hold it. Raises UsageError with the reason."""
    picture = np.empty((size, size, channels), dtype=np.uint8)
    if reason := _decode(path, _header(path), picture, size):
        raise UsageError(f"{path} must be a picture, but it cannot be read as one ({reason}).")
    return picture


def resized(images: Images, size: int) -> Images:
    """[N, H, W, C] -> [N, size, size, C], by Lanczos; what are no such pictures stays as it is."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        return images
    if images.shape[1:3] == (size, size):
        return images
    grey = images.shape[3] == 1
    smaller = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    for number, picture in enumerate(images):
        image = Image.fromarray(picture[..., 0] if grey else picture)
        smaller[number] = np.asarray(_fitted(image, size)).reshape(smaller.shape[1:])
    return smaller


def folders(folder: Path) -> list[Path]:
    """Sorted; hidden ones, and what a Mac adds to archives, left aside."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))


def _parts(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Where train and, if there is one, test lie; what was taken for it, and what left out."""
    by_name = {path.name.lower(): path for path in folders(folder)}
    found = {PARTS[name]: path for name, path in by_name.items() if name in PARTS}
    if "train" not in found:
        return {"train": folder}, []
    notes = []
    validation = next((by_name[name] for name in VALIDATION if name in by_name), None)
    if validation is not None and "test" not in found:
        found["test"] = validation
        notes.append(f"{validation.name}/ became the test set: there is no test/.")
    elif validation is not None:
        notes.append(f"{validation.name}/ was left out: tuneapp splits its own off the training set.")
    return {part: found[part] for part in ("train", "test") if part in found}, notes


def _classes(roots: dict[str, Path]) -> list[str]:
    classes = [path.name for path in folders(roots["train"])]
    if len(classes) < 2:
        raise TuneappError(
            "An image folder must hold a folder of pictures for each of two classes or more, but "
            f"{roots['train']} holds {len(classes) or 'none'}."
        )
    strangers = {path.name for root in roots.values() for path in folders(root)} - set(classes)
    if strangers:
        raise TuneappError(
            f"Every class must be in {roots['train']}, but {', '.join(sorted(strangers)[:5])} is in "
            f"{roots['test']} alone."
        )
    return classes


def _decoded(
    paths: list[Path], size: int | None, progress: Progress | None
) -> tuple[Images, dict[Path, str]]:
    """Pictures [N, H, W, C], and why some of them, left as they may be, can't be read."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes outside the GIL
        headers = list(pool.map(_header, paths))
        known = [header for header in headers if not isinstance(header, str)]
        height, width = (size, size) if size else _one_size(known)
        channels = 1 if all(mode in GREY for _, _, mode in known) else 3
        images = np.empty((len(paths), height, width, channels), dtype=np.uint8)
        reasons = {}
        for at, reason in enumerate(pool.map(_decode, paths, headers, images, [size] * len(paths))):
            if reason:
                reasons[paths[at]] = reason
            if progress:
                progress(at + 1, len(paths))
    return images, reasons


Header = tuple[int, int, str]  # height and width as seen upright, mode


def _header(path: Path) -> Header | str:
    """What a file says of itself, or why it is no picture to us."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode not in MODES:
                return f"its pixels are {image.mode}, not of 8 bits"
            width, height = image.size
            if image.getexif().get(ORIENTATION) in ON_ITS_SIDE:
                width, height = height, width
            return height, width, image.mode
    except UnidentifiedImageError:
        return f"none of {', '.join(FORMATS)}"
    # A torn or made-up file may raise anything; the user reads it beside the file's name.
    except Exception as error:
        return str(error) or type(error).__name__


def _decode(path: Path, header: Header | str, out: NDArray[np.uint8], size: int | None) -> str:
    """Fill out [H, W, C]; returns why it can't be."""
    if isinstance(header, str):
        return header
    try:
        with Image.open(path, formats=FORMATS) as image:
            if size:
                image.draft(None, (4 * size, 4 * size))  # decodes a JPEG of 12 megapixels at a fraction
            upright = ImageOps.exif_transpose(image)
            if "transparency" in upright.info:
                upright = upright.convert("RGBA")
            picture = upright.convert("L" if out.shape[2] == 1 else "RGB")
            out[:] = np.asarray(_fitted(picture, size) if size else picture).reshape(out.shape)
    except Exception as error:  # as above
        return str(error) or type(error).__name__
    return ""


def _fitted(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _one_size(headers: list[Header]) -> tuple[int, int]:
    """Height and width of all pictures, which models can take; raises UsageError otherwise."""
    sizes = Counter((height, width) for height, width, _ in headers) or {(SIZES[0], SIZES[0]): 0}
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if height in SIZES and width in SIZES:
            return height, width
    small, large = (f"{width}x{height}" for height, width in (min(sizes), max(sizes)))
    found = small if small == large else f"of {len(sizes)} sizes, from {small} to {large}"
    raise UsageError(
        f"Pictures must be of one size, {SIZES[0]} to {SIZES[-1]} pixels a side, but these are {found}; pass "
        "--size 64, say, to have all resized to 64x64."
    )


def _left_out(reasons: dict[Path, str], count: int, folder: Path) -> str:
    """The note on files left out; raises TuneappError where they are the greater part."""
    named = "; ".join(f"{path.relative_to(folder)} ({reason})" for path, reason in list(reasons.items())[:5])
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    sentence = f"{len(reasons)} of {count} files can't be read as pictures: {named}{more}."
    if 2 * len(reasons) > count:
        raise TuneappError(f"{sentence} That is the greater part, so nothing was imported from {folder}.")
    return f"Left out: {sentence}"


def _refuse_empty(found: dict[str, set[str]], classes: list[str]) -> None:
    """Raises TuneappError where the training set lacks a class, or the test set everything."""
    missing = [name for name in classes if name not in found["train"]]
    if missing:
        raise TuneappError(
            f"Every class must have a training picture that can be read, but {', '.join(missing[:5])} has "
            "none; add some, or take that folder away."
        )
    if not found.get("test", found["train"]):
        raise TuneappError("The test set must have a picture that can be read, but has none.")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []  # a class that the test set lacks
    return sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path))


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"
