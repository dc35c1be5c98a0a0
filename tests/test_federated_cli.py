"""`tuneapp fed` from the command line, on the bundled digits."""

import json
import math

import pytest
from typer.testing import CliRunner

from tuneapp.cli import app
from tuneapp.studies import RunDirectory, TrialState

SMALL = ["fed", "digits", "--clients", "4", "--rounds", "3", "--local-steps", "2", "--seed", "5"]


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """(what --json printed, the run's folder) of one federation."""
    runs = tmp_path_factory.mktemp("runs")
    answer = invoke(
        *SMALL,
        "--partition",
        "dirichlet",
        "--actors",
        "0",
        "--json",
        "--name",
        "one",
        "--runs-dir",
        str(runs),
    )
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout), runs / "one"


def test_one_federation_gives_one_json_object_with_the_test_read_once(federation):
    result, folder = federation
    assert result["run_dir"] == str(folder)
    assert result["best"]["config"]["clients"] == 4
    assert result["trials"]["finished"] == 1
    assert 0 <= result["test"]["test_accuracy"] <= 1
    assert result["complete"]


def test_a_federations_record_has_a_line_a_round(federation):
    study = RunDirectory(federation[1]).read()
    assert [trial.state for trial in study.trials] == [TrialState.FINISHED]
    assert study.trials[0].iterations == 3
    # 2 steps at the chance loss of 10 classes: the loss is summed over local steps.
    assert study.trials[0].history[0].metrics["train_loss"] == pytest.approx(2 * math.log(10), rel=0.1)


def test_a_federation_leaves_its_pictures_its_report_and_its_weights(federation):
    folder = federation[1]
    for file in ("plots/loss.png", "best/clients.png", "report.html", "best/model.safetensors"):
        assert (folder / file).stat().st_size > 1000, file


def test_a_federations_weights_predict(federation, tmp_path):
    import numpy as np
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    answer = invoke("predict", str(federation[1]), str(tmp_path / "black.png"), "--json")
    assert answer.exit_code == 0, answer.output
    assert "black.png" in answer.output


def test_the_same_seed_gives_the_same_federation_and_a_line_a_round(federation, tmp_path):
    answer = invoke(
        *SMALL, "--partition", "dirichlet", "--actors", "0", "--name", "two", "--runs-dir", str(tmp_path)
    )
    assert answer.exit_code == 0, answer.output
    assert sum(line.startswith("round ") for line in answer.output.splitlines()) == 3
    first, second = (
        RunDirectory(folder).read().trials[0].history for folder in (federation[1], tmp_path / "two")
    )
    assert [each.metrics["val_loss"] for each in first] == [each.metrics["val_loss"] for each in second]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--clients", "0"], "`clients` must be 1 or more"),
        (["--clients", "2000", "--partition", "iid"], "fewer --clients"),
        (["--partition", "dirichlet", "--alpha", "0"], "`alpha` must be above 0"),
        (["--fraction", "0"], "`fraction` must be above 0"),
        (["--strategy", "fedavq"], "Did you mean 'fedavg'"),
        (["--model", "mpl"], "Did you mean 'mlp'"),
        (["--set", "learning_rate=3"], "learning_rate"),
        (["--actors", "2", "--cpus-per-trial", "9999"], "A trial wants 9999 CPUs"),
        (["--warmup", "3"], "`--warmup` is for a search"),
        (["--examples", "3"], "No such option"),
        (["--samples", "3", "--set", "strategy=nosuch"], "but got 'nosuch'"),
    ],
)
def test_a_wrong_request_is_told_in_a_line_and_starts_nothing(wrong, message, tmp_path):
    answer = invoke(*SMALL, *wrong, "--runs-dir", str(tmp_path / "runs"))
    assert answer.exit_code == 2
    assert message in answer.output
    assert "Traceback" not in answer.output
    assert not (tmp_path / "runs").exists()


def test_an_unknown_image_set_is_told_with_those_there_are(tmp_path):
    answer = invoke("fed", "digitz", "--runs-dir", str(tmp_path / "runs"))
    assert answer.exit_code == 2
    assert "Did you mean 'digits'" in answer.output


def test_a_diverging_federation_says_so(tmp_path):
    answer = invoke(*SMALL, "--lr", "1e30", "--actors", "0", "--name", "wild", "--runs-dir", str(tmp_path))
    assert answer.exit_code == 1
    assert "diverged" in answer.output


def test_a_search_runs_without_ray_and_takes_the_settings_of_any_search(tmp_path):
    answer = invoke(
        "fed", "digits", "--clients", "2", "--rounds", "2", "--local-steps", "2", "--samples", "2",
        "--backend", "local", "--metric", "val_loss:min:best", "--trial-timeout", "120", "--no-deterministic",
        "--lag", "1",
        "--warmup-design", "random", "--no-pictures", "--name", "one", "--runs-dir", str(tmp_path),
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    request = RunDirectory(tmp_path / "one").read().request
    assert (request.metric.name, request.metric.mode, request.metric.at) == ("val_loss", "min", "best")
    assert request.search.warmup_design == "random"
    assert not request.search.deterministic
    assert (request.scheduler.max_iterations, request.resources.trial_timeout) == (2, 120)
    assert not list((tmp_path / "one").glob("plots/*.png"))


@pytest.mark.ray
def test_actors_from_the_command_line_give_the_same_numbers(federation, ray_here, tmp_path):
    answer = invoke(
        *SMALL, "--partition", "dirichlet", "--actors", "1", "--cpus-per-trial", "1", "--json", "--runs-dir",
        str(tmp_path),
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["test"] == federation[0]["test"]


@pytest.mark.ray
def test_clients_go_over_to_actors_in_mid_run_where_they_pay(ray_here, tmp_path, monkeypatch):
    from federations import SMALL as CONFIG
    from federations import brightened_rows, context

    from tuneapp.backends.inline import RelayPool
    from tuneapp.federated.rounds import rounds
    from tuneapp.settings import Resources

    monkeypatch.setattr(RelayPool, "WORTH", 0.0)
    images, pool = brightened_rows(), RelayPool(Resources(cpus=2, actors=2), rounds=6)
    history = []
    try:
        for number, metrics in enumerate(rounds(CONFIG, context(6), images, pool)):
            history.append(metrics["val_loss"])
            if number == 2:  # by now they are on their way
                assert pool.starter is not None
                while pool.there is None:
                    pool.starter.join(0.05)
    finally:
        pool.close()
    assert pool.there is not None
    assert history == [metrics["val_loss"] for metrics in rounds(CONFIG, context(6), images)]


@pytest.mark.ray
def test_a_search_stops_bad_federations_by_their_rounds(ray_here, tmp_path):
    answer = invoke(
        "fed", "digits", "--clients", "4", "--samples", "5", "--warmup", "3", "--rounds", "4",
        "--param", "lr=float:1e-3:1:log", "--json", "--runs-dir", str(tmp_path),
    )  # fmt: skip
    assert answer.exit_code in (0, 1), answer.output
    result = json.loads(answer.stdout)
    assert result["trials"]["total"] == 5
    study = RunDirectory(tmp_path / str(result["run_dir"]).rsplit("/", 1)[-1]).read()
    assert max(trial.iterations for trial in study.trials) == 4
    assert study.trials[0].config["lr"] == 0.1  # the study's base comes first
