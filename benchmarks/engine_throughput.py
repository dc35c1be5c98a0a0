"""What a driver spends on a trial, as their number grows, and trials a second: a function that takes 1 ms.

| 2 trials at once | trials | trials/s | CPU ms per trial at 1,000 / 5,000 / 10,000 | MB there | on disk |
|---|---|---|---|---|---|
| tuneapp, local, random | 1000 | 743.3 | 0.59 | 140 | 13 files, 1.7 MB |
| tuneapp, Ray, random | 1000 | 199.6 and 220.2 | 1.76 and 1.45 | 248 | 13 files, 1.7 MB |
| Ray Tune, random, class, best settings | 1000 | 78.0 and 116.4 | 6.89 and 6.23 | 258 | 1005 files, 9.7 MB |
| tuneapp, local, random | 10000 | 645.4 | 0.72 / 0.67 / 0.78 | 140 / 149 / 158 | 13 files, 8.0 MB |
| the same again | 10000 | 587.1 | 0.78 / 0.64 / 0.83 | 140 / 149 / 158 | 13 files, 8.0 MB |
| tuneapp, Ray, random | 10000 | 307.8 | 1.39 / 1.58 / 1.73 | 248 / 257 / 266 | 13 files, 8.0 MB |
| the same again | 10000 | 332.9 | 1.44 / 1.42 / 1.32 | 248 / 257 / 267 | 13 files, 8.0 MB |
| the same again | 10000 | 236.0 | 2.05 / 2.06 / 2.35 | 247 / 256 / 266 | 13 files, 8.0 MB |
| Ray Tune, random, class, best settings | 5000 | 32.8 | 8.42 / 8.74 | 261 / 366 | 5005 files, 48.8 MB |
| tuneapp, local, bayes | 100 | 37.5 | | | 13 files, 0.7 MB |
| tuneapp, Ray, bayes | 100 | 16.1 | | | 13 files, 0.7 MB |

Of 1,000 trials: rounds of the three in turn, of which two are shown. On 2 cores of an AMD EPYC with
nothing else running (load 0 to 2), but Ray Tune's 5,000 trials at load 6 to 12: there, read CPU and memory
alone. Ray 2.60.0, Python 3.11.7; the commands are in benchmarks/README.md.

A throughput is trials / the time from the first trial's end to the last one's. CPU is that of the driver's
process per trial, over the 800 trials before the mark; memory is its resident set there. Files and bytes
are what it has left of its own on disk when it ends: the run directory, for Ray Tune its storage path.
    python benchmarks/engine_throughput.py [--trials 1000] [--only NAME ...] [--repeats 1]
        [--optuna-python PATH]
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

AT_ONCE = 2
FEW = 20  # trials for set-ups that start a process for each
MARKS = (1000, 5000, 10_000)
WINDOW = 800  # trials over which CPU seconds are averaged


def score(x: float) -> float:
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:  # computes, rather than sleeps: a sleep of 1 ms takes longer
        pass
    return -((x - 0.3) ** 2)


@dataclass
class Meter:
    """Notes the driver's time, CPU seconds and memory as trials end."""

    marks: list[int]
    ended: int = 0
    first: float = 0.0
    last: float = 0.0
    cpu: dict[int, float] = field(default_factory=dict)
    memory: dict[int, float] = field(default_factory=dict)  # MB
    files: int = 0
    megabytes: float = 0.0

    def trial_ended(self, *arguments: Any, **details: Any) -> None:
        self.ended += 1
        self.last = time.monotonic()
        if self.ended == 1:
            self.first = self.last
        if self.ended in self.marks or self.ended + WINDOW in self.marks:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            self.cpu[self.ended] = usage.ru_utime + usage.ru_stime
        if self.ended in self.marks:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.memory[self.ended] = pages * resource.getpagesize() / 1e6

    def weigh(self, folder: Path) -> None:
        files = list(folder.rglob("*"))
        self.files = len(files)
        self.megabytes = sum(path.stat().st_size for path in files if path.is_file()) / 1e6

    def results(self) -> dict[str, Any]:
        return {
            "rate": (self.ended - 1) / (self.last - self.first),
            "cpu": [1e3 * (self.cpu[m] - self.cpu[m - WINDOW]) / WINDOW for m in self.cpu if m in self.marks],
            "memory": list(self.memory.values()),
            "files": self.files,
            "megabytes": self.megabytes,
        }


def tuneapp_ray(trials: int, meter: Meter) -> None:
    _tuneapp(trials, meter, "ray", "random")


def tuneapp_local(trials: int, meter: Meter) -> None:
    _tuneapp(trials, meter, "local", "random")


def tuneapp_ray_bayes(trials: int, meter: Meter) -> None:
    _tuneapp(trials, meter, "ray", "bayes")


def tuneapp_local_bayes(trials: int, meter: Meter) -> None:
    _tuneapp(trials, meter, "local", "bayes")


