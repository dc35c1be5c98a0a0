"""Image folders: one folder per class, in train/ and test/ or not. What is guessed or left out is told."""

from collections import Counter
from pathlib import Path

import numpy as np

from tuneapp.data.decode import ShowProgress, decode_files
from tuneapp.data.duplicates import equal_groups, refuse_alike, rows_to_train_on
from tuneapp.data.folder_walk import Passed, folders, image_files, is_hidden, listed, pass_over_hidden
from tuneapp.data.image_sets import ARRAYS, META, ImageSet, Labels
from tuneapp.data.splits import Indices, stratified_split
from tuneapp.errors import TuneappError, UsageError

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
VALIDATION = ("val", "valid", "validation")
OUR_FILES = {META, *(f"{array}.npy" for array in ARRAYS)}  # beside images that are imported where they lie
FEW = 5  # training images of a class: fewer are told


def read_folder(
    folder: Path, size: int | None, progress: ShowProgress | None = None
) -> tuple[ImageSet, list[str]]:
    """train/<class>/* and test/<class>/*, or <class>/*, of which a fifth becomes the test set.

    size: pixels per side to which every image is resized (Lanczos); None: all must be of one size already.
    No image stands in the set twice, as `duplicates` says. Returns the set and what the user should know of
    it. Raises TuneappError where more than half the files can't be read, a class is left with nothing, or all
    images are alike; UsageError where a class has too few images to be split.
    """
    passed = Passed()
    roots, notes = _parts(folder, passed)
    classes = _classes(roots)
    entries = [
        (path, label, part)
        for part, root in roots.items()
        for label, name in enumerate(classes)
        for path in (image_files(root / name, folder, passed) if (root / name).is_dir() else [])
    ]
    decoded = decode_files([path for path, _, _ in entries], size, progress)
    notes += passed.notes()
    if decoded.reasons:
        notes.append(_left_out(decoded.reasons, len(entries), folder))
    notes += decoded.notes
    labels = np.array([label for _, label, _ in entries], dtype=np.int64)
    rows = {
        part: np.array(
            [at for at, (path, _, of) in enumerate(entries) if of == part and path not in decoded.reasons],
            dtype=np.int64,
        )
        for part in roots
    }
    test = rows.get("test", np.array([], dtype=np.int64))
    if "test" in rows and not len(test):
        raise TuneappError("The test set must have an image that can be read, but has none.")
    groups = equal_groups(decoded.images)
    _refuse_missing(labels[rows["train"]], classes, "that can be read", notes)
    refuse_alike(groups[rows["train"]], folder)
    train, copies = rows_to_train_on(
        rows["train"], test, groups, labels, lambda row: entries[row][0].relative_to(folder).as_posix()
    )
    notes += copies
    _refuse_missing(labels[train], classes, "of its own", notes)
    if "test" not in rows:
        train, test, note = _split(train, labels, classes)
        notes.append(note)
    notes += class_notes(labels[train], labels[test], classes)
    return (
        ImageSet(
            name=folder.name,
            train_images=decoded.images[train],
            train_labels=labels[train],
            test_images=decoded.images[test],
            test_labels=labels[test],
            classes=classes,
            source="image folder",
            decoding=decoded.decoding.record(),
        ),
        notes,
    )


def class_notes(train_labels: Labels, test_labels: Labels, classes: list[str]) -> list[str]:
    """Which classes have next to no training images, or no test images."""
    train, test = Counter(train_labels.tolist()), Counter(test_labels.tolist())
    few = [f"{name} ({train[label]})" for label, name in enumerate(classes) if train[label] < FEW]
    untested = [name for label, name in enumerate(classes) if not test[label]]
    notes = []
    if few:
        have = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
        notes.append(
            f"{have} fewer than {FEW} training images: {listed(few)}. Training needs two or more of every "
            "class."
        )
    if untested:
        notes.append(f"The test set has no image of {listed(untested)}.")
    return notes


