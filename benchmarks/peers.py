"""Peers of our search, as servers on a pipe: each runs in an environment of its own and never sees a problem.

    python benchmarks/peers.py METHOD   reads JSON lines: {"space", "seed", "samples", "epochs"} first,
    then {"ask": true}, {"tell": number, "value": float | null} or, of a trial that goes on, {"report":
    number, "step", "value"}, to which the answer is {"prune": bool}. It answers each ask with {"number",
    "config", "seconds", "behind"}: the CPU seconds of this ask and of the tellings before it, and the
    epochs that this config was trained for before.

Each is set up as its documentation says for such a problem: with its own types for logarithms, integers and
categories, and with its own warm-up where it has one that it recommends. A trial that diverged (null) is
told in the peer's own way where it has one, else as the worst value so far.
"""

import json
import logging
import math
import os
import sys
import time
import warnings
from typing import Any

Config = dict[str, Any]
Space = dict[str, dict[str, Any]]


class Peer:
    """ask() -> (number, config); tell(number, value or None). Values are minimised."""

    epochs = 50  # of a full trial, for peers that stop trials early
    behind = 0  # epochs that the config asked for last has behind it, of which a checkpoint is kept

    def __init__(self, space: Space, seed: int, samples: int) -> None:
        self.space, self.seed, self.samples = space, seed, samples
        self.worst = -math.inf
        self.asked = 0

    def finite(self, value: float | None) -> float:
        """The value, or the worst so far for a trial that diverged."""
        if value is None:
            return self.worst if math.isfinite(self.worst) else 1e3
        self.worst = max(self.worst, value)
        return value

    def read(self, point: dict[str, Any]) -> Config:
        """The config at a point that tells choices by their words and ordinals by their position."""
        config: Config = {}
        for name, d in self.space.items():
            if d["type"] == "categorical":
                config[name] = next(choice for choice in d["choices"] if str(choice) == point[name])
            elif d["type"] == "ordinal":
                config[name] = d["choices"][int(point[name])]
            else:
                config[name] = int(point[name]) if d["type"] == "int" else float(point[name])
        return self.active(config)

    def active(self, config: Config) -> Config:
        """Without what is inactive under its condition, for peers whose spaces know no conditions."""
        return {
            name: value
            for name, value in config.items()
            if all(config[parent] in values for parent, values in self.space[name].get("when", {}).items())
        }


class Optuna(Peer):
    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna
        # Its Hyperband deals trials to brackets by a hash of the study's name.
        self.study = optuna.create_study(sampler=self.sampler(seed), study_name=str(seed))
        self.trials: dict[int, Any] = {}

    def sampler(self, seed: int) -> Any:
        raise NotImplementedError

    def ask(self) -> tuple[int, Config]:
        trial = self.study.ask()
        config: Config = {}
        for name, d in self.space.items():
            if any(config.get(parent) not in values for parent, values in d.get("when", {}).items()):
                continue
            if d["type"] == "categorical":
                config[name] = trial.suggest_categorical(name, d["choices"])
            elif d["type"] == "ordinal":
                config[name] = d["choices"][trial.suggest_int(name, 0, len(d["choices"]) - 1)]
            elif d["type"] == "int":
                config[name] = trial.suggest_int(name, d["low"], d["high"], log=d["log"])
            else:
                config[name] = trial.suggest_float(name, d["low"], d["high"], log=d["log"])
        self.trials[trial.number] = trial
        return trial.number, config

    def tell(self, number: int, value: float | None) -> None:
        if value is None:
            self.study.tell(self.trials[number], state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(self.trials[number], value)


class OptunaTPE(Optuna):
    def sampler(self, seed: int) -> Any:
        return self.optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)


class OptunaTPEHyperband(OptunaTPE):
    """Its Hyperband, from a tenth of the epochs; with TPE it is what BOHB is (Falkner et al., 2018)."""

    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        self.study.pruner = self.pruner()

    def pruner(self) -> Any:
        return self.optuna.pruners.HyperbandPruner(
            min_resource=self.epochs // 10, max_resource=self.epochs, reduction_factor=3
        )

    def report(self, number: int, step: int, value: float) -> bool:
        trial = self.trials[number]
        trial.report(value, step)
        return bool(trial.should_prune())

    def prune(self, number: int) -> None:
        self.study.tell(self.trials[number], state=self.optuna.trial.TrialState.PRUNED)


