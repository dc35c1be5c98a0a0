"""The tables of Qian's study of federated MNIST beside ours: test accuracy, mean ± sd over seeds.

    TUNEAPP_DATA=… python benchmarks/federated_study.py --seeds 0 1 2 --picture docs/federated-study.png

The study states neither its number of clients nor its layers' widths; here 8 clients and 784-512-256-10.
Nothing but the table's own hyperparameter differs from its base: lr 0.1, batch 32, 8 local steps, 32 rounds.
The test set is read once a federation, at its end. The picture has the loss curves of the first seed.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tuneapp import data
from tuneapp.federated.rounds import evaluate, rounds
from tuneapp.objective import Context, Diverged

BASE = {"lr": 0.1, "batch_size": 32, "local_steps": 8, "rounds": 32, "clients": 8, "weighting": "uniform"}
# figure of the study -> (what differs from the base, its accuracy in percent; None: it gives none)
FIGURES: dict[str, list[tuple[dict[str, Any], float | None]]] = {
    "1: learning rate": [({}, 88.74), ({"lr": 0.01}, 67.0), ({"lr": 1.0}, None), ({"lr": 5.0}, None)],
    "2: rounds": [({}, 88.74), ({"rounds": 96}, 91.64)],
    "3: local steps": [({"local_steps": 2}, 66.18), ({}, 88.74)],
    "4: batch size": [
        ({"batch_size": 16}, 87.72),
        ({}, 88.74),
        ({"batch_size": 64}, 89.98),
        ({"batch_size": 128}, 89.75),
    ],
}


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--picture", type=Path)
    wanted = parser.parse_args()
    results: dict[str, list[tuple[float | None, list[float]]]] = {}
    print("| differs from the base | study | ours, % of the test set | seeds |\n| --- | --- | --- | --- |")
    for rows in FIGURES.values():
        for differs, paper in rows:
            key = json.dumps(differs)
            if key in results:
                continue
            config = BASE | {"clients": wanted.clients} | differs
            results[key] = [train(config, seed) for seed in wanted.seeds]
            ours = told(results[key])
            print(f"| {named(differs)} | {paper or '-'} | {ours} | {len(wanted.seeds)} |", flush=True)
    if wanted.picture:
        draw(results, wanted.picture)


def train(config: dict[str, Any], seed: int) -> tuple[float | None, list[float]]:
    """(test accuracy in percent, None where the loss became nan or infinite; the loss after each round)."""
    images = data.load("mnist")
    losses: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        context = Context(seed=seed, max_iterations=config["rounds"], folder=Path(folder))
        try:
            losses.extend(
                metrics["train_loss"]
                for metrics in rounds(config, context, images, eval_every=config["rounds"], split_seed=seed)
            )
        except Diverged:
            return None, losses
        context.checkpoint = Path(folder)
        return 100 * evaluate(config, context, images)["test_accuracy"], losses


def told(runs: list[tuple[float | None, list[float]]]) -> str:
    accuracies = [accuracy for accuracy, _ in runs if accuracy is not None]
    diverged = len(runs) - len(accuracies)
    if not accuracies:
        return "diverges"
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    also = f"; {diverged} of {len(runs)} diverge" if diverged else ""
    return f"{statistics.mean(accuracies):.2f} ± {spread:.2f}{also}"


def named(differs: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in differs.items()) or "nothing: the base"


def draw(results: dict[str, list[tuple[float | None, list[float]]]], path: Path) -> None:
    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(2, 2).ravel(), FIGURES.items(), strict=True):
        for differs, _ in rows:
            losses = results[json.dumps(differs)][0][1]
            name = named(differs).removeprefix("nothing: the ")
            axes.plot(range(1, len(losses) + 1), losses, label=name, linewidth=1.2)
        axes.set(title=f"study's figure {title}", xlabel="round", ylabel="loss, summed over local steps")
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
