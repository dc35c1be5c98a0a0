"""A support vector machine on scikit-learn's digits; its space stands in its signature."""

from typing import Annotated

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from tuneapp import Categorical, Float

images, labels = load_digits(return_X_y=True)


def accuracy(
    C: Annotated[float, Float(0.01, 100, log=True)],
    gamma: Annotated[float, Float(1e-5, 0.1, log=True)],
    kernel: Annotated[str, Categorical(["rbf", "poly"])] = "rbf",
) -> float:
    return float(
        cross_val_score(SVC(C=C, gamma=gamma, kernel=kernel), images[:600], labels[:600], cv=3).mean()
    )
