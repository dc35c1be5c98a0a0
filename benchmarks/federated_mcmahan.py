"""Rounds to a test accuracy, as in tables 1 and 2 of McMahan et al. (2017), on real MNIST.

    python benchmarks/federated_mcmahan.py --model fedavg_cnn --epochs 1 --lr 0.1 0.2 --seeds 0

Each run is one line of JSON on stdout as it ends: the settings, the round at which the best test accuracy so
far first reached the target (null: not within --most-rounds), the CPU seconds of training. One process, one
thread. As in the paper the examples are all dealt to the clients (but for ten, the smallest validation set
there is), the learning rate is the best of some, and the test set is read every round: this counts rounds,
it chooses no model. Whoever chooses the learning rate here should report other seeds than chose it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from tuneapp import data
from tuneapp.federated import checkpoints
from tuneapp.federated.engines import ENGINES
from tuneapp.federated.evaluation import evaluate_rows
from tuneapp.federated.rounds import rounds, set_up
from tuneapp.objectives import Context, Diverged

TARGETS = {"fedavg_cnn": 0.99, "mlp": 0.97}
FIRST_LOOK = 2000  # test pictures; all 10,000 are read where these come near the target
NEAR = 0.006


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=sorted(TARGETS), default="mlp")
    parser.add_argument("--partition", choices=["iid", "shards"], default="iid")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--lr", type=float, nargs="+", default=[0.1])
    parser.add_argument("--lr-decay", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--most-rounds", type=int, default=100)
    wanted = parser.parse_args()
    for lr in wanted.lr:
        for seed in wanted.seeds:
            print(json.dumps(count_rounds(wanted, lr, seed)), flush=True)


def count_rounds(wanted: argparse.Namespace, lr: float, seed: int) -> dict[str, object]:
    images = data.load("mnist")
    config = {
        "model": wanted.model,
        "clients": 100,
        "fraction": 0.1,
        "partition": wanted.partition,
        "local_epochs": wanted.epochs,
        "batch_size": wanted.batch_size,
        "lr": lr,
        "lr_decay": wanted.lr_decay,
    }
    if wanted.model == "mlp":
        config |= {"width1": 200, "width2": 200}  # the paper's 2NN
    target = TARGETS[wanted.model]
    small = {"val_examples": 10, "split_seed": seed}
    federation = set_up(config, Context(seed=seed), images, **small).federation
    engine = ENGINES[federation.engine](federation, images.test_images, images.test_labels)
    best, reached, seconds, curve = 0.0, None, 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        context = Context(seed=seed, max_iterations=wanted.most_rounds, folder=Path(folder))
        history = rounds(config, context, images, eval_every=wanted.most_rounds, **small)
        try:
            for number in range(1, wanted.most_rounds + 1):
                began = time.process_time()
                next(history)
                seconds += time.process_time() - began
                state = checkpoints.read(Path(folder)).state
                accuracy = 0.0
                for rows in (FIRST_LOOK, len(images.test_labels)):
                    if rows == FIRST_LOOK or accuracy > target - NEAR:
                        seen = np.arange(rows)
                        accuracy = evaluate_rows(engine, state, images.test_images, images.test_labels, seen)[
                            1
                        ]
                        best = max(best, accuracy) if rows > FIRST_LOOK else best
                curve.append(accuracy)
                if best >= target:
                    reached = number
                    break
        except Diverged:
            pass
    return {
        "model": wanted.model,
        "partition": wanted.partition,
        "epochs": wanted.epochs,
        "batch_size": wanted.batch_size,
        "lr": lr,
        "lr_decay": wanted.lr_decay,
        "seed": seed,
        "rounds": reached,
        "last_accuracy": curve[-1] if curve else None,
        "train_cpu_seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