class OptunaTPEHalving(OptunaTPEHyperband):
    def pruner(self) -> Any:
        return self.optuna.pruners.SuccessiveHalvingPruner(min_resource=self.epochs // 10, reduction_factor=3)


class OptunaGP(Optuna):
    def sampler(self, seed: int) -> Any:
        return self.optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)

    def tell(self, number: int, value: float | None) -> None:
        # Its sampler leaves failed trials out; told as the worst value they steer it away, which is kinder.
        self.study.tell(self.trials[number], self.finite(value))


class ScikitOptimize(Peer):
    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        from skopt import Optimizer
        from skopt.space import Categorical, Integer, Real

        dimensions = []
        for d in space.values():
            if d["type"] == "categorical":
                dimensions.append(Categorical([str(choice) for choice in d["choices"]]))
            elif d["type"] == "ordinal":
                dimensions.append(Integer(0, len(d["choices"]) - 1))
            else:
                kind = Integer if d["type"] == "int" else Real
                dimensions.append(kind(d["low"], d["high"], prior="log-uniform" if d["log"] else "uniform"))
        self.optimizer = Optimizer(dimensions, base_estimator="GP", n_initial_points=10, random_state=seed)
        self.points: dict[int, Any] = {}
        self.told: dict[int, float] = {}

    def ask(self) -> tuple[int, Config]:
        pending = [number for number in self.points if number not in self.told]
        if pending and len(self.told) >= 10:  # its own constant liar, over what is pending
            from copy import deepcopy

            liar = deepcopy(self.optimizer)
            lie = min(self.told.values())
            for number in pending:
                liar.tell(self.points[number], lie)
            point = liar.ask()
        elif pending:
            point = self.optimizer.space.rvs(random_state=self.seed * 1000 + self.asked)[0]
        else:
            point = self.optimizer.ask()
        number = self.asked
        self.asked += 1
        self.points[number] = point
        return number, self.read(dict(zip(self.space, point, strict=True)))

    def tell(self, number: int, value: float | None) -> None:
        self.told[number] = self.finite(value)
        self.optimizer.tell(self.points[number], self.told[number])


class BayesianOptimization(Peer):
    """Version 3.4 with its own types; logarithms, which it lacks, are taken here. Its default Gaussian
    process and acquisition. Pending trials are unknown to it: its ConstantLiar refuses categories."""

    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        import numpy as np
        from bayes_opt import BayesianOptimization as Optimizer

        bounds: dict[str, Any] = {}
        for name, d in space.items():
            if d["type"] == "categorical":
                bounds[name] = tuple(str(choice) for choice in d["choices"])
            elif d["type"] == "ordinal":
                bounds[name] = (0, len(d["choices"]) - 1, int)
            elif d["type"] == "int" and not d["log"]:
                bounds[name] = (d["low"], d["high"], int)
            elif d["log"]:
                bounds[name] = (math.log10(d["low"]), math.log10(d["high"]))
            else:
                bounds[name] = (d["low"], d["high"])
        self.optimizer = Optimizer(
            f=None, pbounds=bounds, random_state=seed, verbose=0, allow_duplicate_points=True
        )
        self.rng = np.random.RandomState(seed)
        self.points: dict[int, Any] = {}
        self.told = 0

    def ask(self) -> tuple[int, Config]:
        number = self.asked
        self.asked += 1
        if number < 10 or self.told == 0:
            space = self.optimizer._space
            point = space.array_to_params(space.random_sample(random_state=self.rng))
        else:
            point = self.optimizer.suggest()
        self.points[number] = point
        config: Config = {}
        for name, d in self.space.items():
            value = point[name]
            if d["type"] == "categorical":
                config[name] = next(choice for choice in d["choices"] if str(choice) == str(value))
            elif d["type"] == "ordinal":
                config[name] = d["choices"][int(value)]
            elif d["log"]:
                real = min(max(10.0**value, d["low"]), d["high"])
                config[name] = round(real) if d["type"] == "int" else float(real)
            else:
                config[name] = int(value) if d["type"] == "int" else float(value)
        return number, self.active(config)

    def tell(self, number: int, value: float | None) -> None:
        self.told += 1
        self.optimizer.register(params=self.points[number], target=-self.finite(value))


