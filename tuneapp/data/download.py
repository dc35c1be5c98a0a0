"""Published sets, fetched from their hosts and checked (md5); without a network, one message, soon."""

import hashlib
import http.client
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tuneapp.data import formats
from tuneapp.data.image_sets import ImageSet
from tuneapp.errors import TuneappError

PROBE_SECONDS = 5  # until a host must have answered
STALL_SECONDS = 30  # without a byte, until a download is given up


@dataclass(frozen=True)
class Source:
    """Where a set is published, as idx files or as one archive of CIFAR's Python files."""

    title: str
    folder: str  # the URL before the files' names
    md5: Mapping[str, str]  # of each file
    classes: list[str] | None = None  # None: as the files say


def download(name: str, source: Source, scratch: Path) -> ImageSet:
    """Fetch and read a set. Raises TuneappError where that fails, soon where the host does not answer."""
    if reason := unreachable(source.folder):
        raise _failed(name, f"{source.folder} does not answer: {reason}")
    try:
        for file, md5 in source.md5.items():
            _fetch(source.folder + file, md5, scratch / file)
        images = _read(scratch)
    except (OSError, http.client.HTTPException, tarfile.TarError) as error:
        raise _failed(name, " ".join(str(error).split()) or type(error).__name__) from error
    return replace(
        images,
        name=name,
        classes=source.classes or images.classes,
        source=f"{source.title}, downloaded from {source.folder}",
    )


def unreachable(host: str) -> str:
    """Why a host can't be reached, by proxy if one is set; '' where it answers, whatever it says."""
    outcome = f"nothing within {PROBE_SECONDS} s"

    def ask() -> None:
        nonlocal outcome
        try:
            with urllib.request.urlopen(urllib.request.Request(host, method="HEAD"), timeout=PROBE_SECONDS):
                outcome = ""
        except urllib.error.HTTPError:
            outcome = ""
        except urllib.error.URLError as error:
            outcome = str(error.reason)
        except (OSError, http.client.HTTPException) as error:
            outcome = str(error) or type(error).__name__

    # A look-up of the name knows no timeout: it is left behind in a thread that ends with the process.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return outcome


def _fetch(url: str, md5: str, path: Path) -> None:
    """Raises OSError where the connection fails or stalls, or the file is not the published one."""
    request = urllib.request.Request(url, headers={"User-Agent": "tuneapp"})
    with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if digest != md5:
        raise OSError(f"{url} must have the md5 {md5}, but has {digest}")


def _read(scratch: Path) -> ImageSet:
    archives = list(scratch.glob("*.tar.gz"))
    if not archives:
        return formats.read_idx(scratch)
    with tarfile.open(archives[0]) as archive:
        archive.extractall(scratch, filter="data")
    [folder] = [path for path in scratch.iterdir() if path.is_dir()]
    return formats.read_cifar_pickles(folder)


def _failed(name: str, reason: str) -> TuneappError:
    return TuneappError(
        f"{name} must be downloaded once, but that failed ({reason}). Fetch its archive elsewhere and bring "
        f"it in with `tuneapp data import {name} PATH`, or go on with `digits`, which needs no network."
    )
