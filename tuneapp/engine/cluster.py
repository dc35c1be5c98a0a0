"""Ray itself: started quietly on this machine, or joined; what it can serve is checked before anything runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from tuneapp.engine.machine import check, refuse_unless_served
from tuneapp.errors import TuneappError
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
