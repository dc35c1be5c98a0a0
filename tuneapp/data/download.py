"""Sets that torchvision downloads and checks (md5); without a network, one message, soon."""

import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tuneapp.data.image_sets import ImageSet
from tuneapp.errors import TuneappError

PROBE_SECONDS = 5  # until a host must have answered
STALL_SECONDS = 30  # without a byte, until a download is given up


def download(name: str, torchvision_name: str, host: str, scratch: Path) -> ImageSet:
    """A set as torchvision's class of that name has it. Raises TuneappError where that fails.

    The host is asked first: torchvision would take seconds to import, and minutes to give up.
    """
    if reason := unreachable(host):
        raise _failed(name, f"{host} does not answer: {reason}")

    import torchvision

    kind = getattr(torchvision.datasets, torchvision_name)
    try:
        with _socket_timeout(STALL_SECONDS):
            train, test = (kind(scratch, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        raise _failed(name, " ".join(str(error).split()) or type(error).__name__) from error
    return ImageSet(
        name=name,
        train_images=_with_channels(np.asarray(train.data)),
        train_labels=np.asarray(train.targets, dtype=np.int64),
        test_images=_with_channels(np.asarray(test.data)),
        test_labels=np.asarray(test.targets, dtype=np.int64),
        classes=[label.split(" - ")[0] for label in train.classes],  # "7 - seven" in MNIST
        source=f"{torchvision_name}, downloaded by torchvision {torchvision.__version__}",
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


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torchvision opens its connections without one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _with_channels(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images if images.ndim == 4 else images[..., np.newaxis])


def _failed(name: str, reason: str) -> TuneappError:
    return TuneappError(
        f"{name} must be downloaded once, but that failed ({reason}). Fetch its archive elsewhere and bring "
        f"it in with `tuneapp data import {name} PATH`, or go on with `digits`, which needs no network."
    )
