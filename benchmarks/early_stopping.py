"""Searches with early stopping at equal epochs: ours and ASHA against their peers.

LCBench's ten tables, 5 seeds each (SMAC, ours without stopping: 1), 4 workers; epochs of all trials together
to within 1 % of the best that 20,000 random configs give (geometric mean; what was not reached counts as all
that was spent), ours / theirs with a 95 % interval, runs that reached it, and regret after 1,000 and 3,000.

                                   epochs   ours / theirs              reached   regret at 1,000   3,000
    tuneapp + ASHA                  1,042                              46 of 50       0.063        0.022
    tuneapp, no stopping            1,740   0.61   (0.46 to 0.82)       8 of 10       0.117        0.038
    SMAC's Hyperband                2,908   0.37   (0.22 to 0.61)       8 of 10       0.178        0.069
    Optuna TPE + halving            3,370   0.31   (0.22 to 0.45)      28 of 50       0.166        0.085
    Optuna TPE + Hyperband          3,520   0.30   (0.19 to 0.49)      31 of 50       0.144        0.091
    random + ASHA, Ray's defaults  23,496   0.044  (0.031 to 0.065)    32 of 50       0.182        0.124
    random + ASHA                  68,676   0.015  (0.010 to 0.024)    50 of 50       0.253        0.161
    random                        275,035   0.0038 (0.0025 to 0.0058)  47 of 50       0.423        0.261

Seven AI6103 curves of 300 epochs, 400 orders of arrival: orders in which the winner runs to its end, and
epochs to within 1 % of its accuracy. A search has nothing to learn there: the rules that stop are compared.

    ours or random + ASHA       100 %   659 ± 12       Optuna's halving     100 %     611 ± 10
    random                      100 %   1,034 ± 26     Optuna's Hyperband   100 %     846 ± 19
    random, Ray's defaults       16 %   3,156, begun anew where the winner is lost

Versions, what is counted how, and what is not shown: benchmarks/README.md.

    python benchmarks/early_stopping.py run --lcbench lcbench_10.npz --ai6103 ai6103
    python benchmarks/early_stopping.py report --lcbench lcbench_10.npz --ai6103 ai6103
"""

import argparse
import heapq
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import problems
from problems import CACHE, EPOCHS, LCBENCH_SPACE, Config, Surrogate
from search_quality import ENVIRONMENTS, SPREAD, Ours, Served, interval, read, start_peer
from threadpoolctl import threadpool_limits

from tuneapp.analysis.replay import curves_of_folder
from tuneapp.search import make_search
from tuneapp.settings import Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import SearchSpace
from tuneapp.stopping import make_rule
from tuneapp.studies import Iteration, TrialState

WORKERS = 4
WITHIN = 0.01  # of the best known: a cross-entropy of 1.01 times it, an accuracy of 0.99 times it
EQUAL = 3000  # epochs that every run goes on for: 60 full trials
MOST = 6000  # epochs after which the target counts as not reached
MOST_OF_RANDOM = {  # the same for random configs, which cost no model
    "random": 2_000_000,
    "random+asha": 2_000_000,
    "random+asha, Ray's defaults": 100_000,  # 30,000 trials
}
CHECKPOINTS = (250, 500, 1000, EQUAL)  # epochs at which regret is read
AI6103_EPOCHS = 300

ASHA = {"type": "asha"}  # tuneapp's default: a tenth of the epochs, then one in three
RAY = {"type": "asha", "grace": 1, "reduction": 4}  # Ray's default
NONE = {"type": "none"}
OURS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # method -> scheduler, settings of the search
    "tuneapp+asha": (ASHA, {"warmup": 10}),
    "tuneapp+asha, Ray's defaults": (RAY, {"warmup": 10}),
    "tuneapp": (NONE, {"warmup": 10}),
    "random+asha": (ASHA, {"algorithm": "random"}),
    "random+asha, Ray's defaults": (RAY, {"algorithm": "random"}),
    "random": (NONE, {"algorithm": "random"}),
}
PEERS = {
    "optuna-tpe+halving": "peers",
    "optuna-tpe+hyperband": "peers",
    "smac+hyperband": "peers_smac",
}
ENVIRONMENTS |= PEERS


