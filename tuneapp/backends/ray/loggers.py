"""Ray's own loggers, on request: they cost a third of the throughput."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ray.tune import Callback

from tuneapp.errors import UsageError, lookup


def _tensorboard(run: Path) -> Callback:
    from ray.tune.logger import TBXLoggerCallback

    class TensorBoard(TBXLoggerCallback):
        """Writes to the run directory, where Ray's trials have no folder."""

        def log_trial_start(self, trial: Any) -> None:
            if trial in self._trial_writer:
                self._trial_writer[trial].close()
            folder = run / "tensorboard" / f"{trial.config['trial']:05d}"
            self._trial_writer[trial] = self._summary_writer_cls(str(folder), flush_secs=30)
            self._trial_result[trial] = {}

    return TensorBoard()


def _mlflow(run: Path) -> Callback:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(
        tracking_uri=f"sqlite:///{run / 'mlflow.db'}", experiment_name=run.name, save_artifact=False
    )


def installed(name: str) -> bool:
    return find_spec(PACKAGES[name]) is not None


def check(names: list[str]) -> None:
    """Raises UsageError for what is no logger, or is not installed."""
    for name in names:
        lookup(name, LOGGERS, "logger")
    if "mlflow" in names and not installed("mlflow"):
        raise UsageError("`--log mlflow` needs the package mlflow; install tuneapp[mlflow].")


def build(names: list[str], run: Path) -> list[Callback]:
    return [lookup(name, LOGGERS, "logger")(run) for name in names]


PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}  # Ray Tune itself brings the first
LOGGERS: dict[str, Callable[[Path], Callback]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}
