"""What lies in a user's folder: the files to read, and notes on all that was passed over."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MOST_NAMED = 3  # examples in a note

# Beside what begins with "." (Unix, Jupyter, Apple) or "@" (Synology): what systems leave in folders.
SYSTEM = {
    "__macosx",
    "__pycache__",
    "$recycle.bin",
    "#recycle",
    "#snapshot",
    "lost+found",
    "system volume information",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
}


@dataclass
class Passed:
    """What a walk left out or followed, for the notes."""

    hidden: Counter[str] = field(default_factory=Counter)  # name of the hidden file or folder -> files
    followed: list[str] = field(default_factory=list)  # links
    broken: list[str] = field(default_factory=list)  # links that lead nowhere
    loops: list[str] = field(default_factory=list)  # links to a folder that is being read already
    nested: list[str] = field(default_factory=list)  # folders inside class folders
    special: list[str] = field(default_factory=list)  # pipes, sockets, devices

    def notes(self) -> list[str]:
        notes = []
        if total := self.hidden.total():
            files = f"{total} file{'s' if total > 1 else ''}"
            names = [name for name, count in self.hidden.items() if count]
            notes.append(f"Left out: {files} hidden or made by a system ({listed(names)}).")
        if self.followed:
            notes.append(f"Followed: {_links(self.followed)} ({listed(self.followed)}).")
        if self.loops:
            notes.append(
                f"Left out: {_links(self.loops)} back to a folder already read ({listed(self.loops)})."
            )
        if self.broken:
            notes.append(f"Left out: {_links(self.broken)} that lead nowhere ({listed(self.broken)}).")
        if self.special:
            notes.append(f"Left out: {len(self.special)} that are no files ({listed(self.special)}).")
        if self.nested:
            notes.append(
                f"Images in folders inside a class's folder count to that class ({listed(self.nested)})."
            )
        return notes


def is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "@")) or path.name.lower() in SYSTEM


def folders(folder: Path) -> list[Path]:
    """Sorted, hidden ones left aside; links to folders among them."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path))


def listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def pass_over_hidden(folder: Path, passed: Passed) -> None:
    """Count what is hidden directly in a folder."""
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            passed.hidden[path.name] += _files_in(path)


def image_files(folder: Path, base: Path, passed: Passed) -> list[Path]:
    """All files below a class's folder but hidden ones, sorted. Links are followed, each folder read once."""
    above = {Path(os.path.realpath(base)), *Path(os.path.realpath(base)).parents}
    if Path(os.path.realpath(folder)) in above:
        passed.loops.append(_name(folder, base))
        return []
    if folder.is_symlink():
        passed.followed.append(_name(folder, base))
    return sorted(_walk(folder, base, passed, above))


def _walk(folder: Path, base: Path, passed: Passed, seen: set[Path]) -> Iterator[Path]:
    """seen: real folders already read for this class, and those above the import, which hold all of it."""
    seen.add(Path(os.path.realpath(folder)))
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            passed.hidden[path.name] += _files_in(path)
        elif path.is_symlink() and not path.exists():
            passed.broken.append(_name(path, base))
        elif path.is_dir():
            real = Path(os.path.realpath(path))
            if real in seen:
                passed.loops.append(_name(path, base))
                continue
            (passed.followed if path.is_symlink() else passed.nested).append(_name(path, base))
            yield from _walk(path, base, passed, seen)
        elif path.is_file():
            if path.is_symlink():
                passed.followed.append(_name(path, base))
            yield path
        else:
            passed.special.append(_name(path, base))


def _files_in(path: Path) -> int:
    """1 for a file; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return 1
    return sum(len(files) for _, _, files in os.walk(path))


def _name(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


def _links(paths: list[str]) -> str:
    return f"{len(paths)} link{'s' if len(paths) > 1 else ''}"