@dataclass(frozen=True)
class Table:
    """What a trial would report, lower is better, and what is to be reached."""

    name: str
    space: dict[str, dict[str, Any]]
    epochs: int
    curve: Callable[[Config], Any]  # [epochs]
    target: float


@dataclass(frozen=True)
class Reference:
    """What is known of an LCBench table, all values the best over a trial's epochs."""

    drawn: float  # the best of 20,000 random configs: of a million epochs
    known: float  # the best there is, as far as we know: from the best of them by small random steps
    sixty: float  # the best of 60 random configs, their median
    median: float  # of a random config after its last epoch

    @property
    def target(self) -> float:
        return (1 + WITHIN) * self.drawn


def reference(name: str, surrogate: Surrogate) -> Reference:
    file = CACHE / f"early-stopping-reference-{name}.json"
    if not file.exists():
        rng = np.random.default_rng(7)
        space = SearchSpace(LCBENCH_SPACE)

        def best(point: np.ndarray) -> float:
            return float(surrogate.curve(space.decode(point)).min())

        points = rng.random((20_000, len(LCBENCH_SPACE)))
        curves = np.array([surrogate.curve(space.decode(point)) for point in points])
        values = curves.min(axis=1)
        known = math.inf
        for start in np.argsort(values)[:10]:
            point, value = points[start], values[start]
            for _ in range(2000):
                step = 10 ** rng.uniform(-3, -0.5) * rng.standard_normal(len(point))
                near = np.where(rng.random(len(point)) < 0.4, np.clip(point + step, 0, 1), point)
                if (found := best(near)) < value:
                    point, value = near, found
            known = min(known, value)
        sixty = np.median(values[rng.integers(len(values), size=(4000, 60))].min(axis=1))
        numbers = (values.min(), known, sixty, np.median(curves[:, -1]))
        file.write_text(json.dumps([float(number) for number in numbers]))
    return Reference(*json.loads(file.read_text()))


def lcbench(file: Path) -> list[Table]:
    return [
        Table(name, LCBENCH_SPACE, EPOCHS, surrogate.curve, reference(name, surrogate).target)
        for name, (surrogate, _) in problems.surrogates(file).items()
    ]


def ai6103(folder: Path) -> tuple[Table, str]:
    """Seven configs, their errors in per cent, and the winner: the one with the highest last accuracy."""
    curves = {curve.name: curve for curve in curves_of_folder(folder, Metric("Valid Accuracy"))}
    errors = {name: [100 - score for _, score in curve.points] for name, curve in curves.items()}
    best = 100 - min(map(min, errors.values()))
    space = {"curve": {"type": "categorical", "choices": list(curves)}}
    table = Table(
        "ai6103", space, AI6103_EPOCHS, lambda config: errors[config["curve"]], 100 - (1 - WITHIN) * best
    )
    return table, max(curves, key=lambda name: curves[name].final)


def simulate(
    optimizer: Any, stops: Any, table: Table, seed: int, equal: float, most: float
) -> dict[str, Any]:
    """Run until the target is reached and `equal` epochs are spent, or until `most` are, or nothing is left.

    Returns the best value after so many epochs of all trials, where it changed; the epochs, the trials and
    those that ran to their end; their configs; and the workers that waited, a mean over epochs. Four
    workers; an epoch of trial k lasts lognormal(0, SPREAD) units, k's own; asking takes none.
    """
    events: list[tuple[float, int, int]] = []  # time, trial, the epoch that ends then
    curves: dict[int, list[float]] = {}
    paces: dict[int, float] = {}
    full: list[Config] = []
    configs: dict[int, Config] = {}
    steps: list[tuple[int, float]] = []
    best, idle, epochs, waits, now = math.inf, WORKERS, 0, 0, 0.0
    while epochs < most and (best > table.target or epochs < equal):
        while idle and (asked := optimizer.ask()) is not None:
            number, configs[number], behind = asked
            curves[number] = list(table.curve(configs[number]))
            paces[number] = math.exp(SPREAD * np.random.default_rng([seed, number]).standard_normal())
            heapq.heappush(events, (now + paces[number], number, behind + 1))
            idle -= 1
        if not events:
            break
        waits += idle
        now, number, epoch = heapq.heappop(events)
        value = float(curves[number][epoch - 1])
        epochs += 1
        if value < best:
            best = value
            steps.append((epochs, best))
        ended, stopped = epoch == table.epochs, stops(number, epoch, value)
        if ended or stopped:
            if ended:
                full.append(configs[number])
            optimizer.end(number, epoch, value, stopped=not ended)
            del curves[number], configs[number]
            idle += 1
        else:
            optimizer.report(number, epoch, value)
            heapq.heappush(events, (now + paces[number], number, epoch + 1))
    return {
        "steps": steps,
        "spent": epochs,
        "trials": len(paces),
        "full": len(full),
        "waits": waits / max(epochs, 1),
        "ended": full if table.name == "ai6103" else [],
    }


