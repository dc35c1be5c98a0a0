"""The problems that searches are judged on: four families, all minimised, all without a GPU.

A problem's space is a plain dict as in a search-space file, so that a peer elsewhere can read it. Needs
numpy, scikit-learn and, for the LCBench tables, the file that `--lcbench` names.
"""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Config = dict[str, Any]
FAMILIES = ("continuous", "mixed", "scikit-learn", "LCBench")
CACHE = Path.home() / ".cache" / "tuneapp-benchmarks"


@dataclass(frozen=True)
class Problem:
    name: str
    family: str
    space: dict[str, dict[str, Any]]
    evaluate: Callable[[Config], float]  # lower is better; nan where the trial diverges
    optimum: float | None = None  # where it is known


def _float(low: float, high: float, log: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, "log": log, **more}


def _int(low: int, high: int, log: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, "log": log, **more}


def _choice(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), **more}


def _cube(D: int, low: float, high: float) -> dict[str, dict[str, Any]]:
    return {f"x{i}": _float(low, high) for i in range(D)}


def _vector(config: Config) -> np.ndarray:
    return np.array([config[name] for name in sorted(config) if name.startswith("x")], dtype=float)


# Continuous: the usual test functions, optima off the centre.


def branin(x: float, y: float) -> float:
    return (
        (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
        + 10
    )


HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(x: np.ndarray) -> float:
    return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-(HARTMANN_A * (x - HARTMANN_P) ** 2).sum(axis=1)))


def ackley(x: np.ndarray) -> float:
    return float(
        20 + math.e - 20 * np.exp(-0.2 * np.sqrt(np.mean(x**2))) - np.exp(np.mean(np.cos(2 * np.pi * x)))
    )


def rosenbrock(x: np.ndarray) -> float:
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def levy(x: np.ndarray) -> float:
    w = 1 + (x - 1) / 4
    return float(
        np.sin(np.pi * w[0]) ** 2
        + np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2))
        + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    )


def griewank(x: np.ndarray) -> float:
    return float(1 + np.sum(x**2) / 4000 - np.prod(np.cos(x / np.sqrt(np.arange(1, len(x) + 1)))))


def bowl(lr: float, decay: float, momentum: float) -> float:
    """Like a network's loss: a valley along lr / (1 - momentum), flat far below, steep above, then nan."""
    effective = math.log10(lr / (1 - momentum))
    if effective > 0.7:
        return math.nan
    distance = effective + 0.6
    rate = 0.5 * distance**2 if distance < 0 else 3 * distance**2
    return (
        0.3 + 2.0 * (1 - math.exp(-rate)) + 0.08 * (math.log10(decay) + 4) ** 2 + 0.3 * (momentum - 0.9) ** 2
    )


def _continuous() -> list[Problem]:
    return [
        Problem(
            "branin",
            "continuous",
            {"x0": _float(-5, 10), "x1": _float(0, 15)},
            lambda c: branin(c["x0"], c["x1"]),
            0.397887,
        ),
        Problem("hartmann6", "continuous", _cube(6, 0, 1), lambda c: hartmann(_vector(c)), -3.32237),
        Problem("ackley4", "continuous", _cube(4, -12, 20), lambda c: ackley(_vector(c)), 0.0),
        Problem("rosenbrock4", "continuous", _cube(4, -2, 3), lambda c: rosenbrock(_vector(c)), 0.0),
        Problem("levy5", "continuous", _cube(5, -7, 10), lambda c: levy(_vector(c)), 0.0),
        Problem("griewank3", "continuous", _cube(3, -4, 5), lambda c: griewank(_vector(c)), 0.0),
        Problem(
            "bowl",
            "continuous",
            {"lr": _float(1e-5, 1, True), "decay": _float(1e-7, 1e-1, True), "momentum": _float(0, 0.99)},
            lambda c: bowl(c["lr"], c["decay"], c["momentum"]),
        ),
    ]


# Mixed: logarithms, whole numbers, categories, conditions.


def _categorical_branin(config: Config) -> float:
    x, y = config["x"], config["y"]
    shift, lift = {"a": (0, 3), "b": (1.5, 0), "c": (-2, 8), "d": (4, 1)}[config["kind"]]
    return branin(x - shift, y) + lift + 0.3 * (config["level"] - 6) ** 2


