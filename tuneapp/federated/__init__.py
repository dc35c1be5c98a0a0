"""Federated training, simulated: clients train on their own examples, a server averages them each round.

    rounds.py      the objective: one item of metrics per round
    fed_config.py  its hyperparameters
    partitions.py  who has which examples          PARTITIONS
    strategies.py  what the server does            STRATEGIES
    clients.py     who takes part, on which batches
    client_sgd.py  how a client's SGD is computed  CLIENT_SGD
    reduction.py   the sum over clients, bit for bit
    pools.py       where clients train: here, or on Ray actors (tuneapp/backends/ray/client_actors.py)

Nothing is imported here: client actors load pools.py and what it needs, and that is not torch.
"""