class Told(Ours):
    """tuneapp's search told of every epoch."""

    def __init__(
        self, table: Table, seed: int, samples: int, scheduler: dict[str, Any], **settings: Any
    ) -> None:
        self.search = make_search(
            SearchSpace(table.space),
            Metric("value", "min"),
            SearchSettings(samples=samples, seed=seed, **settings),
            SchedulerSettings(max_iterations=table.epochs, **scheduler),
            WORKERS,
        )
        self.trials: list[Any] = []

    def ask(self) -> Any:
        asked = super().ask()
        return None if asked is None else (*asked[:2], 0)

    def report(self, number: int, epoch: int, value: float) -> None:
        self.trials[number].history.append(Iteration(epoch, 0.0, {"value": value}))
        self.search.tell(self.trials[number])

    def end(self, number: int, epoch: int, value: float, stopped: bool) -> None:
        self.trials[number].state = TrialState.STOPPED if stopped else TrialState.FINISHED
        self.report(number, epoch, value)


class Drawn:
    """Random configs, without a list of trials: there may be tens of thousands."""

    def __init__(self, space: dict[str, dict[str, Any]], seed: int) -> None:
        self.space, self.rng, self.number = space, np.random.default_rng(seed), -1

    def ask(self) -> tuple[int, Config, int]:
        self.number += 1
        return self.number, problems.draw(self.space, self.rng), 0

    def report(self, number: int, epoch: int, value: float) -> None:
        """Chance learns nothing."""

    def end(self, number: int, epoch: int, value: float, stopped: bool) -> None:
        """Chance learns nothing."""


class Pruning(Served):
    """A peer with a pruner of its own. Where there is an `order`, trials take their configs from it, not
    from the peer."""

    def __init__(self, process: Any, table: Table, seed: int, order: list[Config] | None = None) -> None:
        self.process, self.order = process, order
        self._write({"space": table.space, "seed": seed, "samples": 10**6, "epochs": table.epochs})

    def ask(self) -> Any:
        if self.order is not None and not self.order:
            return None
        self._write({"ask": True})
        answer = self._answer()
        return answer["number"], self.order.pop() if self.order else answer["config"], answer["behind"]

    def stops(self, number: int, epoch: int, value: float) -> bool:
        self._write({"report": number, "step": epoch, "value": value})
        return bool(self._answer()["prune"])

    def report(self, number: int, epoch: int, value: float) -> None:
        """Told in `stops` already."""

    def end(self, number: int, epoch: int, value: float, stopped: bool) -> None:
        self._write({"prune": number} if stopped else {"tell": number, "value": value})

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def run(arguments: argparse.Namespace) -> None:
    """What is there already is kept; each run is a line of its method's file."""
    tables = lcbench(arguments.lcbench) if arguments.lcbench else []
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    jobs = [(seed, table) for seed in seeds for table in tables]
    if arguments.ai6103:
        curves, _ = ai6103(arguments.ai6103)
        jobs += [(arguments.first_seed + k, curves) for k in range(arguments.orders)]
    for method in arguments.methods:
        file = arguments.results / f"{method}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        done = {(record["table"], record["seed"]) for record in read(file)}
        left = [(seed, table) for seed, table in jobs if (table.name, seed) not in done]
        process = start_peer(method, arguments.peers) if method in PEERS and left else None
        try:
            for seed, table in left:
                if table.name == "ai6103" and method == "smac+hyperband":
                    continue  # it would come back to configs that it stopped: an arrival order says nothing
                record = {"method": method, "table": table.name, "seed": seed}
                record |= _simulated(method, table, seed, process)
                with file.open("a") as out:
                    out.write(json.dumps(record) + "\n")
        finally:
            if process is not None:
                process.kill()


