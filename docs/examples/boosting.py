"""Boosted trees or a linear booster, as XGBoost has them: a categorical that decides what else there is."""

from collections.abc import Iterator

from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import cross_val_score

examples, targets = load_diabetes(return_X_y=True)


def score(config: dict) -> Iterator[dict[str, float]]:
    """One dict per iteration: boosting yields as its trees grow, so that early stopping applies."""
    if config["booster"] == "linear":
        model = ElasticNet(alpha=config["alpha"], l1_ratio=config["l1_ratio"])
        yield {"rmse": rmse(model)}
        return
    for trees in (10, 20, 40, 80):
        yield {"rmse": rmse(GradientBoostingRegressor(
            n_estimators=trees, learning_rate=config["lr"], max_depth=config["depth"],
            loss=config["loss"], random_state=0,
        ))}  # fmt: skip


def rmse(model: object) -> float:
    scores = cross_val_score(model, examples, targets, cv=3, scoring="neg_root_mean_squared_error")
    return float(-scores.mean())