def _tuneapp(trials: int, meter: Meter, backend: str, search: str) -> None:
    import tuneapp

    with tempfile.TemporaryDirectory() as folder:
        study = tuneapp.tune(
            score, {"x": tuneapp.Float(0, 1)}, samples=trials, search=search, backend=backend,
            runs_dir=Path(folder), concurrent=AT_ONCE, pictures=False, quiet=True,
            callbacks=[meter.trial_ended],
        )  # fmt: skip
        meter.weigh(Path(folder))
    assert study.counts()["finished"] == trials


def ray_defaults(trials: int, meter: Meter) -> None:
    from ray import tune

    def timed(config: dict[str, float]) -> None:
        tune.report({"score": score(config["x"])})

    _ray(timed, trials, meter)


def ray_best(trials: int, meter: Meter) -> None:
    """A class, so that its process serves the next trial; no loggers, no state written while it runs."""
    os.environ |= {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    from ray import tune

    class Timed(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"score": score(self.config["x"]), "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

    _ray(Timed, trials, meter, reuse_actors=True)


def _ray(trainable: Any, trials: int, meter: Meter, **options: bool) -> None:
    import ray
    from ray import tune

    class Watch(tune.Callback):
        on_trial_complete = staticmethod(meter.trial_ended)

    ray.init(
        address="local", num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, **options),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                callbacks=[Watch()],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        meter.weigh(Path(folder))
    ray.shutdown()


def optuna_memory(trials: int, meter: Meter) -> None:
    _optuna(trials, meter, None)


def optuna_sqlite(trials: int, meter: Meter) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _optuna(trials, meter, f"sqlite:///{folder}/study.db")
        meter.weigh(Path(folder))


def _optuna(trials: int, meter: Meter, storage: str | None) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(0)
    )
    study.optimize(
        lambda trial: score(trial.suggest_float("x", 0, 1)),
        n_trials=trials,
        n_jobs=AT_ONCE,
        callbacks=[meter.trial_ended],
    )


PEERS: dict[str, tuple[str, Callable[[int, Meter], None], bool]] = {
    "tuneapp_local": ("tuneapp, local, random", tuneapp_local, False),
    "tuneapp_ray": ("tuneapp, Ray, random", tuneapp_ray, False),
    "ray_best": ("Ray Tune, random, class, best settings", ray_best, False),
    "tuneapp_local_bayes": ("tuneapp, local, bayes", tuneapp_local_bayes, False),
    "tuneapp_ray_bayes": ("tuneapp, Ray, bayes", tuneapp_ray_bayes, False),
    "ray_defaults": ("Ray Tune, random, function, defaults", ray_defaults, True),
    "optuna_sqlite": ("Optuna, SQLite, 2 threads", optuna_sqlite, False),
    "optuna_memory": ("Optuna, in memory, 2 threads", optuna_memory, False),
}
USUAL = ["tuneapp_local", "tuneapp_ray", "ray_best"]


def measure(name: str, trials: int, python: str) -> dict[str, Any]:
    """In a process of its own, as a user would run it."""
    answer = subprocess.run(
        [python, __file__, "--measure", name, "--trials", str(trials)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def versions() -> str:
    found = [f"python {platform.python_version()}"]
    for package in ("tuneapp", "ray", "optuna"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def row(words: str, trials: int, found: dict[str, Any]) -> str:
    cpu = " / ".join(f"{each:.2f}" for each in found["cpu"])
    memory = " / ".join(f"{each:.0f}" for each in found["memory"])
    disk = f"{found['files']} files, {found['megabytes']:.1f} MB"
    return f"| {words:38} | {trials:6} | {found['rate']:6.1f} | {cpu:20} | {memory:15} | {disk} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=USUAL, choices=PEERS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--optuna-python", default=sys.executable, help="of an environment that has Optuna")
    parser.add_argument("--measure", choices=PEERS)
    arguments = parser.parse_args()
    if arguments.measure:
        meter = Meter([mark for mark in MARKS if mark <= arguments.trials])
        PEERS[arguments.measure][1](arguments.trials, meter)
        print(json.dumps(meter.results()))
        return
    print(f"{versions()}; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.0f}")
    marks = " / ".join(f"{mark:,}" for mark in MARKS if mark <= arguments.trials)
    print(
        f"| {AT_ONCE} trials at once | trials | trials/s | CPU ms per trial at {marks} | MB there | on disk |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for _ in range(arguments.repeats):
        for name in arguments.only:
            words, _, slow = PEERS[name]
            trials = FEW if slow else arguments.trials
            try:
                python = arguments.optuna_python if name.startswith("optuna") else sys.executable
                print(row(words, trials, measure(name, trials, python)), flush=True)
            except subprocess.CalledProcessError as error:
                print(f"| {words:38} | failed: {error.stderr.splitlines()[-1]} |", flush=True)


if __name__ == "__main__":
    main()