def _simulated(method: str, table: Table, seed: int, process: Any) -> dict[str, Any]:
    finite = table.name == "ai6103"
    order = None
    if finite:
        choices = table.space["curve"]["choices"]
        order = [{"curve": choices[k]} for k in np.random.default_rng(seed).permutation(len(choices))]
    equal, most = (math.inf, math.inf) if finite else (EQUAL, MOST)
    if method in PEERS:
        peer = Pruning(process, table, seed, order)
        return simulate(peer, peer.stops, table, seed, equal, most)
    scheduler, settings = OURS[method]
    if method in MOST_OF_RANDOM and not finite:
        optimizer: Any = Drawn(table.space, seed)
        most = MOST_OF_RANDOM[method]
    elif finite:
        own = {key: value for key, value in settings.items() if key != "warmup"}
        optimizer = Told(table, seed, len(table.space["curve"]["choices"]), scheduler, **own)
    else:
        optimizer = Told(table, seed, 10**6, scheduler, **settings)
    return simulate(optimizer, _stopping(scheduler, table.epochs), table, seed, equal, most)


def _stopping(scheduler: dict[str, Any], epochs: int) -> Callable[[int, int, float], bool]:
    rule = make_rule(SchedulerSettings(max_iterations=epochs, **scheduler))
    return lambda number, epoch, value: rule.report(number, epoch, -value) is not None


def report(arguments: argparse.Namespace) -> None:
    """Both tables. Epochs are geometric means; a run that did not get there counts as all that it spent."""
    records = {
        file.stem: [r for r in read(file) if r["seed"] >= arguments.first_seed]
        for file in sorted(arguments.results.glob("*.jsonl"))
    }
    if arguments.lcbench:
        known = {
            name: reference(name, surrogate)
            for name, (surrogate, _) in problems.surrogates(arguments.lcbench).items()
        }
        _report_lcbench(
            {method: [r for r in runs if r["table"] in known] for method, runs in records.items()}, known
        )
    if arguments.ai6103:
        table, winner = ai6103(arguments.ai6103)
        _report_ai6103(
            {method: [r for r in runs if r["table"] == "ai6103"] for method, runs in records.items()},
            table,
            winner,
        )