def _optimisers(config: Config) -> float:
    """Each optimiser has its own best rate; momentum is there for one of them only."""
    rate = math.log10(config["lr"])
    width = 0.15 * abs(math.log2(config["width"]) - 7.3)
    dropout = (config["dropout"] - 0.15) ** 2
    if config["optimizer"] == "sgd":
        effective = rate - math.log10(1 - config["momentum"])
        loss = 0.30 * (effective + 0.5) ** 2 + 0.5 * (config["momentum"] - 0.92) ** 2
    elif config["optimizer"] == "adam":
        loss = 0.03 + 0.25 * (rate + 2.9) ** 2
    elif config["optimizer"] == "adagrad":
        loss = 0.12 + 0.15 * (rate + 1.5) ** 2
    else:
        loss = 0.25 + 0.1 * (rate + 3.5) ** 2
    return 1 - math.exp(-loss - width - dropout - 0.06 * abs(config["layers"] - 3))


def _mixed_hartmann(config: Config) -> float:
    permuted = [0.15, 0.9, 0.4, 0.65][["p", "q", "r", "s"].index(config["kind"])]
    x = [config["x0"], config["x1"], permuted, config["steps"] / 7, config["x2"], config["share"]]
    return hartmann(np.array(x, dtype=float))


def _integer_ackley(config: Config) -> float:
    x = np.array(
        [config["x0"], config["x1"], config["i0"], config["i1"], math.log2(config["size"]) - 6], dtype=float
    )
    return (
        ackley(x - np.array([3.3, -4.1, 2, -5, 1]))
        + {"none": 1.5, "batch": 0.0, "layer": 0.7}[config["norm"]]
    )


def _log_rates(config: Config) -> float:
    """Rates over decades, a batch size in powers of two that moves the best rate, a net too deep diverges."""
    rate = math.log10(config["lr"] / config["batch"] * 64)
    if rate > -0.5 and config["depth"] > 8:
        return math.nan
    return (
        abs(rate + 2.2) ** 1.5
        + 0.2 * abs(math.log10(config["decay"]) + 5)
        + 0.1 * (config["depth"] - 5) ** 2 * (0.5 if config["skip"] else 1.0)
        + {"relu": 0.2, "gelu": 0.0, "tanh": 0.6}[config["activation"]]
        + 0.05 * abs(math.log2(config["batch"]) - 6)
    )


def _mixed() -> list[Problem]:
    return [
        Problem(
            "categorical-branin",
            "mixed",
            {
                "x": _float(-5, 10),
                "y": _float(0, 15),
                "kind": _choice("a", "b", "c", "d"),
                "level": _int(1, 12),
            },
            _categorical_branin,
        ),
        Problem(
            "optimisers",
            "mixed",
            {
                "optimizer": _choice("sgd", "adam", "adagrad", "rmsprop"),
                "lr": _float(1e-5, 1, True),
                "momentum": _float(0, 0.99, when={"optimizer": ["sgd"]}),
                "width": _int(16, 1024, True),
                "layers": _int(1, 8),
                "dropout": _float(0, 0.8),
            },
            _optimisers,
        ),
        Problem(
            "mixed-hartmann",
            "mixed",
            {
                "x0": _float(0, 1),
                "x1": _float(0, 1),
                "x2": _float(0, 1),
                "share": {"type": "ordinal", "choices": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]},
                "steps": _int(0, 7),
                "kind": _choice("p", "q", "r", "s"),
            },
            _mixed_hartmann,
        ),
        Problem(
            "integer-ackley",
            "mixed",
            {
                "x0": _float(-10, 12),
                "x1": _float(-10, 12),
                "i0": _int(-8, 8),
                "i1": _int(-8, 8),
                "size": {"type": "ordinal", "choices": [16, 32, 64, 128, 256, 512]},
                "norm": _choice("none", "batch", "layer"),
            },
            _integer_ackley,
        ),
        Problem(
            "log-rates",
            "mixed",
            {
                "lr": _float(1e-5, 1, True),
                "decay": _float(1e-8, 1e-2, True),
                "batch": {"type": "ordinal", "choices": [16, 32, 64, 128, 256]},
                "depth": _int(1, 12),
                "skip": _choice(True, False),
                "activation": _choice("relu", "gelu", "tanh"),
            },
            _log_rates,
        ),
    ]


