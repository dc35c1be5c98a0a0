"""Learning curves that others wrote as CSV files, as a run directory: judged like a study of our own."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneapp.analysis.replay import read_csv
from tuneapp.errors import UsageError
from tuneapp.search.plan import Cell, Plan, Table, make_plan
from tuneapp.settings import Config, Metric, Metrics, Request, SchedulerSettings, SearchSettings
from tuneapp.settings import config_key as key
from tuneapp.spaces import SearchSpace
from tuneapp.spaces.files import SpaceFile
from tuneapp.spaces.section import EffectsSection, TableRequest
from tuneapp.studies import Asked, Closed, Ended, Journal, Reported, RunDirectory, Started, TrialState

# Words of file names that stand for a value by themselves; a word before a number is a name.
WORDS: dict[str, Config] = {
    **{word: {"activation": word} for word in ("relu", "sigmoid", "silu", "gelu", "tanh")},
    **{word: {"schedule": word} for word in ("constant", "cosine", "one_cycle")},
    "cosine_annealing": {"schedule": "cosine"},
    **{word: {"optimizer": word} for word in ("sgd", "adam", "adamw")},
}
NAMES = {"wd": "weight_decay", "bs": "batch_size", "learning_rate": "lr", "batch": "batch_size"}
COLUMNS = {"valid": "val", "validation": "val", "acc": "accuracy"}  # words of a head; test stays test
ITERATION = ("epoch", "round", "iteration", "step")
MOST_FILES = 1000


def import_curves(
    folder: Path, file: SpaceFile | None, runs_dir: Path, name: str | None, argv: Sequence[str] = ()
) -> RunDirectory:
    """A run directory that holds the folder's curves, one CSV per run, and the plan that they make.

    A file's name tells its config: `lr_0.05_wd_0_relu_constant.csv`, with `seed_1` where there are several.
    One row per iteration; an accuracy in per cent becomes a share. With a study's space file its tables,
    words and claims are used; without one, each hyperparameter that the files vary alone is a table. Raises
    UsageError for a folder without such files.
    """
    paths = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    if not 0 < len(paths) <= MOST_FILES:
        raise UsageError(
            f"--from-csv must name a folder of 1 to {MOST_FILES} CSV files, one per run, "
            f"but {folder} has {len(paths)}."
        )
    section = EffectsSection.read(file.effects or {}) if file else EffectsSection()
    named = {path: _config(path.stem, section.words) for path in paths}
    histories = {path: _history(path) for path in paths}
    metric = file.metric if file and file.metric else Metric("val_accuracy")
    for path, history in histories.items():
        if metric.name not in history[0]:
            raise UsageError(f"{path} must have a column for {metric.name}, but has {', '.join(history[0])}.")
    plan, space, configs = _plan(named, file, section)
    request = Request(
        task=f"csv/{folder.name}",
        space=space.to_dict(),
        metric=metric,
        search=SearchSettings(algorithm="cells", samples=len(paths), warmup=0, plan=plan.to_json()),
        scheduler=SchedulerSettings(type="none", max_iterations=max(map(len, histories.values()))),
    )
    run = RunDirectory.create(runs_dir, name, request, {"argv": list(argv)})
    journal = Journal(run, run.read())
    for number, path in enumerate(paths):
        config, seed = configs[path], named[path][1]
        journal.write(Asked(number, config, "cell", seed))
        journal.write(Started(number))
        for iteration, metrics in enumerate(histories[path], 1):
            journal.write(Reported(number, iteration, metrics))
        whole = all(math.isfinite(value) for value in histories[path][-1].values())
        journal.write(Ended(number, TrialState.FINISHED if whole else TrialState.DIVERGED))
    journal.write(Closed())
    return run


def _plan(
    named: Mapping[Path, tuple[Config, int]], file: SpaceFile | None, section: EffectsSection
) -> tuple[Plan, SearchSpace, dict[Path, Config]]:
    """The plan of a study's file, or the one that the files' configs make; each file's complete config."""
    seeds = sorted({seed for _, seed in named.values()})
    if file is not None:
        asked: list[TableRequest] = list(section.tables)
        claims, combinations = section.claims, section.combinations
        plan, space = make_plan(file.space, asked, seeds=seeds, named=combinations, claims=claims)
        base = plan.tables[0].base
        return plan, space, {path: {**base, **config} for path, (config, _) in named.items()}
    configs = [config for config, _ in named.values()]
    names = list(dict.fromkeys(name for config in configs for name in config))
    hyperparameters: dict[str, Any] = {}
    for hyperparameter in names:
        seen = list(dict.fromkeys(config[hyperparameter] for config in configs if hyperparameter in config))
        numbers = all(isinstance(value, int | float) for value in seen)
        hyperparameters[hyperparameter] = (
            {"type": "ordinal" if numbers else "categorical", "choices": sorted(seen) if numbers else seen}
            if len(seen) > 1
            else seen[0]
        )
    base = max(configs, key=lambda config: sum(_apart(config, other) == 1 for other in configs))
    tables = []
    for hyperparameter in names:
        near = {
            key(c): c for c in configs if all(c.get(n) == base.get(n) for n in names if n != hyperparameter)
        }
        if len(near) > 1:
            ordered = sorted(near.values(), key=lambda c: _order(c[hyperparameter]))
            cells = tuple(Cell((config[hyperparameter],), config) for config in ordered)
            tables.append(Table((hyperparameter,), cells, base))
    if not tables:
        raise UsageError("The files must vary at least one hyperparameter alone, but their names vary none.")
    others = {
        path.stem: config
        for path, (config, _) in named.items()
        if not any(key(config) == key(cell.config) for table in tables for cell in table.cells)
    }
    plan = Plan(tuple(tables), tuple(seeds), named=others)
    return plan, SearchSpace(hyperparameters), {path: config for path, (config, _) in named.items()}


