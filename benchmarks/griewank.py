"""PHS's quick start, against PHS's own rule: 20 random sets of the Griewank function, then 10 Bayesian.

| | best of 30 above the optimum, mean ± sd | median | worst | tuneapp better / equal / worse |
|---|---|---|---|---|
| tuneapp | 2.75e-04 ± 5.2e-04 | 9.7e-05 | 2.3e-03 | |
| PHS's rule | 1.37e-02 ± 1.6e-02 | 3.4e-03 | 3.8e-02 | 15 / 1 / 4 |
| 30 random | 2.64e-02 ± 3.0e-02 | 9.4e-03 | 7.9e-02 | 18 / 1 / 1 |
20 seeds, paired, bayesian-optimization 3.4.0, tuneapp 0.1.0.

x is uniform in [-5, 5], y from the list 1.2, 3.4, 5.4, 6.3; less is better. Both have the same 20 random sets
and 2 trials in flight: a proposal is made while one result is still out. PHS's rule, told from its paper
and documentation and built anew: bayesian-optimization's default Gaussian process (one length scale, raw
coordinates), expected improvement, nothing known of the trial that is out; y snapped to its list.
    python benchmarks/griewank.py [--seeds 20]
"""

import argparse
import math
import statistics
import warnings
from collections.abc import Callable
from importlib.metadata import version

from bayes_opt import BayesianOptimization
from bayes_opt.acquisition import ExpectedImprovement

from tuneapp.search import make_search
from tuneapp.settings import Metric, SchedulerSettings, SearchSettings
from tuneapp.spaces import Float, Ordinal, SearchSpace
from tuneapp.studies import Iteration, Trial, TrialState

LIST = [1.2, 3.4, 5.4, 6.3]
SPACE = SearchSpace({"x": Float(-5, 5), "y": Ordinal(LIST)})
RANDOM, BAYES, IN_FLIGHT = 20, 10, 2


def griewank(x: float, y: float) -> float:
    return (x * x + y * y) / 4000 - math.cos(x) * math.cos(y / math.sqrt(2)) + 1


OPTIMUM = min(griewank(x / 1e4, y) for x in range(-50_000, 50_001) for y in LIST)


def ours(seed: int) -> list[float]:
    """The 30 values in the order of asking."""
    settings = SearchSettings(samples=RANDOM + BAYES, warmup=RANDOM, seed=seed, warmup_design="random")
    metric, scheduler = Metric("value", "min"), SchedulerSettings("none")
    search = make_search(SPACE, metric, settings, scheduler, IN_FLIGHT)
    trials: list[Trial] = []
    while len(trials) < RANDOM + BAYES:
        while sum(not trial.over for trial in trials) < IN_FLIGHT and len(trials) < RANDOM + BAYES:
            proposal = search.ask()
            assert proposal is not None
            trials.append(Trial(len(trials), proposal.config, proposal.origin, proposal.seed))
            search.tell(trials[-1])
        _finish(next(trial for trial in trials if not trial.over))
    for trial in trials:
        if not trial.over:
            _finish(trial)
    return [trial.history[0].metrics["value"] for trial in trials]


def _finish(trial: Trial) -> None:
    trial.history.append(Iteration(1, 0.0, {"value": griewank(**trial.config)}))
    trial.state = TrialState.FINISHED


def phs_rule(seed: int) -> list[float]:
    settings = SearchSettings(samples=RANDOM, warmup=RANDOM, seed=seed, warmup_design="random")
    search = make_search(SPACE, Metric("value", "min"), settings, SchedulerSettings("none"))
    optimizer = BayesianOptimization(
        None,
        {"x": (-5, 5), "y": (LIST[0], LIST[-1])},
        ExpectedImprovement(xi=0.0),
        random_state=seed,
        verbose=0,
        allow_duplicate_points=True,
    )
    values: list[float] = []
    configs: list[dict[str, float]] = []
    for number in range(RANDOM + BAYES):
        if number < RANDOM:
            proposal = search.ask()
            assert proposal is not None
            search.tell(Trial(number, proposal.config, proposal.origin, 0))
            config = proposal.config
        else:
            for known in range(len(optimizer.space), number - IN_FLIGHT + 1):  # the last one is still out
                optimizer.register(configs[known], -values[known])
            point = optimizer.suggest()
            y = min(LIST, key=lambda value: abs(value - float(point["y"])))
            config = {"x": float(point["x"]), "y": y}
        configs.append(config)
        values.append(griewank(**config))
    return values


def random_alone(seed: int) -> list[float]:
    settings = SearchSettings("random", samples=RANDOM + BAYES, seed=seed)
    search = make_search(SPACE, Metric("value", "min"), settings, SchedulerSettings("none"))
    values = []
    for number in range(RANDOM + BAYES):
        proposal = search.ask()
        assert proposal is not None
        search.tell(Trial(number, proposal.config, proposal.origin, 0))
        values.append(griewank(**proposal.config))
    return values


METHODS: dict[str, Callable[[int], list[float]]] = {
    "tuneapp": ours,
    "PHS's rule": phs_rule,
    "30 random": random_alone,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of length scales at their bounds
        found = {name: [min(run(seed)) - OPTIMUM for seed in seeds] for name, run in METHODS.items()}
    print(
        f"{len(seeds)} seeds, bayesian-optimization {version('bayesian-optimization')}, optimum {OPTIMUM:.6f}"
    )
    print("| best of 30 above the optimum | mean ± sd | median | worst | tuneapp better / equal / worse |")
    print("|---|---|---|---|---|")
    for name, regrets in found.items():
        pairs = list(zip(found["tuneapp"], regrets, strict=True))
        won = sum(a < b - 1e-9 for a, b in pairs)
        lost = sum(a > b + 1e-9 for a, b in pairs)
        print(
            f"| {name} | {statistics.mean(regrets):.2e} ± {statistics.stdev(regrets):.1e} | "
            f"{statistics.median(regrets):.1e} | {max(regrets):.1e} | "
            f"{won} / {len(pairs) - won - lost} / {lost} |"
        )


if __name__ == "__main__":
    main()
