"""What tests share: one Ray a session, runs of made-up functions."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tuneapp.settings import Budget, Metric, Request, Resources, SchedulerSettings, SearchSettings
from tuneapp.studies import RunDirectory

# A busy machine is no bug; and a change must not fail by an example that was drawn today for the first time:
# `--hypothesis-profile explore` draws others, and is for whoever then mends what it finds.
settings.register_profile("tuneapp", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, derandomize=False, max_examples=500, print_blob=True)
settings.load_profile("tuneapp")

OBJECTIVES = Path(__file__).parent / "objectives.py"


# Tests that take over half a second on an idle core, all parameters together: file::name, one per line.
LONG = frozenset(Path(__file__).with_name("long_tests.txt").read_text().split())
TIERS = {"ray", "slow", "gpu", "browser"}


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `quick` whatever is in no other tier and not known to take long."""
    for item in items:
        named = item.nodeid.partition("[")[0].removeprefix("tests/")
        if named not in LONG and not TIERS & {mark.name for mark in item.iter_markers()}:
            item.add_marker("quick")


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """A Ray of two CPUs for all tests of a process; the engine uses it as it finds it."""
    from tuneapp.backends.ray import cluster

    with cluster.connected(Resources()):
        yield


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    """make_run("quadratic", samples=…, max_iterations=…) -> a run directory, not yet run."""

    def make(
        function: str,
        *,
        hyperparameters: dict[str, Any] | None = None,
        metric: Metric | None = None,
        max_iterations: int = 9,
        scheduler: str = "asha",
        concurrent: int = 2,
        budget: Budget | None = None,
        **search: Any,
    ) -> RunDirectory:
        space = hyperparameters or {"x": {"type": "float", "low": 0.0, "high": 1.0}}
        request = Request(
            f"{OBJECTIVES}:{function}",
            {"hyperparameters": space, "points": []},
            metric or Metric("score"),
            search=SearchSettings(**{"samples": 8, **search}),
            scheduler=SchedulerSettings(type=scheduler, max_iterations=max_iterations),
            budget=budget or Budget(),
            resources=Resources(concurrent=concurrent),
        )
        return RunDirectory.create(tmp_path / "runs", None, request, {"argv": []})

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image sets; the test is skipped where there is none."""
    if not os.environ.get("TUNEAPP_DATA"):
        pytest.skip("needs real pictures: set TUNEAPP_DATA to a folder with mnist and cifar10")
    return Path(os.environ["TUNEAPP_DATA"])
