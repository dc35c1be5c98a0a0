"""Seconds a round of federated training, ours and others', in one run on the same cores.

Milliseconds a round, medians (n = 60 … 2, as in PLAN) on cores 2 and 3 of a 4-core AMD EPYC (Zen 5) with
nothing else to do, RAY_worker_niceness=0; Python 3.11, ray 2.60, torch 2.15, numpy 2.4.6, Flower 1.41 (ray
2.55); OpenBLAS by its own choice (AVX-512), but for the last column. They are of 3, 2, 2, 1 and 1 runs:

              8 clients         100 of 100    10 of 100   1,000 of 1,000   8, AVX2
    ours      22, 25, 27        226, 225      29, 31       2,206             31
    here      32, 32, 33        391, 405      40, 43           -             49
    naive     139, 166, 150       -             -              -            150
    study     1,056 … 1,113       -             -              -          1,370
    flower    206, 310, 310     1,889, 2,107  308, 318    51,215            306
    floor     14, 17, 21        182, 171      18, 21       1,675             26
    flower / ours
              9.6, 12.2, 11.5   8.4, 9.4      10.5, 10.4    23.2           10.0

From command to printed test accuracy, 8 clients x 32 rounds, median of 3: ours 3.6 s (8.2 s with two actors
from the first round on; 6.9 s with plots and report), Flower 20.8 s without a test.

    TUNEAPP_DATA=… taskset -c 2,3 python benchmarks/federated_rounds.py --flower FLOWER_ENV/bin/python

The federation is that of Qian's study on MNIST: 784-512-256-10, 8 local steps of batch 32, plain SGD, all
clients drawing from the whole training set; nothing is evaluated. Each contender runs in processes of its
own, one after the other, and its first rounds are left out; medians over the others. Flower needs an
environment of its own, since it pins Ray (`pip install "flwr[simulation]" torch`); without --flower it is
left out.

    ours    client actors, as many as cores
    here    the same in one process, one core
    naive   a Ray actor a client, torch autograd and SGD, state dicts both ways
    study   the program that the study describes: a new multiprocessing Pool each round, deep copies of the
            model, a DataLoader with a RandomSampler and ToTensor over PIL images
    flower  Flower's current simulation on Ray, an actor a core, data in memory
    floor   the bare matrix products of our BlasSGD, on the same cores
"""

import argparse
import copy
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

SHAPES = [(512, 784), (256, 512), (10, 256)]
BATCH, STEPS, LR = 32, 8, 0.1
# (clients, share a round) -> contender: rounds measured, after WARM others
PLAN: dict[tuple[int, float], dict[str, int]] = {
    (8, 1.0): {"floor": 20, "ours": 60, "here": 20, "naive": 15, "study": 4, "flower": 30},
    (100, 1.0): {"floor": 8, "ours": 12, "here": 5, "flower": 6},
    (100, 0.1): {"floor": 30, "ours": 40, "here": 20, "flower": 15},
    (1000, 1.0): {"floor": 2, "ours": 3, "flower": 2},
}
WARM = {"ours": 3, "here": 2, "naive": 3, "study": 1, "flower": 1, "floor": 1}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flower", help="python of an environment that has flwr[simulation] and torch")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of clients to measure; else all")
    parser.add_argument("--memory-rounds", type=int, default=300)
    parser.add_argument("--start-to-end", type=int, default=3, help="repetitions of the whole command")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--clients", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fraction", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.contender:
        began = time.time()
        found = CONTENDERS[wanted.contender](wanted.clients, wanted.fraction, wanted.rounds)
        print("RESULT " + json.dumps({"process_seconds": time.time() - began, **found}))
        return
    cores = sorted(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "numpy"))
    kernels = os.environ.get("OPENBLAS_CORETYPE", "its own choice")
    print(f"cores {cores} ({platform.machine()}), load {os.getloadavg()[0]:.1f}, OpenBLAS for {kernels}")
    print(packages)
    for (clients, fraction), contenders in PLAN.items():
        if wanted.only and clients not in wanted.only:
            continue
        compare(clients, fraction, contenders, wanted.flower)
    if not wanted.only:
        growth(wanted.memory_rounds)
    if wanted.flower and wanted.start_to_end:
        from_command_to_result(wanted.flower, wanted.start_to_end)


