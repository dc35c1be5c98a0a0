"""A program that knows nothing of tuneapp: it takes arguments and prints its result."""

import argparse

from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int)
parser.add_argument("--criterion")
arguments = parser.parse_args()

tree = DecisionTreeClassifier(max_depth=arguments.depth, criterion=arguments.criterion, random_state=0)
print("accuracy:", cross_val_score(tree, *load_iris(return_X_y=True)).mean())
