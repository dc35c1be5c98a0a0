"""Searches at equal numbers of evaluations: ours against its peers.

Mean normalised regret (0 = best known, 1 = median of random search) on 27 problems, seeds 100 and up (the
search was built on lower ones), and ours on the same runs; intervals of the difference (theirs - ours),
families, versions and what is not shown: benchmarks/README.md.

    30 evaluations, in sequence       theirs  ours   seeds   95 % interval
    tuneapp                                   0.247  20
    Ax                                0.292   0.266  4-5     -0.031 to +0.090
    HEBO                              0.315   0.259  4       -0.011 to +0.134
    scikit-optimize                   0.334   0.276  5       -0.013 to +0.129
    Optuna GP                         0.348   0.247  20      +0.050 to +0.165
    bayesian-optimization 3.4         0.469   0.288  1       -0.031 to +0.406
    Optuna TPE                        0.672   0.247  20      +0.342 to +0.510
    SMAC                              0.784   0.300  3       +0.296 to +0.676
    Sobol                             1.033   0.247  20      +0.682 to +0.894
    random                            1.122   0.247  20      +0.743 to +1.019
    Ray BayesOptSearch                2.452   0.276  4       +0.591 to +5.255
    30 evaluations, 4 in flight
    tuneapp                                   0.347  20
    Ax                                0.376   0.337  2       -0.059 to +0.134
    Optuna GP                         0.424   0.340  16      +0.024 to +0.153
    Optuna TPE                        0.690   0.347  20      +0.268 to +0.422
    100 evaluations, in sequence
    tuneapp                                   0.145  8
    Optuna GP                         0.167   0.163  2       -0.085 to +0.077
    Optuna TPE                        0.394   0.145  8-10    +0.194 to +0.342

    export LCBENCH=lcbench_10.npz
    python benchmarks/search_quality.py run --methods tuneapp optuna-gp --first-seed 100
    python benchmarks/search_quality.py report --first-seed 100 --plot benchmarks/search_quality.png
"""

import argparse
import heapq
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import problems
from problems import CACHE, FAMILIES, Config, Problem
from threadpoolctl import threadpool_limits

from tuneapp.search.bayes import propose

ENVIRONMENTS = {  # of the peers, below --peers
    "optuna-tpe": "peers",
    "optuna-gp": "peers",
    "scikit-optimize": "peers",
    "bayesian-optimization": "peers",
    "optuna-tpe+hyperband": "peers",  # in early_stopping.py
    "optuna-tpe+halving": "peers",
    "ray-bayesopt": "peers_bo1",
    "smac": "peers_smac",
    "ax": "peers_ax",
    "hebo": "peers_hebo",
}
SPREAD = 0.3  # standard deviation of the logarithm of a trial's duration, where trials run side by side


class Ours:
    """tuneapp's search, driven as the engine drives it."""

    def __init__(
        self, problem: Problem, seed: int, evaluations: int, in_flight: int, **settings: Any
    ) -> None:
        from tuneapp.search import make_search
        from tuneapp.settings import Metric, SchedulerSettings, SearchSettings
        from tuneapp.spaces import SearchSpace

        self.search = make_search(
            SearchSpace(problem.space),
            Metric("value", "min"),
            SearchSettings(samples=evaluations, seed=seed, **settings),
            SchedulerSettings(type="none"),
            in_flight,
        )
        self.trials: list[Any] = []

    def ask(self) -> tuple[int, Config, float] | None:
        from tuneapp.studies import Trial

        start = time.process_time()
        proposal = self.search.ask()
        if proposal is None:
            return None
        trial = Trial(len(self.trials), proposal.config, proposal.origin, proposal.seed)
        self.trials.append(trial)
        self.search.tell(trial)
        return trial.number, proposal.config, time.process_time() - start

    def tell(self, number: int, value: float) -> None:
        from tuneapp.studies import Iteration, TrialState

        trial = self.trials[number]
        trial.state = TrialState.DIVERGED if math.isnan(value) else TrialState.FINISHED
        trial.history = [] if math.isnan(value) else [Iteration(1, 0.0, {"value": value})]
        self.search.tell(trial)

    def close(self) -> None:
        """Nothing to end."""