def compare(clients: int, fraction: float, contenders: dict[str, int], flower: str | None) -> None:
    print(f"\n{clients} clients, {fraction:.0%} a round")
    print(f"  {'':8}{'ms a round':>12}{'spread':>16}{'rounds/s':>10}{'updates/s':>11}{'to ours':>9}{'MB':>8}")
    medians: dict[str, float] = {}
    lines = []
    for contender, rounds in contenders.items():
        if contender == "flower" and flower is None:
            continue
        found, megabytes = measure(contender, clients, fraction, rounds + WARM[contender], flower)
        seconds = sorted(found["rounds"][WARM[contender] :])
        medians[contender] = median = statistics.median(seconds)
        lines.append((contender, median, seconds, megabytes))
    for contender, median, seconds, megabytes in lines:
        updates = max(1, round(clients * fraction)) / median
        spread = f"{seconds[0] * 1e3:.0f}-{seconds[-1] * 1e3:.0f} n={len(seconds)}"
        print(
            f"  {contender:8}{median * 1e3:12.1f}{spread:>16}{1 / median:10.2f}{updates:11.0f}"
            f"{median / medians['ours']:9.2f}{megabytes:8.0f}",
            flush=True,
        )


def measure(
    contender: str, clients: int, fraction: float, rounds: int, flower: str | None
) -> tuple[dict[str, Any], float]:
    """What a contender printed, and the most memory that its processes had together (PSS, MB)."""
    here = Path(__file__)
    if contender == "flower":
        assert flower is not None
        code = "import federated_peer_flower as peer; peer.main()"
        command = [flower, "-c", code, str(clients), str(fraction), str(rounds)]
    else:
        command = [sys.executable, str(here), "--contender", contender, "--clients", str(clients)]
        command += ["--fraction", str(fraction), "--rounds", str(rounds)]
    environment = {**os.environ, "PYTHONPATH": str(here.parent), "FLWR_TELEMETRY_ENABLED": "0"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=here.parent,
    )
    most = 0.0
    while process.poll() is None:
        most = max(most, tree_megabytes(process.pid))
        try:
            process.wait(5)  # looking costs the kernel time that the contender would have
        except subprocess.TimeoutExpired:
            continue
    assert process.stdout is not None
    lines = [line for line in process.stdout.read().splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(
            f"{contender} with {clients} clients gave no result (exit code {process.returncode})"
        )
    found = json.loads(lines[-1].removeprefix("RESULT "))
    return found, max(most, found.get("megabytes", 0.0))


def tree_megabytes(pid: int) -> float:
    """PSS of a process and its descendants: shared pages are counted once."""
    total = 0.0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
    except psutil.Error:
        return 0.0
    return total / 2**20


def growth(rounds: int) -> None:
    """Memory after a few rounds and after many."""
    found, _ = measure("memory", 8, 1.0, rounds, None)
    early, late = found["early"], found["late"]
    print(f"\nmemory of ours with 8 clients: {early:.0f} MB after 20 rounds, {late:.0f} MB after {rounds}")


def from_command_to_result(flower: str, repetitions: int) -> None:
    """`tuneapp fed --clients 8` until it prints its test accuracy, and until it has drawn its
    plots and its report; Flower's training alone, without a test."""
    times: dict[str, list[float]] = {"ours": [], "with report": [], "2 actors": [], "flower": []}
    for repetition in range(repetitions):
        began = time.time()
        measure("flower", 8, 1.0, 32, flower)
        times["flower"].append(time.time() - began)
        runs = f"/tmp/federated-rounds-{os.getpid()}-{repetition}"
        command = [sys.executable, "-m", "tuneapp", "fed", "--clients", "8", "--quiet", "--runs-dir", runs]
        for name, more in (("ours", []), ("2 actors", ["--actors", "2"])):
            began = time.time()
            process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            while "test " not in process.stdout.readline():
                if process.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} gave no result")
            times[name].append(time.time() - began)
            process.wait()
            if name == "ours":
                times["with report"].append(time.time() - began)
    ours = statistics.median(times["ours"])
    print(f"\nfrom command to result, 8 clients x 32 rounds (medians of {repetitions})")
    for name, seconds in times.items():
        print(f"  {name:16}{statistics.median(seconds):8.1f} s  {statistics.median(seconds) / ours:6.2f}")