class RayBayesOptSearch(Peer):
    """What Ray's BayesOptSearch does with bayesian-optimization 1.4.3: UCB 2.576, 10 random points, every
    domain as a float between its ends without its logarithm, choices (which it refuses) as their
    positions."""

    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        from bayes_opt import BayesianOptimization as Optimizer
        from bayes_opt import UtilityFunction

        bounds = {
            name: (0, len(d["choices"]) - 1e-9) if "choices" in d else (d["low"], d["high"])
            for name, d in space.items()
        }
        self.optimizer = Optimizer(
            f=None, pbounds=bounds, random_state=seed, verbose=0, allow_duplicate_points=True
        )
        self.utility = UtilityFunction(kind="ucb", kappa=2.576, xi=0.0)
        self.points: dict[int, Any] = {}

    def ask(self) -> tuple[int, Config]:
        number = self.asked
        self.asked += 1
        if number < 10:
            space = self.optimizer._space
            point = space.array_to_params(space.random_sample())
        else:
            point = self.optimizer.suggest(self.utility)
        self.points[number] = point
        config: Config = {}
        for name, d in self.space.items():
            if "choices" in d:
                config[name] = d["choices"][int(point[name])]
            else:
                config[name] = round(point[name]) if d["type"] == "int" else float(point[name])
        return number, self.active(config)

    def tell(self, number: int, value: float | None) -> None:
        self.optimizer.register(params=self.points[number], target=-self.finite(value))


class Smac(Peer):
    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        import tempfile

        from ConfigSpace import (
            AndConjunction,  # noqa: F401
            CategoricalHyperparameter,
            ConfigurationSpace,
            InCondition,
            OrdinalHyperparameter,
            UniformFloatHyperparameter,
            UniformIntegerHyperparameter,
        )
        from smac import Scenario

        self.cs = ConfigurationSpace(seed=seed)
        made = {}
        for name, d in space.items():
            if d["type"] == "categorical":
                made[name] = CategoricalHyperparameter(name, d["choices"])
            elif d["type"] == "ordinal":
                made[name] = OrdinalHyperparameter(name, d["choices"])
            else:
                kind = UniformIntegerHyperparameter if d["type"] == "int" else UniformFloatHyperparameter
                made[name] = kind(name, d["low"], d["high"], log=d["log"])
        self.cs.add(list(made.values()))
        for name, d in space.items():
            for parent, values in d.get("when", {}).items():
                self.cs.add(InCondition(made[name], made[parent], values))
        scenario = Scenario(
            self.cs, deterministic=True, n_trials=samples, seed=seed, output_directory=tempfile.mkdtemp(),
            **self.budgets(),
        )  # fmt: skip
        facade = self.facade()
        design = facade.get_initial_design(scenario, n_configs=10)
        self.smac = facade(
            scenario,
            lambda config, seed, budget=None: 0.0,
            initial_design=design,
            overwrite=True,
            logging_level=50,
        )
        self.infos: dict[int, Any] = {}

    def facade(self) -> Any:
        from smac import HyperparameterOptimizationFacade

        return HyperparameterOptimizationFacade

    def budgets(self) -> dict[str, float]:
        return {}

    def ask(self) -> tuple[int, Config]:
        info = self.smac.ask()
        number = self.asked
        self.asked += 1
        self.infos[number] = info
        plain = {}
        for name, value in dict(info.config).items():
            d = self.space[name]
            if "choices" in d:
                plain[name] = next(choice for choice in d["choices"] if choice == value)
            else:
                plain[name] = int(value) if d["type"] == "int" else float(value)
        return number, plain

    def tell(self, number: int, value: float | None) -> None:
        from smac.runhistory.dataclasses import TrialValue

        self.smac.tell(self.infos[number], TrialValue(cost=self.finite(value)))


