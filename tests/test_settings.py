"""The frozen request: checked when it is made, the same after a trip through JSON."""

import json

import pytest

from tuneapp.errors import UnknownName, UsageError
from tuneapp.settings import Metric, Request, Resources, SchedulerSettings, SearchSettings


def test_a_request_survives_json_and_ignores_what_a_newer_version_added() -> None:
    request = Request(
        "digits",
        {"hyperparameters": {"lr": 0.1}},
        Metric("val_loss", "min"),
        options={"examples": 100},
        search=SearchSettings(samples=7),
        scheduler=SchedulerSettings(max_iterations=9),
        resources=Resources(cpus=2, gpus=0.25),
    )
    data = json.loads(json.dumps(request.to_json()))
    data["search"]["invented_later"] = 1
    assert Request.from_json(data) == request


@pytest.mark.parametrize(("iterations", "grace"), [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3), (300, 30)])
def test_grace_is_a_tenth_of_the_iterations_rounded_up(iterations: int, grace: int) -> None:
    assert SchedulerSettings(max_iterations=iterations).grace_iterations == grace


@pytest.mark.parametrize(
    "make",
    [
        lambda: SearchSettings(samples=0),
        lambda: SearchSettings(repeats=0),
        lambda: SearchSettings(seed=-1),
        lambda: SearchSettings(warmup=-1),
        lambda: SchedulerSettings(max_iterations=0),
        lambda: SchedulerSettings(reduction=1),
        lambda: SchedulerSettings(grace=0),
        lambda: Resources(cpus=0),
        lambda: Resources(cpus=float("nan")),
        lambda: Resources(gpus=-0.5),
        lambda: Resources(gpus=1.5),
        lambda: Resources(concurrent=0),
        lambda: Metric("x", "maximum"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(UsageError, match="but got"):
        make()  # type: ignore[operator]


def test_an_unknown_choice_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'bayes'"):
        SearchSettings(algorithm="bayess")