def federation(clients: int, fraction: float) -> tuple[Any, Any]:
    from tuneapp import data
    from tuneapp.federated.rounds import set_up
    from tuneapp.objective import Context

    images = data.load("mnist")
    return images, set_up({"clients": clients, "fraction": fraction}, Context(), images)


def timed_rounds(
    pool: Any, clients: int, fraction: float, rounds: int, look: Callable[[int], None] = lambda number: None
) -> list[float]:
    """Of the server's part too: orders out, sums in, the strategy. `look` is called after each round."""
    from tuneapp.federated.clients import draw_orders
    from tuneapp.federated.strategies import fedavg

    images, setup = federation(clients, fraction)
    pool.host(setup.federation, images.train_images, images.train_labels)
    state, seconds = setup.state, []
    for number in range(rounds):
        began = time.perf_counter()
        orders = draw_orders(setup.settings, setup.federation, number)
        total = pool.train(state, orders).total
        total /= np.float32(len(orders.clients))
        state, _ = fedavg(state, total, {}, setup.settings.server)
        seconds.append(time.perf_counter() - began)
        look(number)
    return seconds


def ours(clients: int, fraction: float, rounds: int) -> dict[str, Any]:
    from tuneapp.backends.ray import cluster
    from tuneapp.backends.ray.client_actors import RayPool
    from tuneapp.settings import Resources

    with cluster.connected(Resources()):
        seconds = timed_rounds(RayPool(cores()), clients, fraction, rounds)
        return {"rounds": seconds, "megabytes": tree_megabytes(os.getpid())}


def memory(clients: int, fraction: float, rounds: int) -> dict[str, Any]:
    from tuneapp.backends.ray import cluster
    from tuneapp.backends.ray.client_actors import RayPool
    from tuneapp.settings import Resources

    with cluster.connected(Resources()):
        found: list[float] = []

        def look(number: int) -> None:
            if number in (20, rounds - 1):
                found.append(tree_megabytes(os.getpid()))

        timed_rounds(RayPool(cores()), clients, fraction, rounds, look)
        return {"rounds": [], "early": found[0], "late": found[1]}


def here(clients: int, fraction: float, rounds: int) -> dict[str, Any]:
    from tuneapp.federated.pools import LocalPool

    return {"rounds": timed_rounds(LocalPool(), clients, fraction, rounds)}


def naive(clients: int, fraction: float, rounds: int) -> dict[str, Any]:
    from tuneapp import data
    from tuneapp.backends.ray import cluster
    from tuneapp.settings import Resources

    import ray  # isort: skip - after tuneapp.backends.ray, which tells it how to start
    import torch  # isort: skip

    images = data.load("mnist")
    pixels = np.asarray(images.train_images).reshape(-1, 784)

    class Client:
        def __init__(self, pixels: Any, labels: Any) -> None:
            torch.set_num_threads(1)
            self.pixels, self.labels = pixels, labels
            self.model = net()
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
            self.draw = np.random.default_rng()

        def train(self, state: dict[str, Any]) -> dict[str, Any]:
            self.model.load_state_dict(state)
            for _ in range(STEPS):
                rows = self.draw.integers(0, len(self.labels), BATCH)
                x = torch.from_numpy(self.pixels[rows]).float() / 255
                self.optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(self.model(x), torch.from_numpy(self.labels[rows]))
                loss.backward()
                self.optimizer.step()
            return self.model.state_dict()

    seconds = []
    with cluster.connected(Resources()):
        kind: Any = ray.remote(num_cpus=cores() / clients)(Client)
        held = ray.put(pixels), ray.put(images.train_labels)
        actors = [kind.remote(*held) for _ in range(clients)]
        state = net().state_dict()
        for _ in range(rounds):
            began = time.perf_counter()
            states = ray.get([actor.train.remote(state) for actor in actors])
            state = {key: sum(other[key] for other in states) / clients for key in state}
            seconds.append(time.perf_counter() - began)
        return {"rounds": seconds, "megabytes": tree_megabytes(os.getpid())}


