"""Splits and subsets keep every class, their sizes exact, whatever the labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.data import stratified_split, stratified_subset
from tuneapp.errors import UsageError

# Counts of each class, shuffled into labels.
label_sets = st.lists(st.integers(2, 40), min_size=1, max_size=8).flatmap(
    lambda counts: st.permutations([kind for kind, count in enumerate(counts) for _ in range(count)])
)
seeds = st.integers(0, 2**32)


@given(label_sets, st.floats(0.01, 0.99), seeds)
def test_a_split_deals_every_example_once_and_every_class_to_both_parts(labels, share, seed):
    labels = np.array(labels)
    aside = round(share * len(labels))
    classes = len(set(labels.tolist()))
    if not classes <= aside <= len(labels) - classes:
        with pytest.raises(UsageError, match="every one of"):
            stratified_split(labels, share, seed)
        return
    train, val = stratified_split(labels, share, seed)
    assert len(val) == aside
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(len(labels)))
    assert set(labels[train]) == set(labels[val]) == set(labels)


@given(label_sets, st.integers(1, 400), seeds)
def test_a_subset_has_exactly_so_many_examples_and_every_class(labels, examples, seed):
    labels = np.array(labels)
    if not len(set(labels.tolist())) <= examples <= len(labels):
        with pytest.raises(UsageError, match=f"but {examples} were asked for"):
            stratified_subset(labels, examples, seed)
        return
    chosen = stratified_subset(labels, examples, seed)
    assert len(np.unique(chosen)) == len(chosen) == examples
    assert np.array_equal(chosen, np.sort(chosen))
    assert set(labels[chosen]) == set(labels)


@given(st.lists(st.integers(20, 60), min_size=2, max_size=6), st.floats(0.3, 0.7), seeds)
def test_each_class_gives_its_share_to_within_one_example(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    _, val = stratified_split(labels, share, seed)
    ideal = np.array(counts) * (len(val) / len(labels))
    assert np.all(np.abs(np.bincount(labels[val]) - ideal) < 1)


@given(label_sets, seeds)
def test_draws_come_from_the_seed_alone(labels, seed):
    labels = np.array(labels)
    half = max(len(set(labels.tolist())), len(labels) // 2)
    assert np.array_equal(stratified_subset(labels, half, seed), stratified_subset(labels, half, seed))


def test_another_seed_draws_other_examples():
    labels = np.repeat(np.arange(4), 50)
    drawn = {tuple(stratified_subset(labels, 40, seed)) for seed in range(5)}
    assert len(drawn) == 5


def test_rare_classes_are_kept_at_the_cost_of_common_ones():
    labels = np.array([0] * 995 + [1] * 3 + [2] * 2)
    train, val = stratified_split(labels, 0.01, seed=3)
    assert np.bincount(labels[val]).tolist() == [8, 1, 1]
    assert np.bincount(labels[train]).tolist() == [987, 2, 1]


def test_all_examples_are_a_subset_too():
    labels = np.array([2, 0, 1, 1])
    assert stratified_subset(labels, 4, seed=0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        stratified_split(np.array([0, 0, 1, 1]), share, seed=0)


def test_a_class_of_one_cannot_be_split():
    with pytest.raises(UsageError, match="one of class 1"):
        stratified_split(np.array([0, 0, 0, 1]), 0.5, seed=0)


def test_no_examples_cannot_be_split():
    with pytest.raises(UsageError, match="no examples"):
        stratified_split(np.array([], dtype=np.int64), 0.5, seed=0)
