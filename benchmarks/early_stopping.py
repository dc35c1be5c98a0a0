"""Searches with early stopping at equal epochs: ours and ASHA against their peers.

LCBench's ten tables, one seed each, 4 workers: epochs (geometric mean, 3,000 where it was not reached) to
within 1 % of the best known, tables on which it was reached, and regret after 500 and 1,000 epochs of all
trials together.

                                   epochs   reached   regret at 500   1,000
    tuneapp + ASHA                  1,292     8           0.133       0.038
    tuneapp, no stopping            1,690     8           0.251       0.082
    Optuna TPE + halving            2,775     4           0.386       0.164
    Optuna TPE + Hyperband          3,000     0           0.481       0.257
    random + ASHA, Ray's defaults   3,000     0           0.128       0.088
    random + ASHA                   3,000     0           0.307       0.118
    random                          3,000     0           0.449       0.317

    python benchmarks/early_stopping.py run --seeds 1 --lcbench lcbench_10.npz
    python benchmarks/early_stopping.py report --lcbench lcbench_10.npz
"""

import argparse
import heapq
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import problems
from problems import CACHE, EPOCHS, LCBENCH_SPACE, Surrogate
from search_quality import SPREAD, Ours, Served, read, start_peer
from threadpoolctl import threadpool_limits

from tuneapp.replay import Rungs

WORKERS = 4
BUDGET = 3000  # epochs within which the target is to be reached: 60 full trials
CHECKPOINTS = (250, 500, 1000)  # epochs at which regret is read
TOLERANCE = 0.01  # of the way from the best known to the median random config


class Table:
    """What a trial of an LCBench table would report, and what is to be reached."""

    def __init__(self, name: str, surrogate: Surrogate) -> None:
        self.name, self.surrogate = name, surrogate
        file = CACHE / f"early-stopping-{name}.json"
        if not file.exists():
            rng = np.random.default_rng(7)
            curves = [surrogate.curve(problems.draw(LCBENCH_SPACE, rng)) for _ in range(20_000)]
            best, median = min(curve.min() for curve in curves), np.median([curve[-1] for curve in curves])
            target = best + TOLERANCE * (median - best)
            share = np.mean([curve.min() <= target for curve in curves])
            file.write_text(json.dumps({"best": float(best), "median": float(median), "share": float(share)}))
        known = json.loads(file.read_text())
        self.best, self.scale = known["best"], known["median"] - known["best"]
        self.share = known["share"]  # of random configs that ever report the target

    @property
    def target(self) -> float:
        return self.best + TOLERANCE * self.scale

    def curve(self, config: problems.Config) -> np.ndarray:
        return self.surrogate.curve(config)


def simulate(optimizer: Any, stops: Any, table: Table, seed: int, budget: int) -> dict[str, Any]:
    """Epochs of all trials until one first reported the target (None: not within the budget), regrets at
    CHECKPOINTS, trials begun, trials that ran to their end, and workers that waited, a mean over epochs.

    Four workers; an epoch of trial k lasts lognormal(0, SPREAD) units, k's own; asking takes none.
    """
    events: list[tuple[float, int, int]] = []  # time, trial, the epoch that ends then
    curves: dict[int, np.ndarray] = {}
    paces: dict[int, float] = {}
    regrets: dict[int, float] = {}
    best, reached, idle = math.inf, None, WORKERS
    epochs = full = waits = 0
    now = 0.0
    while epochs < budget:
        while idle and (asked := optimizer.ask()) is not None:
            number, config, _ = asked
            curves[number] = table.curve(config)
            paces[number] = math.exp(SPREAD * np.random.default_rng([seed, number]).standard_normal())
            heapq.heappush(events, (now + paces[number], number, 1))
            idle -= 1
        if not events:
            break
        waits += idle
        now, number, epoch = heapq.heappop(events)
        value = float(curves[number][epoch - 1])
        epochs += 1
        best = min(best, value)
        if best <= table.target and reached is None:
            reached = epochs
        if epochs in CHECKPOINTS:
            regrets[epochs] = (best - table.best) / table.scale
        ended, stopped = epoch == len(curves[number]), stops(number, epoch, value)
        if ended or stopped:
            full += ended
            optimizer.end(number, epoch, value, stopped=not ended)
            idle += 1
        else:
            optimizer.report(number, epoch, value)
            heapq.heappush(events, (now + paces[number], number, epoch + 1))
        if reached is not None and epochs >= CHECKPOINTS[-1]:
            break
    return {
        "epochs": reached,
        "regrets": regrets,
        "trials": len(curves),
        "full": full,
        "waits": waits / max(epochs, 1),
    }


class Told(Ours):
    """tuneapp's search told of every epoch."""

    def __init__(self, seed: int, scheduler: dict[str, Any], **settings: Any) -> None:
        from tuneapp.request import Metric, SchedulerSettings, SearchSettings
        from tuneapp.search import make_search
        from tuneapp.spaces import SearchSpace

        self.search = make_search(
            SearchSpace(LCBENCH_SPACE),
            Metric("value", "min"),
            SearchSettings(samples=10**6, seed=seed, **settings),
            SchedulerSettings(max_iterations=EPOCHS, **scheduler),
            WORKERS,
        )
        self.trials: list[Any] = []

    def report(self, number: int, epoch: int, value: float) -> None:
        self.trials[number].history.append({"value": value, "iteration": epoch})
        self.search.tell(self.trials[number])

    def end(self, number: int, epoch: int, value: float, stopped: bool) -> None:
        from tuneapp.studies import State

        self.trials[number].state = State.STOPPED if stopped else State.FINISHED
        self.report(number, epoch, value)