# scikit-learn on the data it brings: real learners, real noise of one fixed split.


@cache
def _split(data: str, train: int, held_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from sklearn import datasets, preprocessing

    X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    scaler = preprocessing.StandardScaler().fit(X[:train])
    X = scaler.transform(X)
    return X[:train], y[:train], X[train : train + held_out], y[train : train + held_out]


def _log_loss(model: Any, data: str, train: int, held_out: int) -> float:
    from sklearn.metrics import log_loss

    X, y, X_val, y_val = _split(data, train, held_out)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model.fit(X, y)
            shares = np.clip(np.nan_to_num(model.predict_proba(X_val)), 1e-7, 1 - 1e-7)
        except ValueError:  # overflow in its weights
            return math.nan
        return float(log_loss(y_val, shares / shares.sum(axis=1, keepdims=True)))


def _mlp(config: Config) -> float:
    from sklearn.neural_network import MLPClassifier

    return _log_loss(
        MLPClassifier(
            (config["width"],) * config["layers"],
            activation=config["activation"],
            solver="sgd",
            learning_rate_init=config["lr"],
            momentum=config["momentum"],
            alpha=config["decay"],
            batch_size=config["batch"],
            max_iter=6,
            random_state=0,
        ),
        "digits", 400, 600,
    )  # fmt: skip


def _svc(config: Config) -> float:
    from sklearn.svm import SVC

    X, y, X_val, y_val = _split("digits", 300, 700)
    model = SVC(
        C=config["C"], kernel=config["kernel"], gamma=config["gamma"], degree=config.get("degree", 3),
        coef0=config["coef0"], max_iter=2000,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        margins = model.fit(X, y).decision_function(X_val)
    # A hinge over classes, smoother than the count of errors.
    right = margins[np.arange(len(y_val)), y_val]
    margins[np.arange(len(y_val)), y_val] = -np.inf
    return float(np.mean(np.clip(1 - (right - margins.max(axis=1)), 0, 4)))


def _boosting(config: Config) -> float:
    from sklearn.ensemble import GradientBoostingRegressor

    X, y, X_val, y_val = _split("diabetes", 200, 242)
    model = GradientBoostingRegressor(
        n_estimators=config["trees"], learning_rate=config["lr"], max_depth=config["depth"],
        loss=config["loss"],
        subsample=config["subsample"], min_samples_leaf=config["leaf"], max_features=config["features"],
        random_state=0,
    )  # fmt: skip
    return float(np.sqrt(np.mean((model.fit(X, y).predict(X_val) - y_val) ** 2)))


def _sgd(config: Config) -> float:
    from sklearn.linear_model import SGDClassifier

    return _log_loss(
        SGDClassifier(
            loss="log_loss", penalty=config["penalty"], alpha=config["alpha"],
            l1_ratio=config.get("l1_ratio", 0.15), learning_rate=config["schedule"], eta0=config["lr"],
            power_t=config["power"], max_iter=5, tol=None,
            random_state=0,
        ),
        "breast_cancer", 250, 319,
    )  # fmt: skip


def _logistic(config: Config) -> float:
    from sklearn.linear_model import LogisticRegression

    return _log_loss(
        LogisticRegression(
            C=config["C"], l1_ratio=config["l1_ratio"], penalty="elasticnet", solver="saga",
            max_iter=config["iterations"], random_state=0, fit_intercept=config["intercept"],
            class_weight="balanced" if config["balanced"] else None,
        ),
        "wine", 60, 118,
    )  # fmt: skip


def _scikit_learn() -> list[Problem]:
    family = "scikit-learn"
    return [
        Problem(
            "mlp-digits",
            family,
            {
                "lr": _float(1e-4, 3, True),
                "momentum": _float(0, 0.99),
                "decay": _float(1e-7, 1, True),
                "width": _int(8, 128, True),
                "layers": _int(1, 3),
                "batch": {"type": "ordinal", "choices": [16, 32, 64, 128]},
                "activation": _choice("relu", "tanh", "logistic"),
            },
            _mlp,
        ),
        Problem(
            "svc-digits",
            family,
            {
                "C": _float(1e-3, 1e3, True),
                "gamma": _float(1e-5, 1, True),
                "kernel": _choice("rbf", "poly", "sigmoid"),
                "degree": _int(2, 5, when={"kernel": ["poly"]}),
                "coef0": _float(0, 1),
            },
            _svc,
        ),
        Problem(
            "boosting-diabetes",
            family,
            {
                "trees": _int(5, 60, True),
                "lr": _float(1e-3, 1, True),
                "depth": _int(1, 6),
                "loss": _choice("squared_error", "huber", "absolute_error"),
                "subsample": _float(0.2, 1),
                "leaf": _int(1, 40, True),
                "features": _float(0.1, 1),
            },
            _boosting,
        ),
        Problem(
            "sgd-cancer",
            family,
            {
                "alpha": _float(1e-7, 1, True),
                "lr": _float(1e-5, 10, True),
                "schedule": _choice("constant", "invscaling", "adaptive"),
                "power": _float(0.1, 1),
                "penalty": _choice("l2", "l1", "elasticnet"),
                "l1_ratio": _float(0, 1, when={"penalty": ["elasticnet"]}),
            },
            _sgd,
        ),
        Problem(
            "logistic-wine",
            family,
            {
                "C": _float(1e-4, 1e4, True),
                "l1_ratio": _float(0, 1),
                "iterations": _int(2, 200, True),
                "intercept": _choice(True, False),
                "balanced": _choice(True, False),
            },
            _logistic,
        ),
    ]


# LCBench: real learning curves of 2,000 configs on ten data sets; between them small networks, fitted once.

LCBENCH_SPACE = {
    "batch_size": _int(16, 512, True),
    "learning_rate": _float(1e-4, 1e-1, True),
    "momentum": _float(0.1, 0.99),
    "weight_decay": _float(1e-5, 1e-1),
    "num_layers": _int(1, 4),
    "max_units": _int(64, 1024, True),
    "max_dropout": _float(0, 1),
}
EPOCHS = 50
NETWORKS, HIDDEN = 3, 64


class Surrogate:
    """The logarithm of a table's validation cross-entropy after each epoch, by three small networks.

    Networks, for trees would give steps and a Gaussian process would favour searches with the same kernel.
    """

    def __init__(self, weights: list[list[np.ndarray]], mean: np.ndarray, std: np.ndarray) -> None:
        self.weights, self.mean, self.std = weights, mean, std

    def curve(self, config: Config) -> np.ndarray:
        """[50] validation cross-entropies, after each epoch."""
        x = np.array([_unit(LCBENCH_SPACE[name], config[name]) for name in LCBENCH_SPACE])
        outputs = []
        for network in self.weights:
            h = x
            for W, b in zip(network[:-2:2], network[1:-2:2], strict=True):
                h = np.tanh(h @ W + b)
            outputs.append(h @ network[-2] + network[-1])
        return np.exp(np.mean(outputs, axis=0) * self.std + self.mean)


def _unit(domain: dict[str, Any], value: float) -> float:
    low, high = domain["low"], domain["high"]
    if domain["log"]:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low)) * 2 - 1
    return (value - low) / (high - low) * 2 - 1


