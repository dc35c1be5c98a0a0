"""The quality of the server's weights, on examples held out and on each client's own."""

import numpy as np

from tuneapp.federated.client_sgd import ClientSGD, Images, one_thread
from tuneapp.federated.clients import Federation
from tuneapp.federated.partitions import Indices, Labels
from tuneapp.federated.rng import Purpose, generator
from tuneapp.federated.strategies import Weights
from tuneapp.settings import Metrics

CHUNK = 1000  # examples at once
EXAMPLES_PER_CLIENT = 100  # of its own, on which a client is evaluated


def evaluate_rows(
    client_sgd: ClientSGD, state: Weights, images: Images, labels: Labels, rows: Indices
) -> tuple[float, float]:
    """(mean cross-entropy, accuracy as a share of 1) over the rows."""
    loss, correct = 0.0, 0
    for first in range(0, len(rows), CHUNK):
        chunk = rows[first : first + CHUNK]
        y = labels[chunk]
        with one_thread(), np.errstate(all="ignore"):  # diverged weights give nan, which is the answer
            logits = client_sgd.logits(state, np.asarray(images)[chunk])
            shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
            losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]
        loss += float(losses.sum())
        correct += int((logits.argmax(axis=1) == y).sum())
    return loss / len(rows), correct / len(rows)


def evaluate_clients(
    client_sgd: ClientSGD, federation: Federation, state: Weights, images: Images, labels: Labels
) -> Metrics:
    """Accuracy on each client's own training examples, at most EXAMPLES_PER_CLIENT by seed: the mean over
    clients, and the mean over the worst tenth of them."""
    accuracies = []
    for client, share in enumerate(federation.shares):
        draw = generator(federation.seed, Purpose.CLIENT_EVALUATION, client)
        rows = draw.choice(share, min(EXAMPLES_PER_CLIENT, len(share)), replace=False)
        accuracies.append(evaluate_rows(client_sgd, state, images, labels, rows)[1])
    worst = np.sort(accuracies)[: -(-len(accuracies) // 10)]
    return {
        "client_accuracy_mean": float(np.mean(accuracies)),
        "client_accuracy_worst_tenth": float(np.mean(worst)),
    }
