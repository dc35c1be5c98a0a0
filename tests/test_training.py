"""Training: what an epoch yields, what a checkpoint carries, what an exported model can do alone."""

import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tuneapp import data, models, training
from tuneapp.data import ImageSet
from tuneapp.errors import TuneappError, UnknownName, UsageError
from tuneapp.objective import Context, Diverged
from tuneapp.settings import Config, Metrics
from tuneapp.training import train_checkpoint
from tuneapp.training.optimizers import OPTIMIZERS
from tuneapp.training.schedules import SCHEDULES, learning_rate

KEYS = {
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "lr",
    "iteration_seconds",
    "examples_per_second",
}
TIMES = {"iteration_seconds", "examples_per_second"}


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return data.load("digits")


@pytest.fixture(scope="module")
def colours() -> ImageSet:
    """Three kinds of 8-pixel colour images, which one has to look at to tell apart."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    pixels = rng.integers(0, 120, (180, 8, 8, 3))
    pixels[np.arange(180), :, :, labels] += 60
    rows = {"train": slice(0, 120), "test": slice(120, 180)}
    arrays = {}
    for part, some in rows.items():
        arrays[f"{part}_images"] = pixels[some].astype(np.uint8)
        arrays[f"{part}_labels"] = labels[some]
    return ImageSet("colours", **arrays, classes=["red", "green", "blue"], flip=True)


def epochs(config: Config, images: ImageSet, context: Context, **options: Any) -> list[Metrics]:
    """Every epoch's metrics, without its times: what must repeat."""
    options = {"examples": 120, **options}
    return [untimed(metrics) for metrics in training.train(config, context, images, **options)]


def untimed(metrics: Metrics) -> Metrics:
    return {key: value for key, value in metrics.items() if key not in TIMES}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return train_checkpoint.read(folder).model


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(some[name].equal(others[name]) for name in some)


# What an epoch yields


def test_each_epoch_yields_the_metrics_that_the_report_shows(digits: ImageSet) -> None:
    results = list(training.train({"model": "mlp"}, Context(max_iterations=3), digits, examples=300))
    assert len(results) == 3
    for metrics in results:
        assert set(metrics) == KEYS
        assert all(type(value) is float for value in metrics.values())
        assert 0 <= metrics["train_accuracy"] <= 1
        assert 0 <= metrics["val_accuracy"] <= 1
        assert metrics["iteration_seconds"] > 0
        assert metrics["examples_per_second"] > 0


def test_the_default_model_learns_digits_in_ten_epochs(digits: ImageSet, tmp_path: Path) -> None:
    context = Context(max_iterations=10, folder=tmp_path)
    last = list(training.train({"batch_size": 32}, context, digits))[-1]
    assert last["val_accuracy"] >= 0.975
    assert training.evaluate(Context(checkpoint=tmp_path), digits)["test_accuracy"] >= 0.975


def test_epochs_are_the_configs_but_no_more_than_the_study_allows(digits: ImageSet) -> None:
    assert len(epochs({"model": "mlp", "epochs": 2}, digits, Context(max_iterations=3))) == 2
    assert len(epochs({"model": "mlp", "epochs": 5}, digits, Context(max_iterations=3))) == 3


def test_the_schedule_is_laid_out_over_the_epochs_that_are_run(digits: ImageSet) -> None:
    config = {"model": "mlp", "epochs": 2, "schedule": "one_cycle", "lr": 0.1, "lr_warmup": 0}
    steps = math.ceil(108 / 128) * 2
    assert epochs(config, digits, Context(max_iterations=9))[-1]["lr"] == pytest.approx(0.1 / steps)