class Pruning(Served):
    """A peer with a pruner of its own."""

    def stops(self, number: int, epoch: int, value: float) -> bool:
        self._write({"report": number, "step": epoch, "value": value})
        assert self.process.stdout is not None
        return bool(json.loads(self.process.stdout.readline())["prune"])

    def report(self, number: int, epoch: int, value: float) -> None:
        """Told in `stops` already."""

    def end(self, number: int, epoch: int, value: float, stopped: bool) -> None:
        self._write({"prune": number} if stopped else {"tell": number, "value": value})


ASHA = {"type": "asha", "grace": 5, "reduction": 3}  # tuneapp's default: a tenth, then one in three
RAY = {"type": "asha", "grace": 1, "reduction": 4}  # Ray's default
OURS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # method -> scheduler, settings of the search
    "tuneapp+asha": (ASHA, {"warmup": 10}),
    "tuneapp+asha, Ray's defaults": (RAY, {"warmup": 10}),
    "tuneapp": ({"type": "none"}, {"warmup": 10}),
    "random": ({"type": "none"}, {"algorithm": "random"}),
    "random+asha": (ASHA, {"algorithm": "random"}),
    "random+asha, Ray's defaults": (RAY, {"algorithm": "random"}),
}
PEERS = {"optuna-tpe+hyperband", "optuna-tpe+halving"}


def run(arguments: argparse.Namespace) -> None:
    tables = [
        Table(name, surrogate) for name, (surrogate, _) in problems.surrogates(arguments.lcbench).items()
    ]
    for method in arguments.methods:
        file = arguments.results / f"{method}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        done = {(record["table"], record["seed"]) for record in read(file)}
        process = start_peer(method, arguments.peers) if method in PEERS else None
        try:
            for seed in range(arguments.seeds):
                for table in tables:
                    if (table.name, seed) in done:
                        continue
                    if process is not None:
                        problem = problems.Problem(table.name, "LCBench", LCBENCH_SPACE, lambda config: 0.0)
                        optimizer: Any = Pruning(process, problem, seed, 10**6)
                        stops = optimizer.stops
                    else:
                        scheduler, settings = OURS[method]
                        optimizer = Told(seed, scheduler, **settings)
                        stops = _asha(scheduler)
                    record = {"method": method, "table": table.name, "seed": seed}
                    record |= simulate(optimizer, stops, table, seed, BUDGET)
                    with file.open("a") as out:
                        out.write(json.dumps(record) + "\n")
        finally:
            if process is not None:
                process.kill()


def _asha(scheduler: dict[str, Any]) -> Any:
    if scheduler["type"] == "none":
        return lambda number, epoch, value: False
    rungs = Rungs(scheduler["grace"], scheduler["reduction"], EPOCHS)
    return lambda number, epoch, value: rungs.stops(str(number), epoch, -value)


def report(arguments: argparse.Namespace) -> None:
    """One line a method: epochs to the target (BUDGET where it was not reached), beside what random search
    without stopping needs on average (a trial's epochs over the share of random configs that reach it),
    and regrets.
    """
    fitted = problems.surrogates(arguments.lcbench)
    expected = {name: EPOCHS / Table(name, surrogate).share for name, (surrogate, _) in fitted.items()}
    print(
        "| method | runs | reached the target | epochs to it, geometric mean | of random's expected "
        "| regret at 250 | 500 | 1,000 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for file in sorted(arguments.results.glob("*.jsonl")):
        runs = read(file)
        epochs = [record["epochs"] or BUDGET for record in runs]
        ratio = [
            math.log(spent / expected[record["table"]]) for spent, record in zip(epochs, runs, strict=True)
        ]
        reached = sum(record["epochs"] is not None for record in runs)
        regrets = [np.mean([record["regrets"][str(n)] for record in runs]) for n in CHECKPOINTS]
        print(
            f"| {file.stem} | {len(runs)} | {reached} | {math.exp(np.mean(np.log(epochs))):,.0f} "
            f"| {math.exp(np.mean(ratio)):.3f} | {' | '.join(f'{regret:.3f}' for regret in regrets)} |"
        )
    print(
        "\nRandom search's expected epochs: " + ", ".join(f"{n} {e:,.0f}" for n, e in expected.items()) + "."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["run", "report"])
    parser.add_argument("--methods", nargs="+", default=[*OURS, *sorted(PEERS)])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--lcbench",
        type=Path,
        default=os.environ.get("LCBENCH"),
        required="LCBENCH" not in os.environ,
        help="lcbench_10.npz",
    )
    parser.add_argument("--results", type=Path, default=CACHE / "early-stopping")
    parser.add_argument("--peers", type=Path, default=Path("/opt"))
    options = parser.parse_args()
    with threadpool_limits(1):
        {"run": run, "report": report}[options.action](options)
