"""The actor in which trials run: one iteration a call, reused by the next trial."""

from pathlib import Path
from typing import Any

import cloudpickle
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
        known = Request.from_json(request)
        if known.resources.address is not None:  # Ray has put a copy of the user's folder here
            known = tasks.moved(known, Path.cwd())
        passed = None if function is None else cloudpickle.loads(function)
        self.runner = Runner(known, Path(run), passed, client_actors.pool_of(known.resources))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.runner.begin(new_config["trial"], new_config["config"], new_config["seed"])
        return True

    def step(self) -> dict[str, Any]:
        return self.runner.step()

    def cleanup(self) -> None:
        self.runner.close()