def test_train_loss_and_val_loss_are_what_the_weights_give(colours: ImageSet, tmp_path: Path) -> None:
    # All training images in one batch, no augmentation: its loss is that of the first weights.
    config = {"model": "mlp", "batch_size": 1000, "augment": "none", "lr": 1e-3, "lr_warmup": 0}
    context = Context(max_iterations=1, folder=tmp_path)
    (metrics,) = training.train(config, context, colours, val_share=0.25, precision="float32")
    assert metrics["train_loss"] == pytest.approx(math.log(3), abs=0.3)
    state = train_checkpoint.read(tmp_path)
    model = models.build("mlp", classes=3, channels=3, size=8)
    model.load_state_dict(state.model)
    rows = data.stratified_split(colours.train_labels, 0.25, 0)[1]
    x = torch.from_numpy(colours.train_images[rows]).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(state.meta["mean"]).view(3, 1, 1)) / torch.tensor(state.meta["std"]).view(3, 1, 1)
    y = torch.from_numpy(colours.train_labels[rows])
    loss = torch.nn.functional.cross_entropy(model(x), y).item()
    assert metrics["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert metrics["val_accuracy"] == pytest.approx((model(x).argmax(1) == y).float().mean().item())


def test_a_loss_that_is_not_finite_ends_the_trial_at_once(digits: ImageSet) -> None:
    trial = training.train({"model": "mlp", "lr": 1e20, "lr_warmup": 0}, Context(max_iterations=9), digits)
    with pytest.raises(Diverged, match=r"train_loss is (nan|inf) in epoch 1, at step \d+"):
        list(trial)


def test_bfloat16_learns_as_float32_does(digits: ImageSet) -> None:
    exact, rough = (
        epochs({"batch_size": 32}, digits, Context(max_iterations=4), examples=None, precision=precision)[-1]
        for precision in ("float32", "bfloat16")
    )
    assert rough["val_loss"] != exact["val_loss"]
    assert rough["val_accuracy"] == pytest.approx(exact["val_accuracy"], abs=0.03)


def test_label_smoothing_changes_what_is_learned_but_not_what_is_counted(colours: ImageSet) -> None:
    config = {"model": "mlp", "batch_size": 1000, "lr": 0.01, "lr_warmup": 0}
    sharp = epochs(config, colours, Context(max_iterations=2))
    smooth = epochs({**config, "label_smoothing": 0.5}, colours, Context(max_iterations=2))
    assert smooth[0]["train_loss"] == sharp[0]["train_loss"]  # one step an epoch: of the same first weights
    assert smooth[1]["train_loss"] != sharp[1]["train_loss"]


def test_flips_are_left_out_where_they_make_no_sense(colours: ImageSet) -> None:
    still = replace(colours, flip=False)
    config = {"model": "mlp", "augment": "flip"}
    plain = epochs({**config, "augment": "none"}, still, Context())
    assert epochs(config, still, Context()) == plain
    assert epochs(config, colours, Context()) != plain


# Seeds


@pytest.mark.parametrize("model", ["mlp", "small_cnn"])
def test_a_seed_decides_every_number(colours: ImageSet, model: str) -> None:
    config = {"model": model, "dropout": 0.3, "augment": "crop_flip", "batch_size": 16}
    first = epochs(config, colours, Context(seed=1, max_iterations=2))
    assert epochs(config, colours, Context(seed=1, max_iterations=2)) == first
    assert epochs(config, colours, Context(seed=2, max_iterations=2)) != first
    assert epochs(config, colours, Context(seed=1, max_iterations=2), split_seed=1) != first


def test_trials_leave_no_trace_on_each_other_or_on_torchs_generator(colours: ImageSet) -> None:
    config = {"model": "small_cnn", "dropout": 0.3, "batch_size": 16}
    alone = [epochs(config, colours, Context(seed=seed, max_iterations=3)) for seed in (1, 2)]
    before = torch.get_rng_state()
    one, two = (
        training.train(config, Context(seed=seed, max_iterations=3), colours, examples=120) for seed in (1, 2)
    )
    woven = [(untimed(a), untimed(b)) for a, b in zip(one, two, strict=True)]
    assert torch.get_rng_state().equal(before)
    assert [list(results) for results in zip(*woven, strict=True)] == alone


# Checkpoints


def interrupted(config: Config, images: ImageSet, folder: Path, after: int, **options: Any) -> list[Metrics]:
    """The epochs of a trial that dies after so many and is begun again from its checkpoint."""
    options = {"examples": 120, **options}
    trial = training.train(config, Context(seed=5, max_iterations=4, folder=folder), images, **options)
    first = [untimed(next(trial)) for _ in range(after)]
    trial.close()
    second = Context(seed=5, max_iterations=4, folder=folder, checkpoint=folder)
    return first + epochs(config, images, second, **options)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_an_interrupted_trial_ends_with_the_bits_of_an_uninterrupted_one(
    colours: ImageSet, tmp_path: Path, optimizer: str, schedule: str, precision: str
) -> None:
    config = {
        "model": "small_cnn",
        "width": 8,
        "dropout": 0.3,
        "augment": "crop_flip",
        "batch_size": 16,
        "optimizer": optimizer,
        "schedule": schedule,
        "lr": 0.01,
        "label_smoothing": 0.1,
    }
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir()
    torn.mkdir()
    context = Context(seed=5, max_iterations=4, folder=whole)
    expected = epochs(config, colours, context, precision=precision)
    assert interrupted(config, colours, torn, 2, precision=precision) == expected
    assert same(weights(torn), weights(whole))


@pytest.mark.parametrize("model", sorted(set(models.MODELS) - {"small_cnn", "resnet18"}))
def test_every_model_goes_on_from_its_checkpoint(colours: ImageSet, tmp_path: Path, model: str) -> None:
    config = {"model": model, "batch_size": 32, "lr": 0.01}
    config |= {"width": 0.125, "dropout": 0.2} if model == "mobilenet" else {}
    expected = epochs(config, colours, Context(seed=5, max_iterations=4))
    assert interrupted(config, colours, tmp_path, 3) == expected


@pytest.mark.slow
def test_resnet18_goes_on_from_its_checkpoint(colours: ImageSet, tmp_path: Path) -> None:
    config = {"model": "resnet18", "batch_size": 32, "lr": 0.01}
    expected = epochs(config, colours, Context(seed=5, max_iterations=4), examples=60)
    assert interrupted(config, colours, tmp_path, 1, examples=60) == expected


def test_a_trial_that_had_finished_yields_nothing_more(colours: ImageSet, tmp_path: Path) -> None:
    epochs({"model": "mlp"}, colours, Context(max_iterations=2, folder=tmp_path))
    assert epochs({"model": "mlp"}, colours, Context(max_iterations=2, checkpoint=tmp_path)) == []


@pytest.mark.parametrize(
    ("config", "context", "options"),
    [
        ({"lr": 0.2}, {}, {}),
        ({"width1": 64}, {}, {}),
        ({}, {"seed": 1}, {}),
        ({}, {"max_iterations": 3}, {}),
        ({}, {}, {"split_seed": 1}),
        ({}, {}, {"examples": 90}),
    ],
)
def test_a_trial_refuses_another_trials_checkpoint(
    colours: ImageSet,
    tmp_path: Path,
    config: Config,
    context: dict[str, Any],
    options: dict[str, Any],
) -> None:
    epochs({"model": "mlp"}, colours, Context(max_iterations=2, folder=tmp_path))
    other = Context(**{"max_iterations": 2, "checkpoint": tmp_path, **context})
    with pytest.raises(TuneappError, match="its own checkpoint"):
        epochs({"model": "mlp", **config}, colours, other, **options)


def test_a_torn_checkpoint_is_told_in_a_sentence(colours: ImageSet, tmp_path: Path) -> None:
    epochs({"model": "mlp"}, colours, Context(folder=tmp_path))
    file = tmp_path / train_checkpoint.FILE
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TuneappError, match="must hold the checkpoint of a trial"):
        training.evaluate(Context(checkpoint=tmp_path), colours)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one_whole(
    colours: ImageSet, tmp_path: Path
) -> None:
    epochs({"model": "mlp"}, colours, Context(folder=tmp_path))
    before = train_checkpoint.read(tmp_path)
    unsaveable: Any = replace(before, model={"weight": lambda: None})
    with pytest.raises(AttributeError):
        train_checkpoint.write(tmp_path, unsaveable)
    assert same(weights(tmp_path), before.model)
    assert [path.name for path in tmp_path.iterdir()] == [train_checkpoint.FILE]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("model", sorted(models.MODELS))
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_gpu_learns_goes_on_and_its_weights_serve_on_a_cpu(
    colours: ImageSet, tmp_path: Path, model: str, optimizer: str
) -> None:
    config = {"model": model, "optimizer": optimizer, "lr": 0.005, "batch_size": 16}
    first = training.train(config, Context(device="cuda", max_iterations=4, folder=tmp_path), colours)
    before = torch.cuda.get_rng_state()
    next(first)
    second = Context(device="cuda", max_iterations=4, folder=tmp_path, checkpoint=tmp_path)
    last = list(training.train(config, second, colours))[-1]
    assert torch.cuda.get_rng_state().equal(before)
    assert last["train_accuracy"] > 0.45  # a third is chance; batch norm has seen too few steps to validate
    there, here = (
        training.evaluate(Context(device=device, checkpoint=tmp_path), colours, precision="float32")
        for device in ("cuda", "cpu")
    )
    assert here["test_loss"] == pytest.approx(there["test_loss"], rel=0.02)


