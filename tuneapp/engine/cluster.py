"""Ray itself: started quietly on this machine, or joined; what it can serve is checked before anything runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from tuneapp.errors import TuneappError, UsageError
from tuneapp.provenance import cores
from tuneapp.request import Resources

@contextmanager
def connected(resources: Resources, dashboard: bool = False) -> Iterator[dict[str, float]]:
    """A running Ray; yields what it has, {"CPU": …, "GPU": …}. What this started, it ends."""
    check(resources)
    started_here = not ray.is_initialized()
    if started_here:
        _start(resources, dashboard)
    try:
        have = {key: float(ray.cluster_resources().get(key, 0)) for key in ("CPU", "GPU")}
        refuse_unless_served(resources, have, "the cluster")
        yield have
    finally:
        if started_here:
            ray.shutdown()


def check(resources: Resources) -> None:
    """Raises UsageError where this machine can't serve one trial; a cluster is asked once it is reached."""
    if resources.address is None:
        refuse_unless_served(resources, local_resources(resources), "this machine")


def local_resources(resources: Resources) -> dict[str, float]:
    """What this machine has. torch is asked for GPUs only where some are wanted: importing it takes seconds."""
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
                f"A trial wants {amount:g} {name}s, but {where} has {have[name]:g}; ask for less with {option}, "
                "or join a larger cluster with --address."
            )


def concurrency(resources: Resources, have: dict[str, float]) -> int:
    """Trials that fit at once, or fewer where the request says so."""
    fit = int(have["CPU"] / resources.cpus + 1e-9)
    if resources.gpus >= 1:
        fit = min(fit, int(have["GPU"] / resources.gpus))
    elif resources.gpus > 0:
        fit = min(fit, int(have["GPU"]) * int(1 / resources.gpus + 1e-9))
    return max(1, min(fit, resources.concurrent or fit))


def _start(resources: Resources, dashboard: bool) -> None:
    try:
        if resources.address is None:
            ray.init(
                address="local",  # never join somebody's cluster by chance
                include_dashboard=dashboard,
                log_to_driver=False,
                logging_level="CRITICAL",
                _node_ip_address="127.0.0.1",  # or Ray's services listen on every interface
            )
        else:
            ray.init(address=resources.address, log_to_driver=False, logging_level="CRITICAL")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise TuneappError(
            f"Ray could not be {'started' if resources.address is None else 'reached'}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; check --address, free memory "
            "and /dev/shm."
        ) from error
