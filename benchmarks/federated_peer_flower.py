"""Flower's simulation of the federation that federated_rounds.py measures; run by it in Flower's environment.

Data are in memory, the model is plain torch, nothing is evaluated: what is left is the simulation. This file
must be imported, not run: Flower's workers would load a client app from __main__ anew with each message.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

BATCH, STEPS, LR = 32, 8, 0.1
_data: dict[str, np.ndarray] = {}


def net() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def data() -> dict[str, np.ndarray]:
    """Read once per worker."""
    if not _data:
        folder = Path(os.environ["TUNEAPP_DATA"]) / "mnist"
        _data["x"] = np.load(folder / "train_images.npy", mmap_mode="r").reshape(-1, 784)
        _data["y"] = np.load(folder / "train_labels.npy")
    return _data


client = ClientApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    torch.set_num_threads(1)
    everything = data()
    model = net()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    draw = np.random.default_rng()
    loss_sum = 0.0
    for _ in range(STEPS):
        rows = draw.integers(0, len(everything["y"]), BATCH)
        x = torch.from_numpy(everything["x"][rows]).float() / 255
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), torch.from_numpy(everything["y"][rows]))
        loss.backward()
        optimizer.step()
        loss_sum += loss.item()
    metrics = MetricRecord({"train_loss": loss_sum, "num-examples": BATCH * STEPS})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


def main() -> None:
    began = time.time()
    clients, fraction, rounds = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    marks: list[float] = []
    server = ServerApp()

    @server.main()
    def run(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_train=fraction, fraction_evaluate=0.0, min_available_nodes=clients)

        def mark(round_number: int, arrays: ArrayRecord) -> MetricRecord:
            marks.append(time.time())
            return MetricRecord({"round": round_number})

        strategy.start(
            grid=grid, initial_arrays=ArrayRecord(net().state_dict()), num_rounds=rounds, evaluate_fn=mark
        )

    run_simulation(
        server,
        client,
        num_supernodes=clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": len(os.sched_getaffinity(0))},
        },
    )
    seconds = [later - earlier for earlier, later in itertools.pairwise(marks)]
    print("RESULT " + json.dumps({"rounds": seconds, "start": marks[1] - began if len(marks) > 1 else None}))