def net() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )


class TorchvisionImages:
    """MNIST as torchvision gives it: a PIL image, made a tensor, one at a time."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        import torch
        from PIL import Image

        pil_image = Image.fromarray(self.images[at])
        return torch.from_numpy(np.array(pil_image)).float().div(255)[None], int(self.labels[at])


def train_model(task: tuple[Any, Any, Any]) -> tuple[Any, float]:
    """What the study's Pool maps: one model copy, its optimiser and its loader."""
    import torch

    torch.set_num_threads(1)
    model, optimizer, loader = task
    total = 0.0
    for step, (x, y) in enumerate(loader):
        if step == STEPS:
            break
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return model, total


def study(clients: int, fraction: float, rounds: int) -> dict[str, Any]:
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    from tuneapp import data

    torch.set_num_threads(1)
    images = data.load("mnist")
    dataset = TorchvisionImages(np.asarray(images.train_images)[..., 0], images.train_labels)
    model = net()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        tasks = []
        for _ in range(clients):
            duplicate = copy.deepcopy(model)
            loader = DataLoader(dataset, batch_size=BATCH, sampler=RandomSampler(dataset))
            tasks.append((duplicate, torch.optim.SGD(duplicate.parameters(), lr=LR), loader))
        with multiprocessing.Pool(cores()) as pool:
            trained = pool.map(train_model, tasks)
        states = [other.state_dict() for other, _ in trained]
        model.load_state_dict({key: sum(s[key] for s in states) / clients for key in states[0]})
        seconds.append(time.perf_counter() - began)
    return {"rounds": seconds}


def floor(clients: int, fraction: float, rounds: int) -> dict[str, Any]:
    """Each core does its share of the clients' products at the same time."""
    shares = [len(part) for part in np.array_split(range(max(1, round(clients * fraction))), cores())]
    barrier = multiprocessing.Barrier(len(shares))
    queue: Any = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=products, args=(share, rounds, barrier, queue)) for share in shares
    ]
    for worker in workers:
        worker.start()
    seconds = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    return {"rounds": np.max(seconds, axis=0).tolist()}


def products(clients: int, rounds: int, barrier: Any, queue: Any) -> None:
    from scipy.linalg.blas import sgemm

    from tuneapp.federated.client_sgd import one_thread

    partial(sgemm, beta=1.0, overwrite_c=1)
    draw = np.random.default_rng(0)
    weights = [draw.standard_normal(shape, dtype=np.float32) for shape in SHAPES]
    inputs = [draw.standard_normal((i, BATCH), dtype=np.float32) for _, i in SHAPES]
    deltas = [draw.standard_normal((o, BATCH), dtype=np.float32) for o, _ in SHAPES]
    x = np.ascontiguousarray(inputs[0].T)  # the images come row by row
    seconds = []
    with one_thread():
        for _ in range(rounds):
            barrier.wait()
            began = time.perf_counter()
            for _ in range(clients * STEPS):
                weights[0] @ x.T
                weights[1] @ inputs[1]
                weights[2] @ inputs[2]
                for at in (2, 1):
                    weights[at].T @ deltas[at]
                    sgemm(
                        1e-9, inputs[at].T, deltas[at].T, beta=1.0, c=weights[at].T, overwrite_c=1, trans_a=1
                    )
                sgemm(1e-9, x.T, deltas[0].T, beta=1.0, c=weights[0].T, overwrite_c=1)
            seconds.append(time.perf_counter() - began)
    queue.put(seconds)


def cores() -> int:
    return len(os.sched_getaffinity(0))


CONTENDERS: dict[str, Callable[[int, float, int], dict[str, Any]]] = {
    "ours": ours,
    "here": here,
    "naive": naive,
    "study": study,
    "floor": floor,
    "memory": memory,
}

if __name__ == "__main__":
    main()