# Configs


def test_a_config_is_told_apart_into_trainings_and_the_models() -> None:
    settings, hyperparameters = training.split_config(
        {"model": "mlp", "lr": 1, "batch_size": 64.0, "width1": 32, "_octaves": 5}
    )
    assert settings == training.TrainConfig(model="mlp", lr=1.0, batch_size=64)
    assert type(settings.batch_size) is int
    assert hyperparameters == {"width1": 32}


def test_an_unknown_hyperparameter_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'weight_decay'"):
        training.split_config({"wieght_decay": 0.1})
    with pytest.raises(UnknownName, match="Did you mean 'kernel'"):
        training.split_config({"model": "small_cnn", "kernels": 3})
    with pytest.raises(UnknownName, match="model 'mlp'"):
        training.split_config({"model": "mlp", "kernel": 3})


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"lr": 0}, "`lr` must be above 0"),
        ({"lr": float("nan")}, "`lr` must be above 0"),
        ({"lr": "fast"}, "`lr` must be a number"),
        ({"batch_size": 1}, "`batch_size` must be 2 or more"),
        ({"batch_size": 16.5}, "`batch_size` must be a whole number"),
        ({"momentum": 1}, "`momentum` must be from 0 to below 1"),
        ({"nesterov": 1}, "`nesterov` must be true or false"),
        ({"weight_decay": -1e-3}, "`weight_decay` must be 0 or more"),
        ({"lr_warmup": 1.1}, "`lr_warmup` must be from 0 to 1"),
        ({"label_smoothing": 1}, "`label_smoothing` must be from 0 to below 1"),
        ({"epochs": 0}, "`epochs` must be 1 or more"),
        ({"optimizer": "sdg"}, "Did you mean 'sgd'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"augment": "flips"}, "Did you mean 'flip'"),
        ({"model": "small_cn"}, "Did you mean 'small_cnn'"),
    ],
)
def test_a_value_out_of_range_is_refused(wrong: Config, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        training.split_config(wrong)


def test_other_faults_of_a_request_are_told_too(colours: ImageSet) -> None:
    oblong = replace(colours, train_images=colours.train_images[:, :, :7])
    with pytest.raises(UsageError, match="must be square"):
        epochs({}, oblong, Context())
    with pytest.raises(UsageError, match="Did you mean 'bfloat16'"):
        epochs({}, colours, Context(), precision="bfloat")
    with pytest.raises(UsageError, match="between 0 and 1"):
        epochs({}, colours, Context(), val_share=0.0)


# Schedules


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300), st.floats(0, 1), st.floats(1e-6, 10))
def test_the_rate_rises_to_its_peak_once_and_never_leaves_its_bounds(
    name: str, num_steps: int, lr_warmup: float, peak: float
) -> None:
    rates = [
        learning_rate(name, step, num_steps, peak=peak, lr_warmup=lr_warmup) for step in range(num_steps)
    ]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(peak)
    assert top == min(round(lr_warmup * num_steps), num_steps - 1)
    assert all(earlier < later for earlier, later in pairwise(rates[: top + 1]))
    assert all(earlier >= later for earlier, later in pairwise(rates[top:]))
    assert min(rates) > 0