def _report_lcbench(records: dict[str, list[dict[str, Any]]], known: dict[str, Reference]) -> None:
    targets: list[Callable[[Reference], float]] = [lambda r: r.sixty, lambda r: r.target]
    print(
        "| method | runs | epochs to random's 60 trials | ours / theirs, 95 % "
        "| epochs to within 1 % | reached | ours / theirs, 95 % | ours sooner "
        "| within 1 % of the lowest known, by 3,000 "
        "| regret at 250 | 500 | 1,000 | 3,000 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    for method, runs in records.items():
        if not runs:
            continue
        cells = []
        for position, target in enumerate(targets):
            spent = {(r["table"], r["seed"]): _reached(r, target(known[r["table"]])) for r in runs}
            ours = {
                (r["table"], r["seed"]): _reached(r, target(known[r["table"]]))
                for r in records["tuneapp+asha"]
            }
            middle = math.exp(np.mean([math.log(epochs) for epochs, _ in spent.values()]))
            reached = sum(there for _, there in spent.values())
            compared = method != "tuneapp+asha"
            cells += [f"{middle:,.0f}", *([str(reached)] if position else [])]
            cells += [_ratio(ours, spent) if compared else ""]
            cells += [f"{_sooner(ours, spent):.0%}" if compared else ""] if position else []
        strict = sum(_reached(r, (1 + WITHIN) * known[r["table"]].known, EQUAL)[1] for r in runs)
        regrets = [np.mean([_regret(r, known[r["table"]], epochs) for r in runs]) for epochs in CHECKPOINTS]
        rows.append(
            (
                regrets[-1],
                f"| {method} | {len(runs)} | {' | '.join(cells)} | {strict} "
                f"| {' | '.join(f'{regret:.3f}' for regret in regrets)} |",
            )
        )
    for _, row in sorted(rows):
        print(row)


def _reached(record: dict[str, Any], target: float, most: float = math.inf) -> tuple[int, bool]:
    """The epochs at which the run came to the target, or all that it spent, and whether it came there."""
    for epochs, value in record["steps"]:
        if value <= target and epochs <= most:
            return epochs, True
    return record["spent"], False


def _regret(record: dict[str, Any], known: Reference, epochs: int) -> float:
    best = min((value for at, value in record["steps"] if at <= epochs), default=math.inf)
    return (best - known.known) / (known.median - known.known)


def _ratio(ours: dict[Any, tuple[int, bool]], theirs: dict[Any, tuple[int, bool]]) -> str:
    """Ours / theirs on the runs that both have, and its interval: tables are drawn and, in them, seeds."""
    gaps: dict[str, list[float]] = {}
    for key in sorted(ours.keys() & theirs.keys()):
        gaps.setdefault(key[0], []).append(math.log(ours[key][0] / theirs[key][0]))
    tables = [np.array(gaps[name]) for name in sorted(gaps)]
    low, high = np.exp(interval(tables))
    return f"{math.exp(np.mean([gap.mean() for gap in tables])):.3g}, {low:.2g} to {high:.2g}"


def _sooner(ours: dict[Any, tuple[int, bool]], theirs: dict[Any, tuple[int, bool]]) -> float:
    """The share of pairs in which ours came there first; half where neither or both did."""
    never = math.inf
    pairs = [
        (ours[key][0] if ours[key][1] else never, theirs[key][0] if theirs[key][1] else never)
        for key in ours.keys() & theirs.keys()
    ]
    return float(np.mean([0.5 if a == b else float(a < b) for a, b in pairs]))


def _report_ai6103(records: dict[str, list[dict[str, Any]]], table: Table, winner: str) -> None:
    """A study that misses the target is begun anew, in another order: its epochs are added in expectation."""
    print(
        "\n| method | orders | winner runs to its end | study comes within 1 % of the best "
        "| epochs to it where it does, ± standard error | begun anew where it does not | epochs of a study |"
        "\n|---|---|---|---|---|---|---|"
    )
    for method, runs in records.items():
        if not runs:
            continue
        kept = np.mean([{"curve": winner} in record["ended"] for record in runs])
        spent = [_reached(record, table.target) for record in runs]
        hits = [epochs for epochs, there in spent if there]
        misses = [epochs for epochs, there in spent if not there]
        error = np.std(hits) / math.sqrt(len(hits))
        anew = np.mean(hits) + sum(misses) / len(hits)
        print(
            f"| {method} | {len(runs)} | {kept:.0%} | {len(hits) / len(runs):.0%} "
            f"| {np.mean(hits):,.0f} ± {error:,.0f} | {anew:,.0f} "
            f"| {np.mean([record['spent'] for record in runs]):,.0f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["run", "report"])
    parser.add_argument("--methods", nargs="+", default=[*OURS, *PEERS])
    parser.add_argument("--seeds", type=int, default=5, help="of each LCBench table")
    parser.add_argument("--orders", type=int, default=400, help="in which the seven curves arrive")
    parser.add_argument("--first-seed", type=int, default=100, help="the search was built on seeds below")
    parser.add_argument("--lcbench", type=Path, default=os.environ.get("LCBENCH"), help="lcbench_10.npz")
    parser.add_argument("--ai6103", type=Path, help="folder of the seven curves")
    parser.add_argument("--results", type=Path, default=CACHE / "early-stopping")
    parser.add_argument("--peers", type=Path, default=Path("/opt"), help="folder of the peers' environments")
    options = parser.parse_args()
    with threadpool_limits(1):
        {"run": run, "report": report}[options.action](options)