class Served:
    """A peer in its own environment, on a pipe."""

    def __init__(
        self, process: "subprocess.Popen[str]", problem: Problem, seed: int, evaluations: int
    ) -> None:
        self.process = process
        self._write({"space": problem.space, "seed": seed, "samples": evaluations})

    def ask(self) -> tuple[int, Config, float]:
        self._write({"ask": True})
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the peer died")
        answer = json.loads(line)
        return answer["number"], answer["config"], answer["seconds"]

    def tell(self, number: int, value: float) -> None:
        self._write({"tell": number, "value": None if math.isnan(value) else value})

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()


OURS: dict[str, dict[str, Any]] = {  # method -> settings
    "tuneapp": {},
    "tuneapp-async": {"deterministic": False},
    "random": {"algorithm": "random"},
    "sobol": {"warmup": 10**6},
}


def simulate(optimizer: Any, problem: Problem, seed: int, evaluations: int, in_flight: int) -> dict[str, Any]:
    """Values in order of asking, CPU seconds of each ask, and the time beside work / workers.

    Trials last lognormal(0, SPREAD) units, the same for every method; asking takes none.
    """
    running: list[tuple[float, int]] = []
    values: dict[int, float] = {}
    seconds: list[float] = []
    clock, busy, last = 0.0, 0.0, 0.0
    waiting: dict[int, float] = {}
    while len(values) < evaluations:
        while len(running) < in_flight and len(values) + len(running) < evaluations:
            asked = optimizer.ask()
            if asked is None:
                break
            number, config, spent = asked
            duration = math.exp(SPREAD * np.random.default_rng([seed, len(seconds)]).standard_normal())
            waiting[number] = problem.evaluate(config)
            seconds.append(spent)
            busy += duration
            heapq.heappush(running, (clock + duration, number))
        clock, number = heapq.heappop(running)
        last = max(last, clock)
        values[number] = waiting.pop(number)
        optimizer.tell(number, values[number])
    in_order = [values[number] for number in sorted(values)]
    return {
        "values": [None if math.isnan(value) else value for value in in_order],
        "seconds": [round(second, 5) for second in seconds],
        "span": last / (busy / in_flight),
    }


def run(arguments: argparse.Namespace) -> None:
    chosen = problems.problems(arguments.lcbench)
    if arguments.problems:
        chosen = {
            n: p for n, p in chosen.items() if n in arguments.problems or p.family in arguments.problems
        }
    for method in arguments.methods:
        file = arguments.results / f"{method}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        done = {key(record) for record in read(file)}
        process = None
        try:
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                for problem in chosen.values():
                    record = {
                        "method": method, "problem": problem.name, "seed": seed,
                        "in_flight": arguments.in_flight, "evaluations": arguments.evaluations,
                    }  # fmt: skip
                    if key(record) in done:
                        continue
                    if method in ENVIRONMENTS:
                        if process is None or process.poll() is not None:
                            process = start_peer(method, arguments.peers)
                        optimizer: Any = Served(process, problem, seed, arguments.evaluations)
                    else:
                        optimizer = Ours(
                            problem, seed, arguments.evaluations, arguments.in_flight, **OURS[method]
                        )
                    try:
                        record |= simulate(
                            optimizer, problem, seed, arguments.evaluations, arguments.in_flight
                        )
                    except RuntimeError as error:
                        print(f"{method} on {problem.name}, seed {seed}: {error}", file=sys.stderr)
                        continue
                    with file.open("a") as out:
                        out.write(json.dumps(record) + "\n")
        finally:
            if process is not None:
                process.kill()


def start_peer(method: str, peers: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            str(peers / ENVIRONMENTS[method] / "bin" / "python"),
            str(Path(__file__).with_name("peers.py")),
            method,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if not os.environ.get("PEER_ERRORS") else None,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("method", "problem", "seed", "in_flight", "evaluations"))


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def regrets(records: list[dict[str, Any]], chosen: dict[str, Problem], evaluations: int) -> dict[str, Any]:
    """method -> problem -> seed -> [evaluations] normalised regret after each evaluation."""
    best = {name: problems.reference(problem)["best"] for name, problem in chosen.items()}
    for record in records:
        if record["problem"] in best:
            finite = [v for v in record["values"] if v is not None]
            best[record["problem"]] = min([best[record["problem"]], *finite])
    found: dict[str, Any] = {}
    for record in records:
        name = record["problem"]
        if name not in chosen:
            continue
        values = np.array([math.inf if v is None else v for v in record["values"]], dtype=float)[:evaluations]
        scale = problems.reference(chosen[name])[str(evaluations)] - best[name]
        curve = (np.minimum.accumulate(values) - best[name]) / scale
        found.setdefault(record["method"], {}).setdefault(name, {})[record["seed"]] = curve
    return found