def test_schedules_differ_as_their_names_say() -> None:
    half = {name: learning_rate(name, 30, 40, peak=1.0, lr_warmup=0.5) for name in SCHEDULES}
    assert half == pytest.approx({"constant": 1.0, "cosine": 0.5, "one_cycle": 0.5})
    late = {name: learning_rate(name, 35, 40, peak=1.0, lr_warmup=0.5) for name in SCHEDULES}
    assert late == pytest.approx({"constant": 1.0, "cosine": (1 - math.sqrt(0.5)) / 2, "one_cycle": 0.25})


# Optimisers


def torchs(name: str, groups: list[dict[str, Any]], momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=nesterov and momentum > 0)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(groups, lr=0.1, betas=(momentum, 0.999))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimiser_steps_as_torchs_own(name: str, momentum: float, nesterov: bool) -> None:
    def network() -> torch.nn.Module:
        torch.manual_seed(0)
        layers = [
            torch.nn.Conv2d(4, 8, 3, bias=False),
            torch.nn.BatchNorm2d(8),
            torch.nn.Flatten(),
            torch.nn.Linear(8, 2),
        ]
        return torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)

    ours, theirs = network(), network()
    optimizer = OPTIMIZERS[name](ours, momentum=momentum, nesterov=nesterov, weight_decay=0.1)
    groups = [
        {"params": [weight for weight in theirs.parameters() if weight.ndim > 1], "weight_decay": 0.1},
        {"params": [weight for weight in theirs.parameters() if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    reference = torchs(name, groups, momentum, nesterov)
    for lr in (0.1, 0.02, 0.05):
        x = torch.randn(6, 4, 3, 3).to(memory_format=torch.channels_last)
        for group in reference.param_groups:
            group["lr"] = lr
        reference.zero_grad()
        for model in (ours, theirs):
            model(x).square().sum().backward()
        optimizer.step(lr)
        reference.step()
        for mine, weight in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, weight, rtol=1e-4, atol=1e-6)
            assert mine.grad is None


# What workers must not pay for


def test_training_imports_no_dynamo() -> None:
    """Its import costs a worker 1.4-2 s and 160 MB."""
    code = """
import sys
from tuneapp import data, training
from tuneapp.objective import Context

for model in ("mlp", "small_cnn", "fedavg_cnn", "mobilenet"):
    for optimizer in ("sgd", "adam", "adamw"):
        config = {"model": model, "optimizer": optimizer}
        list(training.train(config, Context(), data.load("digits"), examples=100, val_share=0.2))
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Exported models


@pytest.fixture(scope="module")
def exported(colours: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(checkpoint, exported folder) of a small CNN that knows the colours."""
    checkpoint, folder = tmp_path_factory.mktemp("checkpoint"), tmp_path_factory.mktemp("x") / "exported"
    config = {"model": "small_cnn", "width": np.int64(8), "batch_size": 16}
    list(training.train(config, Context(max_iterations=5, folder=checkpoint), colours))
    training.export(config, checkpoint, folder)
    return checkpoint, folder


def test_an_exported_model_needs_two_files_and_gives_the_same_logits(
    colours: ImageSet, exported: tuple[Path, Path]
) -> None:
    checkpoint, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "model.safetensors"]
    model, meta = training.load_exported(folder)
    assert same(dict(model.state_dict()), weights(checkpoint))
    assert not model.training
    assert (meta["dataset"], meta["classes"]) == ("colours", ["red", "green", "blue"])
    assert (meta["size"], meta["channels"]) == (8, 3)
    config = yaml.safe_load((folder / "config.yaml").read_text())["config"]
    assert config == {"model": "small_cnn", "width": 8, "batch_size": 16}


def test_evaluate_counts_what_predict_finds(
    colours: ImageSet, exported: tuple[Path, Path], tmp_path: Path
) -> None:
    checkpoint, folder = exported
    paths = [tmp_path / f"{row}.png" for row in range(len(colours.test_labels))]
    for path, pixels in zip(paths, colours.test_images, strict=True):
        Image.fromarray(pixels).save(path)
    found = list(training.predict(folder, paths, 2))
    assert [path for path, _ in found] == paths
    right = [
        classes[0][0] == colours.classes[label]
        for (_, classes), label in zip(found, colours.test_labels, strict=True)
    ]
    measured = training.evaluate(Context(checkpoint=checkpoint), colours, precision="float32")
    assert measured["test_accuracy"] == pytest.approx(np.mean(right))
    assert measured["test_accuracy"] > 0.9
    for _, classes in found:
        assert len(classes) == 2
        assert 1 >= classes[0][1] >= classes[1][1] >= 0


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK"])
def test_any_kind_of_image_of_any_size_is_read(
    exported: tuple[Path, Path], tmp_path: Path, mode: str
) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new(mode, (31, 17)).save(path)
    ((_, classes),) = training.predict(exported[1], [path], 5)
    assert {name for name, _ in classes} == {"red", "green", "blue"}
    assert sum(share for _, share in classes) == pytest.approx(1)


def test_what_is_no_image_is_told_in_a_sentence(exported: tuple[Path, Path], tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    for path in (text, tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(UsageError, match="must be an image"):
            list(training.predict(exported[1], [path]))


def test_a_folder_without_a_model_is_told_in_a_sentence(exported: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must hold an exported model"):
        training.load_exported(tmp_path)
    (tmp_path / "config.yaml").write_bytes((exported[1] / "config.yaml").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="must hold an exported model"):
        training.load_exported(tmp_path)