@cache
def surrogates(table: Path) -> dict[str, tuple[Surrogate, float]]:
    """Data set -> its surrogate and the held-out share of variance (R2) of the last epoch it explains."""
    from sklearn.neural_network import MLPRegressor

    data = np.load(table)
    names = [str(name) for name in data["hp_names"]]
    X = np.array(
        [[_unit(LCBENCH_SPACE[n], v) for n, v in zip(names, row, strict=True)] for row in data["configs"]]
    )
    assert names == list(LCBENCH_SPACE)
    CACHE.mkdir(parents=True, exist_ok=True)
    fitted = {}
    for position, dataset in enumerate(data["datasets"]):
        file = CACHE / f"lcbench-{dataset}-{NETWORKS}x{HIDDEN}.npz"
        if not file.exists():
            curves = np.log(
                np.clip(data["val_cross_entropy"][position][:, 1 : EPOCHS + 1], 1e-3, 1e3)
            ).astype(float)
            curves = np.nan_to_num(curves, nan=np.log(1e3))
            mean, std = curves.mean(), curves.std()
            order = np.random.default_rng(0).permutation(len(X))
            train, held_out = order[:1700], order[1700:]
            arrays, predicted = {}, []
            for seed in range(NETWORKS):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    network = MLPRegressor(
                        hidden_layer_sizes=(HIDDEN, HIDDEN), activation="tanh", alpha=1e-3,
                        learning_rate_init=3e-3, max_iter=250,
                        random_state=seed,
                    ).fit(X[train], (curves[train] - mean) / std)  # fmt: skip
                predicted.append(network.predict(X[held_out]) * std + mean)
                for layer, (W, b) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
                    arrays[f"{seed}-{layer}-W"], arrays[f"{seed}-{layer}-b"] = W, b
            error = np.mean(predicted, axis=0)[:, -1] - curves[held_out, -1]
            r2 = 1 - error.var() / curves[held_out, -1].var()
            np.savez(file, mean=mean, std=std, r2=r2, **arrays)
        stored = np.load(file)
        weights = [
            [stored[f"{seed}-{layer}-{kind}"] for layer in range(3) for kind in "Wb"]
            for seed in range(NETWORKS)
        ]
        fitted[str(dataset)] = Surrogate(weights, stored["mean"], stored["std"]), float(stored["r2"])
    return fitted


