"""What this machine can serve, and whether that is enough; nothing here needs Ray."""

import socket

from tuneapp.errors import TuneappError, UsageError
from tuneapp.settings import Resources
from tuneapp.studies.provenance import cores

SECONDS_TO_ANSWER = 5


def check(resources: Resources) -> None:
    """Raises UsageError where this machine can't serve one trial, or the address is none, and TuneappError
    where nothing answers there; what a cluster has is asked once it is reached."""
    if resources.address is None:
        refuse_unless_served(resources, local_resources(resources), "this machine")
    else:
        _refuse_unless_answered(resources.address)


def local_resources(resources: Resources) -> dict[str, float]:
    """What this machine has. torch, slow to import, is asked for GPUs only where some are wanted."""
    gpus = 0
    if resources.gpus > 0:
        import torch

        gpus = torch.cuda.device_count()
    return {"CPU": float(cores()), "GPU": float(gpus)}


def refuse_unless_served(wanted: Resources, have: dict[str, float], where: str) -> None:
    """Raises UsageError: Ray itself would wait for ever for resources that are not there."""
    for option, name, amount in (
        ("--cpus-per-trial", "CPU", wanted.cpus),
        ("--gpus-per-trial", "GPU", wanted.gpus),
    ):
        if amount > have[name]:
            raise UsageError(
                f"A trial wants {amount:g} {name}s, but {where} has {have[name]:g}; ask for less with "
                f"{option}, or join a larger cluster with --address."
            )


def concurrency(resources: Resources, have: dict[str, float]) -> int:
    """Trials that fit at once, or fewer where the request says so."""
    fit = int(have["CPU"] / resources.cpus + 1e-9)
    if resources.gpus >= 1:
        fit = min(fit, int(have["GPU"] / resources.gpus))
    elif resources.gpus > 0:
        fit = min(fit, int(have["GPU"]) * int(1 / resources.gpus + 1e-9))
    return max(1, min(fit, resources.concurrent or fit))


def _refuse_unless_answered(address: str) -> None:
    """Ray itself would try for minutes, and fill the terminal. Raises UsageError, TuneappError."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--address must be HOST:PORT, ray://HOST:PORT or auto, not {address!r}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise TuneappError(
            f"A Ray cluster must answer at --address {address}, but none does ({error}); start one there "
            "with `ray start --head`, or leave --address out to use this machine alone."
        ) from error
