"""What learning curves say, in words: every word from a stated rule, with the numbers behind it.

Works on plain curves, whoever trained them. A rule looks at one run; a value of a hyperparameter has a
finding where more than half of its seeds have it. Differences between values are paired over seeds and come
with an interval; without one (a single seed) nothing is ranked.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuneapp.analysis.numbers import Array, deviation, finite, mean, median, number, unit_of
from tuneapp.settings import Metric

CurvePoints = Sequence[tuple[int, float]]  # (iteration, value), in order

RISE = 1.5  # a training loss this much above its first has diverged
STEP = 0.05  # of the whole fall of the training loss, from one iteration to the next: bouncing
VAL_STEP = 0.15  # of the median of the late validation losses: bouncing too
UPWARD = 0.25  # share of those steps that go up
OVERFIT = 1.05  # the validation loss ends this much above its lowest
MEANWHILE = 0.10  # share of the training loss that goes at least, while the validation loss rises
LEARNED = 0.05  # share of the first training loss that must go, or nothing was learned
BEHIND = 1.5  # the training loss ends this much above the lowest of any value: underfit
GAP = 0.10  # of the validation loss; a smaller gap to the training loss is no overfitting
SLOW = 1 / 3  # the fastest value was there after this share of the iterations
FALLING = 0.05  # share of the whole fall that comes in the last quarter: still falling
GAINING = 0.05  # share of the whole gain that comes in the last quarter: still improving
CHANCE = 0.01  # of an F test that a value's variance between seeds is no larger than the others'
CONFIDENCE = 0.95
LISTED = 5  # differences in one sentence
FEW = 8  # seeds below which Student's t makes the interval: too few to resample


@dataclass(frozen=True)
class Run:
    """One training: a value of what is varied, a seed, and its curves."""

    value: str
    seed: int
    curves: Mapping[str, CurvePoints]  # train_loss, val_loss, val_accuracy, seconds …
    diverged: bool = False  # its loss became nan or infinite, and it was ended

    def series(self, name: str) -> Array:
        """[n] values, nan and infinity included; empty where the metric was not reported."""
        return np.array([value for _, value in self.curves.get(name, ())], dtype=float)

    def final(self, name: str) -> float | None:
        """The last finite value; None for a run that diverged."""
        values = finite(value for _, value in self.curves.get(name, ()))
        return values[-1] if values and not self.diverged else None

    def result(self, metric: Metric) -> float | None:
        """The value that counts: the last, or the best where the metric counts at its best."""
        if metric.at == "last" or self.diverged:
            return self.final(metric.name)
        values = finite(value for _, value in self.curves.get(metric.name, ()))
        return max(values, key=metric.score, default=None)


@dataclass(frozen=True)
class Finding:
    kind: str  # one of RULES, or `unstable`
    sentence: str  # with its numbers
    seeds: int  # that show it
    of: int


@dataclass(frozen=True)
class Difference:
    """Mean of a - b over common seeds, in units of the metric, with a 95 % interval."""

    first: str
    second: str
    mean: float
    low: float
    high: float
    n: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:.3g}, from one seed"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}], n = {self.n}"


@dataclass(frozen=True)
class Peers:
    """What the best of all values reached: the measure of slow and of underfit."""

    fastest: str = ""
    curve: Array = field(default_factory=lambda: np.empty(0))  # its training loss, mean over seeds


Measured = dict[str, float | str]


def smooth(values: Array) -> Array:
    """Running median over a twentieth of the curve: single outliers decide nothing."""
    width = max(1, len(values) // 20 // 2 * 2 + 1)
    padded = np.pad(values, width // 2, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1))


def diagnose(runs: Sequence[Run], metric: Metric, others: Sequence[Run] = ()) -> list[Finding]:
    """What the runs of one value show; `others` are the runs of the other values, to compare with."""
    findings = []
    # Losses near the largest float have differences beyond it: they compare as infinite, and rightly so.
    with np.errstate(over="ignore", invalid="ignore"):
        peers = _peers([*runs, *others])
        for kind, (rule, sentence, _) in RULES.items():
            numbers = [result for run in runs if (result := rule(run, metric, peers)) is not None]
            if len(numbers) * 2 > len(runs):
                text = sentence.format(**_typical(numbers))
                findings.append(Finding(kind, text, len(numbers), len(runs)))
            if kind == "diverged" and findings:
                return findings  # the rest of such a curve means nothing
    return findings + _unstable(runs, metric, others)


def _peers(runs: Sequence[Run]) -> Peers:
    by_value: dict[str, list[Array]] = {}
    for run in runs:
        losses = run.series("train_loss")
        if len(losses) > 1 and not run.diverged and np.isfinite(losses).all():
            by_value.setdefault(run.value, []).append(losses)
    if not by_value:
        return Peers()
    means = {value: _mean_curve(curves) for value, curves in by_value.items()}
    fastest = min(means, key=lambda value: float(means[value][-1]))
    return Peers(fastest, means[fastest])


def _mean_curve(curves: Sequence[Array]) -> Array:
    shortest = min(map(len, curves))
    return np.asarray(np.mean([curve[:shortest] for curve in curves], axis=0))


def _typical(numbers: Sequence[Measured]) -> dict[str, str]:
    """The median of each number over seeds; texts are the first seed's."""
    typical = {}
    for key, first in numbers[0].items():
        values = [result[key] for result in numbers]
        numeric = [value for value in values if not isinstance(value, str)]
        if key in ("epoch", "last", "there"):
            typical[key] = str(round(median(numeric)))
        else:
            typical[key] = number(float(f"{median(numeric):.3g}")) if numeric else str(first)
    return typical