def _lcbench(table: Path) -> list[Problem]:
    return [
        Problem(f"lcbench-{name}", "LCBench", LCBENCH_SPACE, lambda c, s=surrogate: float(s.curve(c)[-1]))
        for name, (surrogate, _) in surrogates(table).items()
    ]


def problems(lcbench: Path | None) -> dict[str, Problem]:
    """All problems by name; those of LCBench where the file is there."""
    found = [*_continuous(), *_mixed(), *_scikit_learn(), *(_lcbench(lcbench) if lcbench else [])]
    return {problem.name: problem for problem in found}


def draw(space: dict[str, dict[str, Any]], rng: np.random.Generator) -> Config:
    """A random config; what is inactive under its condition is left out."""
    config: Config = {}
    for name, domain in space.items():
        if any(config.get(parent) not in values for parent, values in domain.get("when", {}).items()):
            continue
        if domain["type"] in ("categorical", "ordinal"):
            config[name] = domain["choices"][rng.integers(len(domain["choices"]))]
        elif domain["type"] == "int" and domain["log"]:
            config[name] = int(np.exp(rng.uniform(np.log(domain["low"]), np.log(domain["high"] + 1))))
        elif domain["type"] == "int":
            config[name] = int(rng.integers(domain["low"], domain["high"] + 1))
        elif domain["log"]:
            config[name] = float(np.exp(rng.uniform(np.log(domain["low"]), np.log(domain["high"]))))
        else:
            config[name] = float(rng.uniform(domain["low"], domain["high"]))
    return config


def reference(problem: Problem, draws: int = 2000) -> dict[str, float]:
    """The best known value, and the median of random search's best after 30 and 100 trials: regret's 0 and 1.

    The best known is the optimum, or the best of `draws` random configs; in a report the best of all runs,
    where that is better.
    """
    file = CACHE / f"reference-{problem.name}.json"
    if not file.exists():
        rng = np.random.default_rng(12345)
        values = np.array([problem.evaluate(draw(problem.space, rng)) for _ in range(draws)])
        values = np.where(np.isnan(values), np.inf, values)
        medians = {
            str(n): float(np.median(values[rng.integers(draws, size=(4000, n))].min(axis=1)))
            for n in (30, 100)
        }
        best = float(values.min()) if problem.optimum is None else problem.optimum
        CACHE.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"best": best, **medians, "nan": float(np.isinf(values).mean())}))
    return dict(json.loads(file.read_text()))