def _split(train: Indices, labels: Labels, classes: list[str]) -> tuple[Indices, Indices, str]:
    """A fifth of each class set aside as the test set, and the note on it."""
    counts = Counter(labels[train].tolist())
    single = [name for label, name in enumerate(classes) if counts[label] < 2]
    if single:
        raise UsageError(
            f"A test set can only be split off where every class has two different images or more, but "
            f"there is only 1 of class {listed(single)}; add images, give a test/ folder, or take that class "
            "away."
        )
    rest, aside = stratified_split(labels[train], 0.2, seed=0)
    note = (
        f"There is no test/: {len(aside)} of {len(train)} images, a fifth of each class, became the test set."
    )
    return train[rest], train[aside], note


def _parts(folder: Path, passed: Passed) -> tuple[dict[str, Path], list[str]]:
    """Where train and, if there is one, test lie; what was taken for it, and what left out."""
    pass_over_hidden(folder, passed)
    inside = folders(folder)
    part_folders: dict[str, Path] = {}
    for name in PARTS:
        for path in sorted(inside, key=lambda path: path.name != name):  # train before Train
            if path.name.lower() == name:
                part_folders.setdefault(PARTS[name], path)
    if "train" not in part_folders:
        notes = [
            f"{path.name}/ was taken for a class: there is no train/."
            for path in inside
            if path.name.lower() in (*PARTS, *VALIDATION)
        ]
        return {"train": folder}, notes + _loose(folder, folder)
    notes = []
    validation = next((path for path in inside if path.name.lower() in VALIDATION), None)
    if validation is not None and "test" not in part_folders:
        part_folders["test"] = validation
        notes.append(f"{validation.name}/ became the test set: there is no test/.")
    elif validation is not None:
        notes.append(f"{validation.name}/ was left out: tuneapp splits its own off the training set.")
    others = [path.name for path in inside if path not in (*part_folders.values(), validation)]
    if others:
        notes.append(f"Left out beside {part_folders['train'].name}/: {listed(others)}.")
    for part in part_folders.values():
        if part != folder:
            pass_over_hidden(part, passed)
        notes += _loose(part, folder)
    return {part: part_folders[part] for part in ("train", "test") if part in part_folders}, notes


def _loose(root: Path, folder: Path) -> list[str]:
    """A note on files beside the classes' folders."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in root.iterdir()
        if not path.is_dir() and not is_hidden(path) and path.name not in OUR_FILES
    )
    if not names:
        return []
    files = f"{len(names)} file{'s' if len(names) > 1 else ''}"
    return [f"Left out: {files} in no class's folder ({listed(names)})."]


def _classes(roots: dict[str, Path]) -> list[str]:
    classes = [path.name for path in folders(roots["train"])]
    if len(classes) < 2:
        raise TuneappError(
            "An image folder must hold one folder of images per class, and two classes or more, but "
            f"{roots['train']} holds {len(classes) or 'none'}."
        )
    strangers = {path.name for root in roots.values() for path in folders(root)} - set(classes)
    if strangers:
        raise TuneappError(
            f"Every class must be in {roots['train']}, but {', '.join(sorted(strangers)[:5])} is in "
            f"{roots['test']} alone."
        )
    return classes


def _left_out(reasons: dict[Path, str], count: int, folder: Path) -> str:
    """The note on files left out; raises TuneappError where they are the greater part."""
    named = "; ".join(f"{path.relative_to(folder)} ({reason})" for path, reason in list(reasons.items())[:5])
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    sentence = f"{len(reasons)} of {count} files can't be read as images: {named}{more}."
    if 2 * len(reasons) > count:
        raise TuneappError(f"{sentence} That is the greater part, so nothing was imported from {folder}.")
    return f"Left out: {sentence}"


def _refuse_missing(labels: Labels, classes: list[str], what: str, notes: list[str]) -> None:
    """Raises TuneappError where the training set lacks a class."""
    present = set(labels.tolist())
    missing = [name for label, name in enumerate(classes) if label not in present]
    if missing:
        raise TuneappError(
            " ".join(
                [
                    f"Every class must have a training image {what}, but {listed(missing)} has none; add "
                    "some, or take that folder away.",
                    *notes,
                ]
            )
        )