def report(arguments: argparse.Namespace) -> None:
    """The table of one setting (evaluations, in flight), against our method on the runs that both have."""
    chosen = problems.problems(arguments.lcbench)
    records = [
        record
        for file in sorted(arguments.results.glob("*.jsonl"))
        for record in read(file)
        if record["in_flight"] == arguments.in_flight
        and record["evaluations"] == arguments.evaluations
        and record["seed"] >= arguments.first_seed
    ]
    found = regrets(records, chosen, arguments.evaluations)
    ours = found[arguments.ours]
    print(
        "| method | runs | all | " + " | ".join(FAMILIES) + " | minus ours, 95 % | ours wins | CPU s an ask |"
    )
    print("|---|---|---|" + "---|" * (len(FAMILIES) + 3))
    rows = []
    for method, by_problem in found.items():
        cells = {name: np.mean([c[-1] for c in seeds.values()]) for name, seeds in by_problem.items()}
        pairs = {
            name: np.array([[seeds[k][-1], ours[name][k][-1]] for k in seeds if k in ours.get(name, {})])
            for name, seeds in by_problem.items()
        }
        pairs = {name: values for name, values in pairs.items() if len(values)}
        gaps = [values[:, 0] - values[:, 1] for values in pairs.values()]
        low, high = interval(gaps) if method != arguments.ours and pairs else (0.0, 0.0)
        together = np.vstack(list(pairs.values()))
        won = np.mean((together[:, 1] < together[:, 0]) + 0.5 * (together[:, 1] == together[:, 0]))
        matched = {name: values[:, 1].mean() for name, values in pairs.items()}
        fewer = sum(map(len, by_problem.values())) < sum(map(len, ours.values()))

        def cell(family: str | None, cells: Any = cells, matched: Any = matched, fewer: bool = fewer) -> str:
            """The mean over a family's problems, and beside it ours on the same runs where they are fewer."""
            names = [name for name in cells if family in (None, chosen[name].family)]
            if not names:
                return ""
            text = f"{np.mean([cells[name] for name in names]):.3f}"
            beside = [matched[name] for name in names if name in matched]
            return f"{text} ({np.mean(beside):.3f})" if fewer and beside else text

        asks = [second for r in records if r["method"] == method for second in r["seconds"][10:]]
        rows.append(
            (
                np.mean(list(cells.values())),
                f"| {method} | {sum(map(len, by_problem.values()))} on {len(cells)}"
                f" | {' | '.join(cell(family) for family in (None, *FAMILIES))}"
                f" | {'' if method == arguments.ours else f'{low:+.3f} to {high:+.3f}'}"
                f" | {'' if method == arguments.ours else f'{won:.0%}'} | {np.mean(asks):.3f} |",
            )
        )
    for _, row in sorted(rows):
        print(row)
    spans = [record["span"] for record in records if record["method"] == arguments.ours]
    print(f"\nOurs: time to the last result {np.mean(spans):.3f} of the work divided by the workers.")
    _critical_difference(found, chosen)
    if arguments.plot:
        _plot(found, chosen, arguments)


