"""Ray itself: started quietly on this machine, or joined; what it can serve is checked before a run."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from tuneapp.backends.machine import check, refuse_unless_served
from tuneapp.backends.ray import dashboard as dashboards
from tuneapp.errors import TuneappError, first_line
from tuneapp.settings import Resources

NOT_CODE = ["runs", ".git", ".venv", "venv", "node_modules", "__pycache__"]  # and what .gitignore names


@contextmanager
def connected(
    resources: Resources,
    dashboard: bool | None = False,
    tell: Callable[[str], None] = lambda line: None,
    code: str | None = None,
) -> Iterator[dict[str, float]]:
    """A running Ray; yields what it has, {"CPU": …, "GPU": …}. What this started, it ends.

    code: folder of the user's own modules, sent to the workers of a cluster that is joined.
    dashboard: None starts it where its extra is installed; `tell` is told where it is.
    """
    check(resources)
    with_dashboard = dashboards.wanted(dashboard)
    started_here = not ray.is_initialized()
    if started_here:
        url = _start(resources, with_dashboard, code)
        dashboards.protect_token()
        if with_dashboard and url:
            tell(dashboards.announcement(url))
    try:
        have = {key: float(ray.cluster_resources().get(key, 0)) for key in ("CPU", "GPU")}
        refuse_unless_served(resources, have, "the cluster")
        yield have
    finally:
        if started_here:
            ray.shutdown()


def await_a_worker(seconds: float = 60) -> None:
    """Returns once a worker of the running Ray has answered; raises TuneappError where none does."""
    task: Any = ray.remote(lambda: os.getpid())
    try:
        ray.get(task.remote(), timeout=seconds)
    except ray.exceptions.RayError as error:
        raise TuneappError(f"A worker of Ray must answer, but none does: {first_line(error)}") from error


def _start(resources: Resources, dashboard: bool, code: str | None) -> str:
    """Start or join Ray; returns the dashboard's host and port, or nothing."""
    try:
        if resources.address is None:
            context = ray.init(
                address="local",  # never join somebody's cluster by chance
                include_dashboard=dashboard,
                dashboard_host="127.0.0.1",
                log_to_driver=False,
                logging_level="CRITICAL",
                _node_ip_address="127.0.0.1",  # the address it gives out stays good when the network changes
            )
        else:
            context = ray.init(
                address=resources.address,
                runtime_env=None if code is None else {"working_dir": code, "excludes": NOT_CODE},
                log_to_driver=False,
                logging_level="CRITICAL",
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise TuneappError(
            f"Ray could not be {'started' if resources.address is None else 'reached'}: {first_line(error)}; "
            "check --address, free memory and /dev/shm."
        ) from error
    return str(context.dashboard_url or "")
