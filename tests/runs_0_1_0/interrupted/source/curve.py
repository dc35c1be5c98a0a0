def score(x: float, y: float):
    for k in range(1, 10):
        yield {"score": 1 - abs(x - 0.3) - 0.5 * abs(y - 0.7) - 1 / (k + 1), "loss": 1 / k}


def slow(x: float):
    import time

    if x > 0.9:
        raise ValueError("no good")
    for k in range(1, 10):
        time.sleep(0.15)
        yield {"score": 1 - abs(x - 0.3) - 1 / (k + 1)}