def interval(gaps: list[np.ndarray]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over problems of a mean over seeds: both are drawn."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        drawn = rng.integers(len(gaps), size=len(gaps))
        means.append(np.mean([gaps[k][rng.integers(len(gaps[k]), size=len(gaps[k]))].mean() for k in drawn]))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _critical_difference(found: dict[str, Any], chosen: dict[str, Problem]) -> None:
    """Mean ranks over the problems, and Nemenyi's critical difference (Demšar, 2006)."""
    from scipy.stats import rankdata, studentized_range

    full = {method: by for method, by in found.items() if len(by) == len(chosen)}
    table = np.array(
        [[np.mean([c[-1] for c in by[name].values()]) for by in full.values()] for name in chosen]
    )
    ranks = np.mean([rankdata(row) for row in table], axis=0)
    k, n = len(full), len(chosen)
    if k < 2:
        return
    critical = studentized_range.ppf(0.95, k, np.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    listed = ", ".join(f"{method} {rank:.2f}" for rank, method in sorted(zip(ranks, full, strict=True)))
    print(f"Mean ranks over {n} problems: {listed}; critical difference (Nemenyi, 5 %) {critical:.2f}.")


def _plot(found: dict[str, Any], chosen: dict[str, Problem], arguments: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(FAMILIES), figsize=(14, 3.6), sharey=True)
    for axis, family in zip(axes, FAMILIES, strict=True):
        names = [name for name, problem in chosen.items() if problem.family == family]
        for method, by_problem in sorted(found.items(), key=lambda item: item[0] != arguments.ours):
            curves = [
                np.mean(list(by_problem[name].values()), axis=0) for name in names if name in by_problem
            ]
            if names and len(curves) == len(names):
                mean = np.minimum(np.mean(curves, axis=0), 5)
                axis.plot(
                    range(1, len(mean) + 1),
                    mean,
                    label=method,
                    linewidth=2.5 if method == arguments.ours else 1,
                )
        axis.set(title=family, xlabel="evaluations", ylim=(0, 3))
    axes[0].set_ylabel("mean normalised regret")
    axes[-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(arguments.plot, dpi=110)


def smoke(arguments: argparse.Namespace) -> None:
    """Ours and random on three small problems: does the machinery run, and does the search learn anything?"""
    chosen = [p for p in problems.problems(None).values() if p.name in ("branin", "optimisers", "log-rates")]
    best: dict[str, list[float]] = {"tuneapp": [], "random": []}
    for method, scores in best.items():
        for problem in chosen:
            for seed in range(2):
                values = simulate(Ours(problem, seed, 18, 4, **OURS[method]), problem, seed, 18, 4)["values"]
                scores.append(min(value for value in values if value is not None))
    wins = np.mean(np.array(best["tuneapp"]) < np.array(best["random"]))
    print(f"tuneapp better than random in {wins:.0%} of {len(best['random'])} runs of 18 trials, 4 in flight")
    if wins < 0.5:
        raise SystemExit("the search is no better than random draws")


def asks(arguments: argparse.Namespace) -> None:
    """CPU seconds of one ask at 30, 100, 300 and 1,000 observations in seven dimensions."""
    from tuneapp.search.cube import Cube
    from tuneapp.search.observations import Observations
    from tuneapp.spaces import SearchSpace

    space = SearchSpace(problems.LCBENCH_SPACE)
    cube = Cube(space)
    print("| observations | CPU s an ask, median of 5 | with 3 pending |\n|---|---|---|")
    for count in (30, 100, 300, 1000):
        cells = []
        for pending in (0, 3):
            spent = []
            for seed in range(5):
                rng = np.random.default_rng(seed)
                points = rng.random((count + pending, cube.D))
                configs = [space.decode(point) for point in points]
                scores = -((points[:count, 1] - 0.6) ** 2) - 0.3 * (points[:count, 2] - 0.4) ** 2
                start = time.process_time()
                propose(
                    cube,
                    Observations(configs[:count], scores, np.ones(count), np.zeros(count)),
                    configs[count:],
                    rng,
                )
                spent.append(time.process_time() - start)
            cells.append(f"{np.median(spent):.3f}")
        print(f"| {count:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["run", "report", "asks"], nargs="?")
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, and learns something")
    parser.add_argument("--methods", nargs="+", default=["tuneapp"])
    parser.add_argument("--ours", default="tuneapp")
    parser.add_argument("--problems", nargs="*", default=[], help="names or families; all by default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0, help="the search was built on seeds below 100")
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--lcbench", type=Path, default=os.environ.get("LCBENCH"), help="lcbench_10.npz")
    parser.add_argument(
        "--results", type=Path, default=CACHE / "results", help="JSON lines; what is there is kept"
    )
    parser.add_argument("--peers", type=Path, default=Path("/opt"), help="folder of the peers' environments")
    parser.add_argument("--plot", type=Path, help="PNG of regret over evaluations by family")
    options = parser.parse_args()
    if not (options.action or options.smoke):
        parser.error("name an action, or --smoke")
    with threadpool_limits(1):  # methods are compared by CPU seconds of one core
        {"run": run, "report": report, "asks": asks, None: smoke}[options.action](options)