def _apart(one: Config, other: Config) -> int:
    return sum(one.get(name) != other.get(name) for name in {*one, *other})


def _order(value: Any) -> tuple[int, float, str]:
    return (0, value, "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _config(stem: str, words: Mapping[str, Any]) -> tuple[Config, int]:
    """(config, seed) of a file name: `lr_0.05_wd_0_relu` -> ({"lr": 0.05, "weight_decay": 0, …}, 0)."""
    values = {**WORDS, **{word: meant for word, meant in words.items() if isinstance(meant, Mapping)}}
    names = {**NAMES, **{word: meant for word, meant in words.items() if isinstance(meant, str)}}
    parts = [part for part in re.split(r"[_\s=]+", stem) if part]
    config: Config = {}
    position = 0
    while position < len(parts):
        rest = [part.lower() for part in parts[position:]]
        phrases = ["_".join(rest[:length]) for length in (3, 2, 1)]
        phrase = next((phrase for phrase in phrases if phrase in values), None)
        value_at = next((i for i, part in enumerate(rest[:4]) if _number(part) is not None), 0)
        if phrase is not None:
            config |= values[phrase]
            position += phrase.count("_") + 1
        elif value_at:
            word = "_".join(rest[:value_at])
            config[names.get(word, word)] = _number(rest[value_at])
            position += value_at + 1
        else:
            raise UsageError(
                f"A file's name must tell its config as in lr_0.05_wd_0_relu_constant.csv, but of '{stem}' "
                f"'{parts[position]}' is neither followed by a number nor one of {', '.join(values)}."
            )
    return config, int(config.pop("seed", 0))


def _history(path: Path) -> list[Metrics]:
    """One item per row: columns by our names, accuracies as shares."""
    history: list[Metrics] = []
    for line, row in read_csv(path)[1]:
        metrics: Metrics = {}
        for head, text in row.items():
            column = _column(head)
            if column in ITERATION or not text:
                continue
            try:
                metrics[column] = float(text)
            except ValueError:
                raise UsageError(
                    f"{path}, line {line}: '{head:.40}' must be a number, but is {text!r:.40}; mend it."
                ) from None
        history.append(metrics)
    for column in history[0]:
        if "accuracy" in column and max(metrics.get(column, 0.0) for metrics in history) > 1:
            for metrics in history:
                metrics[column] = metrics[column] / 100
    return history


def _column(head: str) -> str:
    """`Valid Accuracy` -> val_accuracy, `Learning Rate` -> lr."""
    words = [COLUMNS.get(word, word) for word in re.split(r"[\s_./-]+", head.strip().lower()) if word]
    column = "_".join(words)
    return NAMES.get(column, column)


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
