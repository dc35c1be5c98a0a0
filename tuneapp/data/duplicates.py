"""Equal images: none may stand on both sides of a split, or a score would reward what was learnt by heart."""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuneapp.data.image_sets import Images, Labels
from tuneapp.data.splits import Indices
from tuneapp.errors import TuneappError

MOST_NAMED = 3  # examples in a note

Namer = Callable[[int], str]  # row -> what the user calls that image


def equal_groups(images: Iterable[Images]) -> NDArray[np.int64]:
    """[N]: for each image the row of the first one that equals it. Below 1 s for CIFAR-10's 60,000."""
    first: dict[bytes, int] = {}
    return np.array(
        [
            first.setdefault(blake2b(image.tobytes(), digest_size=16).digest(), row)
            for row, image in enumerate(images)
        ],
        dtype=np.int64,
    )


def refuse_alike(groups: NDArray[np.int64], where: Path) -> None:
    """Raises TuneappError where all images equal the first: there is nothing to learn from them."""
    if len(groups) > 1 and (groups == groups[0]).all():
        raise TuneappError(
            f"The images of a set must differ, but all {len(groups)} training images of {where} are alike "
            "once they are read; look at what the files hold."
        )


def rows_to_train_on(
    train: Indices, test: Indices, groups: NDArray[np.int64], labels: Labels, names: Namer
) -> tuple[Indices, list[str]]:
    """The training rows that are left when no image stands in the set twice, and what to tell the user.

    train and test are rows into groups and labels. Of equal images of one class the first is kept: then no
    later split, for validation or between clients, can have one on both sides. Equal images of several
    classes are all left out, since nobody knows which class is right. What is in the test set too is left
    out of the training set. The test set stays as it is, so that its scores compare with those of others.
    """
    in_test = np.isin(groups[train], groups[test])
    shared, rest = train[in_test], train[~in_test]
    contradictory = _groups_of_several_labels(rest, groups, labels)
    disputed = np.isin(groups[rest], contradictory)
    clear = rest[~disputed]
    _, firsts = np.unique(groups[clear], return_index=True)
    kept = np.sort(clear[firsts])
    copies = np.setdiff1d(clear, kept)
    notes = []
    if len(shared):
        notes.append(
            f"{_count(shared)} of the training set also stand{_s(shared)} in the test set: left out of the "
            f"training set ({_named(shared, names)})."
        )
    notes += _note_on_test(test, groups, labels, names)
    if disputed.any():
        notes.append(
            f"{_count(rest[disputed])} equal one of another class: all were left out, since only one class "
            f"can be right ({_named(rest[disputed], names)})."
        )
    if len(copies):
        notes.append(
            f"{_count(copies)} equal{_s(copies)} another of the same class: one of each was kept, so that no "
            f"copy can be in the validation or test set ({_named(copies, names)})."
        )
    return kept, notes


def note_on_published(train: Indices, test: Indices, groups: NDArray[np.int64]) -> list[str]:
    """What to tell of a published set, which stays as published: everyone's scores have the same copies."""
    copies = len(train) - len(np.unique(groups[train]))
    shared = int(np.isin(groups[test], groups[train]).sum())
    if not copies and not shared:
        return []
    return [
        f"{shared} of {len(test)} test images are in the training set too, and {copies} training images "
        "equal another: kept, as the set was published."
    ]


def _note_on_test(test: Indices, groups: NDArray[np.int64], labels: Labels, names: Namer) -> list[str]:
    _, firsts = np.unique(groups[test], return_index=True)
    copies = np.setdiff1d(test, test[firsts])
    if not len(copies):
        return []
    several = len(_groups_of_several_labels(test, groups, labels))
    classes = f", {several} of them in several classes" if several else ""
    return [
        f"{_count(copies)} of the test set equal{_s(copies)} another there{classes}: kept, so that the test "
        f"set is as given ({_named(copies, names)})."
    ]


def _groups_of_several_labels(rows: Indices, groups: NDArray[np.int64], labels: Labels) -> NDArray[np.int64]:
    pairs = np.unique(np.stack([groups[rows], labels[rows]], axis=1), axis=0)
    kinds, counts = np.unique(pairs[:, 0], return_counts=True)
    several: NDArray[np.int64] = kinds[counts > 1]
    return several


def _count(rows: Indices) -> str:
    return f"{len(rows)} image{'s' if len(rows) > 1 else ''}"


def _s(rows: Indices) -> str:
    return "" if len(rows) > 1 else "s"


def _named(rows: Indices, names: Namer) -> str:
    more = ", …" if len(rows) > MOST_NAMED else ""
    return ", ".join(names(int(row)) for row in rows[:MOST_NAMED]) + more
