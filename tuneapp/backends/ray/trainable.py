"""The actor in which trials run: one iteration per call, reused by the next trial."""

import os
import platform
from pathlib import Path
from typing import Any

import cloudpickle
import ray
from ray import tune

from tuneapp import tasks
from tuneapp.backends.ray import client_actors
from tuneapp.backends.runner import Runner
from tuneapp.settings import Request


class TrialActor(tune.Trainable):
    """Runs `config["config"]` of trial `config["trial"]`."""

    def setup(
        self,
        config: dict[str, Any],
        request: dict[str, Any] | None = None,
        run: str = "",
        function: bytes | None = None,
    ) -> None:
        assert request is not None  # bound by tune.with_parameters
        ray.shutdown = _stay  # a script that a trial runs may end with it; here it would end the worker
        asked = Request.from_json(request)
        if asked.resources.address is not None:  # Ray has put a copy of the user's folder here
            asked = tasks.moved(asked, Path.cwd())
        passed = None if function is None else cloudpickle.loads(function)
        self.runner = Runner(asked, Path(run), passed, client_actors.pool_of(asked.resources))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.runner.begin(new_config["trial"], new_config["config"], new_config["seed"])
        return True

    def begin(self, config: dict[str, Any]) -> dict[str, Any]:
        """Drop the trial before, and run this one up to its first outcomes: one call rather than two."""
        self._iteration = 0
        self.reset_config(config)
        result: dict[str, Any] = self.train()
        return result

    def step(self) -> dict[str, Any]:
        outcomes = self.runner.step()
        if not outcomes:  # Ray then starts the trial on another worker
            raise RuntimeError("the trial before left something behind in this worker")
        return {"outcomes": outcomes}  # never `done`: the session says when a trial ends

    def cleanup(self) -> None:
        self.runner.close()

    def get_auto_filled_metrics(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """What our driver reads, rather than all that Ray would send with each result."""
        return {"hostname": platform.node(), "pid": os.getpid(), "node_ip": self._local_ip}

    def _setup_logdir(self) -> None:
        """No folder per trial: what a trial keeps is in the run directory."""
        self._logdir = str(Path.cwd())


def _stay(*arguments: Any, **options: Any) -> None:
    """In place of ray.shutdown: Ray's connection is not the trial's to end."""