# -- the rules


def _diverged(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    for name in ("train_loss", "val_loss", metric.name):
        values = run.series(name)
        broken = np.flatnonzero(~np.isfinite(values))
        if len(broken):
            return {"what": f"{name} is not finite", "epoch": run.curves[name][int(broken[0])][0]}
    last = max((curve[-1][0] for curve in run.curves.values() if curve), default=0)
    if run.diverged:
        return {"what": "the loss was no longer finite after that", "epoch": last}
    losses = run.series("train_loss")
    if len(losses) > 2 and smooth(losses)[-1] > RISE * losses[0] > 0:
        return {"what": f"train_loss rose from {losses[0]:.3g} to {losses[-1]:.3g}", "epoch": last}
    return None


def _nothing(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    losses = run.series("train_loss")
    if len(losses) < 2:
        return None
    behind = not len(peers.curve) or losses[-1] > BEHIND * peers.curve[-1]
    if losses[0] - losses[-1] < LEARNED * losses[0] and behind:
        return {"first": losses[0], "end": losses[-1]}
    return None


def _bouncing(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    losses = run.series("train_loss")
    if len(losses) < 6 or _nothing(run, metric, peers):
        return None
    steps, fall = np.diff(losses[len(losses) // 2 :]), losses[0] - losses.min()
    size, upward = float(np.abs(steps).mean() / fall) if fall > 0 else 0.0, float((steps > 0).mean())
    if size >= STEP and upward >= UPWARD:
        return {"size": 100 * size, "upward": 100 * upward}
    return None


def _jumping(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    """A training loss is a mean over the epoch: large steps may show only in what is measured at its end."""
    late = run.series("val_loss")[len(run.series("val_loss")) // 2 :]
    if len(late) < 3 or not np.isfinite(late).all():
        return None
    steps = np.diff(late)
    size, upward = float(np.abs(steps).mean() / np.median(late)), float((steps > 0).mean())
    if size >= VAL_STEP and upward >= UPWARD:
        return {"size": 100 * size, "upward": 100 * upward}
    return None


def _too_slow(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    losses = run.series("train_loss")
    if len(losses) < 4 or run.value == peers.fastest or not len(peers.curve):
        return None
    if _nothing(run, metric, peers) or _bouncing(run, metric, peers):
        return None
    there = np.flatnonzero(peers.curve <= smooth(losses)[-1])
    fall, late = losses[0] - losses[-1], losses[len(losses) * 3 // 4] - losses[-1]
    if len(there) and there[0] + 1 <= SLOW * len(losses) and late > FALLING * fall > 0:
        return {"end": losses[-1], "last": len(losses), "peer": peers.fastest, "there": int(there[0]) + 1}
    return None


def _underfit(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    train, val = run.series("train_loss"), run.series("val_loss")
    if len(train) < 2 or not len(val) or not len(peers.curve) or run.value == peers.fastest:
        return None
    if _nothing(run, metric, peers) or _too_slow(run, metric, peers):
        return None
    gap = val[-1] - train[-1]
    if train[-1] > BEHIND * peers.curve[-1] and gap < GAP * val[-1]:
        return {"end": train[-1], "peer": peers.fastest, "lowest": float(peers.curve[-1]), "val": val[-1]}
    return None


def _overfit(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    train, val = run.series("train_loss"), run.series("val_loss")
    if len(val) < 5 or len(train) != len(val):
        return None
    calm = smooth(val)
    lowest = int(calm.argmin())
    rose = lowest < 0.9 * len(val) and calm[-1] > OVERFIT * calm[lowest]
    if rose and train[-1] < (1 - MEANWHILE) * train[lowest]:
        return {
            "epoch": run.curves["val_loss"][lowest][0],
            "low": float(calm[lowest]),
            "end": float(calm[-1]),
            "before": float(train[lowest]),
            "after": float(train[-1]),
        }
    return None


def _still_improving(run: Run, metric: Metric, peers: Peers) -> Measured | None:
    values = run.series(metric.name)
    if len(values) < 4:
        return None
    scores = smooth(values if metric.mode == "max" else -values)
    late, whole = scores[-1] - scores[len(scores) * 3 // 4 - 1], scores.max() - scores[0]
    at_end = int(scores.argmax()) >= len(scores) - 1 - len(scores) // 10
    if at_end and whole > 0 and late > GAINING * whole:
        return {"metric": metric.name, "late": float(late), "share": 100 * float(late / whole)}
    return None


def _unstable(runs: Sequence[Run], metric: Metric, others: Sequence[Run]) -> list[Finding]:
    lost = sum(_diverged(run, metric, Peers()) is not None for run in runs)
    if 0 < lost < len(runs):
        sentence = f"unstable between seeds: {lost} of {len(runs)} diverged, the others did not"
        return [Finding("unstable", sentence, lost, len(runs))]
    mine = finite(run.result(metric) for run in runs)
    by_value: dict[str, list[float]] = {}
    for run in others:
        if (end := run.result(metric)) is not None:
            by_value.setdefault(run.value, []).append(end)
    groups = [ends for ends in by_value.values() if len(ends) >= 3]
    freedom = sum(len(ends) - 1 for ends in groups)
    if len(mine) < 3 or not freedom:
        return []
    own, spreads = deviation(mine), [deviation(ends) for ends in groups]
    largest = max(spreads)
    if largest == 0 or not math.isfinite(largest):
        return []
    squares = [(each / largest) ** 2 * (len(ends) - 1) for each, ends in zip(spreads, groups, strict=True)]
    usual = math.sqrt(sum(squares) / freedom) * largest
    if _chance_of_ratio(own / usual, len(mine) - 1, freedom) > CHANCE:
        return []
    sentence = (
        f"unstable between seeds: {metric.name} ends between {number(min(mine))} and {number(max(mine))} "
        f"(sd {own:.3g}; the other values {usual:.3g})"
    )
    return [Finding("unstable", sentence, len(mine), len(runs))]


def _chance_of_ratio(ratio: float, freedom: int, other_freedom: int) -> float:
    """How likely two equal variances show standard deviations this far apart: an F test."""
    from scipy import stats

    return float(stats.f.sf(min(ratio, 1e100) ** 2, freedom, other_freedom))


# -- which value is best, and whether the data can tell


def paired(
    first: Mapping[int, float], second: Mapping[int, float], labels: tuple[str, str]
) -> Difference | None:
    """The mean difference over common seeds; None without one. nan ends where there is a single seed.

    From eight seeds on a bootstrap over seeds, its percentiles widened as Hesterberg (2015) does for small
    samples; below eight Student's t, as so few can't be resampled.
    """
    seeds = sorted(set(first) & set(second))
    if not seeds:
        return None
    from scipy import stats

    unit = unit_of([numbers[seed] for seed in seeds for numbers in (first, second)])
    # Scaled, as differences and squares of the largest floats overflow.
    gaps = np.array([first[seed] / unit - second[seed] / unit for seed in seeds])
    middle, quantile = float(gaps.mean()), float(stats.t.ppf((1 + CONFIDENCE) / 2, max(1, len(gaps) - 1)))
    if len(gaps) < 2:
        low, high = math.nan, math.nan
    elif np.ptp(gaps) == 0:
        low, high = middle, middle
    elif len(gaps) < FEW:
        reach = float(quantile * gaps.std(ddof=1) / math.sqrt(len(gaps)))
        low, high = middle - reach, middle + reach
    else:
        level = 1 - 2 * float(stats.norm.sf(quantile * math.sqrt(len(gaps) / (len(gaps) - 1))))
        drawn = stats.bootstrap((gaps,), np.mean, confidence_level=level, method="percentile", rng=0)
        low, high = float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)
    return Difference(*labels, middle * unit, low * unit, high * unit, len(gaps))


def results(runs: Sequence[Run], metric: Metric) -> dict[str, dict[int, float]]:
    """value -> seed -> its result; diverged runs left out, values in order of appearance."""
    by_value: dict[str, dict[int, float]] = {run.value: {} for run in runs}
    for run in runs:
        result = run.result(metric)
        if result is not None:
            by_value[run.value][run.seed] = result
    return by_value


def ranked(runs: Sequence[Run], metric: Metric) -> list[str]:
    """Values by the mean of their results, the best first; those that lost a seed are not ranked."""
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.value] = counts.get(run.value, 0) + 1
    whole = {value: ends for value, ends in results(runs, metric).items() if len(ends) == counts[value]}
    return sorted(whole, key=lambda value: -metric.score(mean(list(whole[value].values()))))


def differences(runs: Sequence[Run], metric: Metric) -> list[Difference]:
    """By how much the best value is ahead of every other that was ranked: positive means better."""
    order, ends = ranked(runs, metric), results(runs, metric)
    scores = {value: {seed: metric.score(end) for seed, end in ends[value].items()} for value in order}
    gaps = [paired(scores[order[0]], scores[other], (order[0], other)) for other in order[1:]]
    return [gap for gap in gaps if gap is not None]


def verdict(runs: Sequence[Run], metric: Metric) -> list[str]:
    """Which value is best and whether the difference is significant, in sentences."""
    order, ends = ranked(runs, metric), results(runs, metric)
    if len(ends) < 2:
        return ["One value was run: there is nothing to compare."] if ends else ["Nothing was run."]
    lost = [value for value in ends if value not in order]
    sentences = [f"Not ranked, as a seed diverged or failed: {', '.join(lost)}."] if lost else []
    if len(order) < 2:
        return [*sentences, "Fewer than two values have a result with all seeds: there is nothing to rank."]
    best, gaps = order[0], differences(runs, metric)
    middle = number(float(f"{mean(list(ends[best].values())):.4g}"))
    if not gaps:
        shared = f"{best} has the best mean {metric.name}, {middle}, but shares no seed with the others."
        return [*sentences, shared]
    if max(gap.n for gap in gaps) < 2:
        listed = ", ".join(f"{value} {number(next(iter(ends[value].values())))}" for value in order)
        return [
            *sentences,
            f"One seed each cannot rank the values ({metric.name}: {listed}): "
            f"{best} is {number(abs(gaps[0].mean))} ahead of {gaps[0].second}, and nothing says how "
            "much of it is chance. Run three seeds or more.",
        ]
    significant = [gap for gap in gaps if gap.significant]
    others = [gap for gap in gaps if not gap.significant]
    if not significant:
        return [
            *sentences,
            f"No significant effect: {best} has the best mean {metric.name}, {middle}, but its differences "
            f"to the others, {_listed(others)}, all have intervals that hold 0.",
        ]
    ahead = _listed(significant)
    sentences.append(f"{best} is best with a mean {metric.name} of {middle}; it is ahead of {ahead}.")
    if others:
        sentences.append(f"It does not differ significantly from {_listed(others)}.")
    return sentences


def _listed(gaps: Sequence[Difference]) -> str:
    more = f"; and {len(gaps) - LISTED} more" if len(gaps) > LISTED else ""
    return "; ".join(f"{gap.second} by {gap}" for gap in gaps[:LISTED]) + more


Detector = Callable[[Run, Metric, Peers], Measured | None]

# kind -> the rule, the sentence for what it finds, and the rule in words
RULES: dict[str, tuple[Detector, str, str]] = {
    "diverged": (
        _diverged,
        "diverged at iteration {epoch}: {what}",
        f"a loss is nan or infinite, or the training loss ends {RISE} times above its first value",
    ),
    "nothing learned": (
        _nothing,
        "learned almost nothing: train_loss went from {first} to {end}",
        f"the training loss fell by less than {LEARNED:.0%} and ends {BEHIND} times above the best value's",
    ),
    "bouncing": (
        _bouncing,
        "bounces, as where the learning rate is too high: in the second half train_loss moves by {size} % of "
        "its whole fall from one iteration to the next, {upward} % of the steps upwards",
        f"in the second half, the mean step of the training loss is {STEP:.0%} of its whole fall or more, "
        f"and {UPWARD:.0%} of the steps or more go up",
    ),
    "jumping": (
        _jumping,
        "jumps in validation, as where the learning rate is too high: in the second half val_loss moves by "
        "{size} % of its level from one iteration to the next, {upward} % of the steps upwards",
        f"in the second half, the mean step of the validation loss is {VAL_STEP:.0%} of its median or more, "
        f"and {UPWARD:.0%} of the steps or more go up",
    ),
    "too slow": (
        _too_slow,
        "too slow, as where the learning rate is too low: after {last} iterations its train_loss of {end} is "
        "where {peer} was after {there}, and it is still falling",
        "the fastest value had the same training loss after a third of the iterations, and "
        f"{FALLING:.0%} of the fall or more comes in the last quarter",
    ),
    "underfit": (
        _underfit,
        "underfits: train_loss ends at {end} and val_loss at {val}; {peer} has a train_loss of {lowest}",
        f"the training loss ends {BEHIND} times above the lowest of any value, and the gap to the validation "
        f"loss is below {GAP:.0%} of it",
    ),
    "overfit": (
        _overfit,
        "overfits since iteration {epoch}: val_loss rose from {low} to {end} while train_loss fell from "
        "{before} to {after}",
        f"the validation loss (running median) ends {OVERFIT - 1:.0%} or more above its lowest, which lies "
        f"in the first nine tenths, while the training loss fell by another {MEANWHILE:.0%} or more",
    ),
    "still improving": (
        _still_improving,
        "still improving at the end: {late} of {metric}, {share} % of the gain, came in the last quarter",
        f"the metric is best in the last tenth, and {GAINING:.0%} of its whole gain or more came in the last "
        "quarter",
    ),
}
UNSTABLE_RULE = (
    "some seeds diverged and others did not, or the variance between seeds is above the other values' by "
    f"an F test at {CHANCE:.0%}"
)
