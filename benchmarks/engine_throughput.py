"""Trials a second of a function that takes 1 ms, 2 trials at once: what each tool adds to a trial.

| 2 trials at once                              | trials | trials/s | whole, s |
|---|---|---|---|
| Ray Tune, defaults                            |     20 |     1.13 |     26.8 |
| Ray Tune, reuse_actors, its loggers off       |   1000 |    69.40 |     21.7 |
| Optuna, SQLite, 2 threads                     |   1000 |    69.94 |     15.8 |
| Optuna, in memory, 2 threads of one process   |   1000 |   800.54 |      1.6 |
| tuneapp, Ray, random                          |   1000 |    66.35 |     25.7 |
| tuneapp, Ray, bayes                           |   1000 |     9.32 |    116.6 |
| tuneapp, local, random                        |   1000 |   577.63 |      4.2 |
One run of each, one after the other, on 2 cores of an AMD EPYC: read ratios. Ray 2.60.0, Optuna 5.0.0, Python
3.11.7; `python benchmarks/engine_throughput.py`.

A throughput is trials / the time from the first trial's start to the last one's end; "whole" counts the
process from its start. Ray's defaults run few trials, for their rate does not change with the number.
    python benchmarks/engine_throughput.py [--trials 1000] [--only NAME ...] [--optuna-python PATH]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

AT_ONCE = 2
FEW = 20  # trials for set-ups that start a process for each


def score(x: float) -> float:
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:  # computes, rather than sleeps: a sleep of 1 ms takes longer
        pass
    return -((x - 0.3) ** 2)


def tuneapp_ray(trials: int) -> float:
    return _tuneapp(trials, "ray", "random")


def tuneapp_local(trials: int) -> float:
    return _tuneapp(trials, "local", "random")


def tuneapp_ray_bayes(trials: int) -> float:
    return _tuneapp(trials, "ray", "bayes")


def _tuneapp(trials: int, backend: str, search: str) -> float:
    import tuneapp

    if backend == "ray":
        from tuneapp.backends import ray  # noqa: F401 - sets what Ray reads when it is imported

        _start_ray()
    with tempfile.TemporaryDirectory() as folder:
        study = tuneapp.tune(
            score, {"x": tuneapp.Float(0, 1)}, samples=trials, search=search, backend=backend,
            runs_dir=folder, concurrent=AT_ONCE if backend == "local" else None, pictures=False, quiet=True,
        )  # fmt: skip
    assert study.counts()["finished"] == trials
    return max(t.ended or 0 for t in study.trials) - min(t.started or 0 for t in study.trials)


def ray_defaults(trials: int) -> float:
    return _ray(trials)


def ray_best(trials: int) -> float:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    return _ray(trials, reuse_actors=True)


def _ray(trials: int, **options: bool) -> float:
    import ray
    from ray import tune

    def timed(config: dict[str, float]) -> None:
        tune.report({"score": score(config["x"])})

    times: list[float] = []

    class Watch(tune.Callback):
        def on_trial_start(self, *args: object, **kwargs: object) -> None:
            times.append(time.time())

        def on_trial_complete(self, *args: object, **kwargs: object) -> None:
            times.append(time.time())

    _start_ray()
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            timed,
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, **options),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[Watch()]),
        ).fit()
    ray.shutdown()
    return max(times) - min(times)


def _start_ray() -> None:
    import ray

    ray.init(
        address="local", num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )


def optuna_memory(trials: int) -> float:
    return _optuna(trials, None)


def optuna_sqlite(trials: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _optuna(trials, f"sqlite:///{folder}/study.db")


def _optuna(trials: int, storage: str | None) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(0)
    )
    began = time.time()
    study.optimize(lambda trial: score(trial.suggest_float("x", 0, 1)), n_trials=trials, n_jobs=AT_ONCE)
    return time.time() - began


PEERS: dict[str, tuple[str, Callable[[int], float], bool]] = {
    "ray_defaults": ("Ray Tune, defaults", ray_defaults, True),
    "ray_best": ("Ray Tune, reuse_actors, its loggers off", ray_best, False),
    "optuna_sqlite": ("Optuna, SQLite, 2 threads", optuna_sqlite, False),
    "optuna_memory": ("Optuna, in memory, 2 threads of one process", optuna_memory, False),
    "tuneapp_ray": ("tuneapp, Ray, random", tuneapp_ray, False),
    "tuneapp_ray_bayes": ("tuneapp, Ray, bayes", tuneapp_ray_bayes, False),
    "tuneapp_local": ("tuneapp, local, random", tuneapp_local, False),
}


def measure(name: str, trials: int, python: str) -> dict[str, float]:
    """In a process of its own, as a user would run it."""
    began = time.time()
    answer = subprocess.run(
        [python, __file__, "--measure", name, "--trials", str(trials)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    seconds = json.loads(answer.stdout.splitlines()[-1])
    return {"trials": trials, "rate": trials / seconds, "whole": time.time() - began}


def versions() -> str:
    found = [f"python {platform.python_version()}"]
    for package in ("tuneapp", "ray", "optuna"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=list(PEERS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--optuna-python", default=sys.executable, help="of an environment that has Optuna")
    parser.add_argument("--measure")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(PEERS[arguments.measure][1](arguments.trials)))
        return
    print(f"{versions()}; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.0f}")
    print(f"| {'set-up':45} | trials | trials/s | whole, s |\n|---|---|---|---|")
    for _ in range(arguments.repeats):
        for name in arguments.only:
            words, _, slow = PEERS[name]
            try:
                python = arguments.optuna_python if name.startswith("optuna") else sys.executable
                found = measure(name, FEW if slow else arguments.trials, python)
            except subprocess.CalledProcessError as error:
                print(f"| {words:45} | failed: {error.stderr.splitlines()[-1]} |", flush=True)
                continue
            print(
                f"| {words:45} | {found['trials']:6.0f} | {found['rate']:8.2f} | {found['whole']:8.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