class SmacHyperband(Smac):
    """SMAC's multi-fidelity facade: Hyperband from a tenth of the epochs, and a random forest; it is what
    came after BOHB (Lindauer et al., 2022). A config that goes on to a larger budget keeps its checkpoint.
    """

    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        self.trained: dict[str, int] = {}  # config -> epochs
        self.values: dict[int, float] = {}

    def facade(self) -> Any:
        from smac import MultiFidelityFacade

        return MultiFidelityFacade

    def budgets(self) -> dict[str, float]:
        return {"min_budget": self.epochs // 10, "max_budget": self.epochs}

    def ask(self) -> tuple[int, Config]:
        number, config = super().ask()
        self.behind = self.trained.get(json.dumps(config, sort_keys=True), 0)
        self.trained[json.dumps(config, sort_keys=True)] = round(self.infos[number].budget)
        return number, config

    def report(self, number: int, step: int, value: float) -> bool:
        self.values[number] = value
        return step >= round(self.infos[number].budget)

    def prune(self, number: int) -> None:
        self.tell(number, self.values.pop(number))

    def tell(self, number: int, value: float | None) -> None:
        from smac.runhistory.dataclasses import TrialValue

        self.smac.tell(self.infos[number], TrialValue(cost=self.finite(value)), save=False)


class Ax(Peer):
    """Ax's client: Sobol, then BoTorch's Gaussian process with logarithmic expected improvement."""

    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        import torch
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        parameters: list[Any] = []
        for name, d in space.items():
            if "choices" in d:
                kind = {bool: "bool", str: "str", int: "int", float: "float"}[type(d["choices"][0])]
                parameters.append(
                    ChoiceParameterConfig(
                        name=name, values=d["choices"], parameter_type=kind, is_ordered=d["type"] == "ordinal"
                    )
                )
            else:
                parameters.append(
                    RangeParameterConfig(
                        name=name,
                        bounds=(d["low"], d["high"]),
                        parameter_type=d["type"],
                        scaling="log" if d["log"] else None,
                    )
                )
        self.client = Client(random_seed=seed)
        self.client.configure_experiment(parameters=parameters)
        self.client.configure_optimization(objective="-value")
        self.client.configure_generation_strategy(
            method="fast", initialization_budget=10, initialization_random_seed=seed,
            initialize_with_center=False, use_existing_trials_for_initialization=False,
            allow_exceeding_initialization_budget=True,
        )  # fmt: skip

    def ask(self) -> tuple[int, Config]:
        ((number, parameters),) = self.client.get_next_trials(max_trials=1).items()
        return number, self.active(dict(parameters))

    def tell(self, number: int, value: float | None) -> None:
        self.client.complete_trial(trial_index=number, raw_data={"value": self.finite(value)})


class Hebo(Peer):
    def __init__(self, space: Space, seed: int, samples: int) -> None:
        super().__init__(space, seed, samples)
        import numpy as np
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        torch.set_num_threads(1)
        np.random.seed(seed)  # noqa: NPY002 - HEBO draws from it
        torch.manual_seed(seed)
        rows: list[dict[str, Any]] = []
        for name, d in space.items():
            if d["type"] == "categorical":
                rows.append({"name": name, "type": "cat", "categories": [str(c) for c in d["choices"]]})
            elif d["type"] == "ordinal":
                rows.append({"name": name, "type": "int", "lb": 0, "ub": len(d["choices"]) - 1})
            else:
                kind = {
                    ("int", False): "int",
                    ("int", True): "pow_int",
                    ("float", False): "num",
                    ("float", True): "pow",
                }
                rows.append(
                    {"name": name, "type": kind[d["type"], d["log"]], "lb": d["low"], "ub": d["high"]}
                )
        self.optimizer = HEBO(DesignSpace().parse(rows), rand_sample=10, scramble_seed=seed)
        self.points: dict[int, Any] = {}

    def ask(self) -> tuple[int, Config]:
        point = self.optimizer.suggest(n_suggestions=1)
        number = self.asked
        self.asked += 1
        self.points[number] = point
        return number, self.read(dict(point.iloc[0]))

    def tell(self, number: int, value: float | None) -> None:
        import numpy as np

        self.optimizer.observe(self.points[number], np.array([[self.finite(value)]]))


PEERS = {
    "optuna-tpe": OptunaTPE,
    "optuna-gp": OptunaGP,
    "optuna-tpe+hyperband": OptunaTPEHyperband,
    "optuna-tpe+halving": OptunaTPEHalving,
    "scikit-optimize": ScikitOptimize,
    "bayesian-optimization": BayesianOptimization,
    "ray-bayesopt": RayBayesOptSearch,
    "smac": Smac,
    "smac+hyperband": SmacHyperband,
    "ax": Ax,
    "hebo": Hebo,
}


def serve(method: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)  # what a library prints shall not be taken for an answer
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    peer: Any = None
    spent = 0.0
    for line in sys.stdin:
        message = json.loads(line)
        start = time.process_time()
        if "space" in message:
            kind = PEERS[method]
            kind.epochs = message.get("epochs", kind.epochs)
            peer, spent = kind(message["space"], message["seed"], message["samples"]), 0.0
        elif "ask" in message:
            number, config = peer.ask()
            spent += time.process_time() - start
            answer = {"number": number, "config": config, "seconds": spent, "behind": peer.behind}
            answers.write(json.dumps(answer) + "\n")
            spent = 0.0
        elif "report" in message:
            answers.write(
                json.dumps({"prune": peer.report(message["report"], message["step"], message["value"])})
                + "\n"
            )
        elif "prune" in message:
            peer.prune(message["prune"])
        else:
            peer.tell(message["tell"], message["value"])
            spent += time.process_time() - start


if __name__ == "__main__":
    serve(sys.argv[1])
