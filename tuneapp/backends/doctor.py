"""Whether this machine can do what tuneapp does, found out by doing a little of it."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tuneapp import data
from tuneapp.backends.ray import cluster, dashboard
from tuneapp.errors import TuneappError, first_line
from tuneapp.settings import Resources
from tuneapp.studies import provenance

ENOUGH_MEMORY, ENOUGH_DISK = 2.0, 2.0  # GiB free
NARROW_KERNELS = ("haswell", "zen", "sandybridge", "nehalem", "prescott")  # OpenBLAS's, without AVX-512


@dataclass(frozen=True)
class Check:
    about: str
    found: str
    advice: str = ""  # what to do about it; nothing where all is well
    broken: bool = False  # tuneapp does not work so


def examine(data_dir: Path | None, runs_dir: Path, address: str | None) -> Iterator[Check]:
    """Finding by finding, since some take seconds."""
    machine = provenance.machine()
    yield _versions()
    yield _torch()
    yield _machine(machine)
    yield _products()
    yield _gpus(machine["gpus"])
    yield _folder("data dir", data.data_folder(data_dir), "--data-dir or $TUNEAPP_DATA")
    yield _folder("runs", runs_dir.absolute(), "--runs-dir")
    yield _ray(address)
    yield _extras()


def _versions() -> Check:
    found = provenance.versions()
    missing = [name for name, version in found.items() if version == "not installed"]
    return Check(
        "versions",
        ", ".join(f"{name} {version}" for name, version in found.items()),
        f"Install {', '.join(missing)}." if missing else "",
        broken=bool(missing),
    )


def _torch() -> Check:
    began = time.perf_counter()
    try:
        import torch
        import torchvision  # noqa: F401  it fails where torch is of another build

        torch.nn.functional.conv2d(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 3, 3))
    except (ImportError, RuntimeError, OSError) as error:
        return Check(
            "torch",
            f"does not start: {first_line(error)}",
            "Install torch and torchvision anew, both from one source.",
            broken=True,
        )
    return Check("torch", f"starts with torchvision in {time.perf_counter() - began:.1f} s")


def _machine(have: dict[str, Any]) -> Check:
    free = psutil.virtual_memory().available / 2**30
    advice = (
        ""
        if free >= ENOUGH_MEMORY
        else "Ray stops workers where memory runs out: close other programs, or use fewer trials at once."
    )
    return Check(
        "machine",
        f"{have['processor']}, {have['cores']} cores, {free:.1f} of {have['memory_gib']} GiB memory free",
        advice,
    )


def _products() -> Check:
    """The kernels that numpy's products run on; federations of perceptrons live on them."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    kernels = sorted(
        {str(pool.get("architecture", "unknown")) for pool in threadpool_info() if pool["user_api"] == "blas"}
    )
    told = os.environ.get("OPENBLAS_CORETYPE")
    narrow = told and told.lower() in NARROW_KERNELS and _has_avx512()
    return Check(
        "matrix products",
        f"kernels for {', '.join(kernels) or 'unknown'}",
        f"OPENBLAS_CORETYPE={told} keeps numpy from this CPU's AVX-512, which makes federations on it up to "
        "1.5 times as fast: unset it."
        if narrow
        else "",
    )


def _has_avx512() -> bool:
    try:
        return " avx512f " in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _gpus(listed: list[str]) -> Check:
    try:
        import torch
    except (ImportError, OSError):
        return Check("GPUs", f"the driver lists {', '.join(listed) or 'none'}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("GPUs", ", ".join(names))
    if listed:
        return Check(
            "GPUs",
            f"the driver lists {', '.join(listed)}, but torch {torch.__version__} can't use them",
            "Install a torch built for the driver's CUDA, or update the driver.",
        )
    return Check("GPUs", "none; everything runs on the CPU")


def _folder(about: str, folder: Path, option: str) -> Check:
    """Of a folder that is not there yet, the nearest one above it."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        return Check(
            about, f"{folder} is not writable: {reason}", f"Choose another with {option}.", broken=True
        )
    free = shutil.disk_usage(there).free / 2**30
    advice = "" if free >= ENOUGH_DISK else f"Make room, or choose another with {option}."
    return Check(about, f"{folder}, {free:.0f} GiB free", advice)


def _ray(address: str | None) -> Check:
    """Starts Ray, or joins it, has a worker answer, and ends what was started."""
    began = time.perf_counter()
    try:
        with cluster.connected(Resources(address=address)) as have:
            cluster.await_a_worker()
            seconds = time.perf_counter() - began
            what = "starts" if address is None else f"{address} is joined"
            return Check(
                "Ray",
                f"{what} and a worker answers in {seconds:.1f} s; {have['CPU']:g} CPUs, {have['GPU']:g} GPUs",
            )
    except (TuneappError, OSError) as error:
        return Check(
            "Ray",
            f"does not serve: {first_line(error)}",
            "Use `--backend local`, which needs no Ray, or mend what the line above names.",
            broken=True,
        )


def _extras() -> Check:
    from tuneapp.backends.ray import loggers  # brings Ray Tune, which takes seconds

    extras = {
        "dashboard": dashboard.wanted(None),
        **{name: loggers.installed(name) for name in loggers.LOGGERS},
    }
    there = [name for name, installed in extras.items() if installed]
    absent = [f"tuneapp[{name}]" for name in extras if name not in there]
    return Check(
        "extras",
        f"{', '.join(there) or 'none'} installed" + (f"; to be had: {', '.join(absent)}" if absent else ""),
    )
