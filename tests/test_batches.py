"""Batches: every image once per epoch, moved and mirrored on its own, the same from the same seed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuneapp.data import batches as batches_module
from tuneapp.data import load
from tuneapp.data.batches import Batches, Draws, _on_cpu, _on_device, channel_statistics
from tuneapp.errors import UsageError

AS_THEY_ARE = {"mean": [0.0], "std": [1.0]}  # x * 255 is the uint8 value


def random_images(count, height=8, width=8, channels=1, seed=0):
    """Random images without black, so that black is what moved in; each labelled with its own number."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (count, height, width, channels), dtype=np.uint8), np.arange(count)


def values(x):
    """uint8 [B, H, W, C] of a batch that was normalised by mean 0 and deviation 1."""
    return (x.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def epoch(batches, number=0):
    xs, ys = zip(*batches.epoch(number), strict=True)
    return torch.cat(xs), torch.cat(ys)


def windows(image, pad_y, pad_x, flip):
    """All that an image may become."""
    height, width, _ = image.shape
    for turned in (image, image[:, ::-1]) if flip else (image,):
        padded = np.pad(turned, ((pad_y, pad_y), (pad_x, pad_x), (0, 0)))
        for y in range(2 * pad_y + 1):
            for x in range(2 * pad_x + 1):
                yield padded[y : y + height, x : x + width]


@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    size=st.tuples(st.integers(8, 12), st.integers(8, 12), st.sampled_from([1, 3])),
    crop=st.sampled_from([0.0, 0.125, 0.25]),
    flip=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_every_image_comes_once_per_epoch_as_one_of_its_own_windows(
    count, batch_size, size, crop, flip, seed
):
    images, labels = random_images(count, *size)
    loader = Batches(
        images, labels, batch_size=batch_size, crop=crop, flip=flip, seed=seed,
        mean=[0.0] * size[2], std=[1.0] * size[2],
    )  # fmt: skip
    batches = list(loader.epoch(3))
    assert len(batches) == len(loader)
    assert all(len(y) == batch_size for _, y in batches[:-1])
    drawn = torch.cat([y for _, y in batches]).tolist()
    left_out = count > 1 and batch_size > 1 and count % batch_size == 1
    assert len(set(drawn)) == len(drawn) == loader.examples == count - left_out
    pads = round(crop * size[0]), round(crop * size[1])
    for x, y in batches:
        for got, number in zip(values(x), y.tolist(), strict=True):
            assert any(np.array_equal(got, window) for window in windows(images[number], *pads, flip))


@given(
    size=st.tuples(st.integers(8, 14), st.integers(8, 14), st.sampled_from([1, 3])),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    seed=st.integers(0, 2**32),
)
def test_the_gather_of_a_gpu_gives_what_the_windows_of_a_cpu_give(size, padding, seed):
    images, _ = random_images(30, *size)
    rng = np.random.default_rng(seed)
    index = rng.permutation(30)[:20]
    draws = Draws(
        rng.permutation(20)[:15],
        rng.integers(2 * padding[0] + 1, size=15),
        rng.integers(2 * padding[1] + 1, size=15),
        rng.random(15) < 0.5,
    )
    on_cpu = _on_cpu(images, index, padding)(draws)
    on_device = _on_device(torch.from_numpy(images[index]), padding)(draws)
    assert torch.equal(on_cpu, on_device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_batches_of_a_cpu():
    images, labels = random_images(300, 32, 32, 3)
    options = {"batch_size": 64, "crop": 0.125, "flip": True, "index": np.arange(0, 300, 2)}
    x, y = epoch(Batches(images, labels, **options))
    on_gpu, y_gpu = epoch(Batches(images, labels, device="cuda", **options))
    assert on_gpu.device.type == "cuda"
    assert torch.equal(y, y_gpu.cpu())
    assert torch.allclose(x, on_gpu.cpu(), atol=1e-6)


def test_evaluation_takes_the_images_in_order_and_whole():
    images, labels = random_images(11)
    index = np.array([7, 2, 9, 4, 0])
    loader = Batches(
        images, labels, batch_size=2, index=index, shuffle=False, crop=0.25, flip=True, **AS_THEY_ARE
    )
    batches = list(loader.epoch())
    assert [y.tolist() for _, y in batches] == [[7, 2], [9, 4], [0]]
    assert np.array_equal(np.concatenate([values(x) for x, _ in batches]), images[index])


def test_images_of_one_batch_are_moved_and_mirrored_each_on_its_own():
    image = np.arange(1, 65, dtype=np.uint8).reshape(1, 8, 8, 1)
    images = np.repeat(image, 400, axis=0)
    loader = Batches(
        images, np.zeros(400, dtype=np.int64), batch_size=400, crop=0.125, flip=True, **AS_THEY_ARE
    )
    x, _ = next(loader.epoch(0))
    kinds, counts = np.unique(values(x).reshape(400, -1), axis=0, return_counts=True)
    assert len(kinds) == 2 * 3 * 3
    assert counts.max() < 50  # 22 expected of each


@pytest.mark.parametrize("crop", [0.0, 0.125])
def test_without_flip_nothing_is_mirrored(crop):
    ramp = np.tile(np.arange(100, 108, dtype=np.uint8), (8, 1))[None, :, :, None]
    images, labels = np.repeat(ramp, 50, axis=0), np.zeros(50, dtype=np.int64)
    x, _ = epoch(Batches(images, labels, batch_size=10, crop=crop, **AS_THEY_ARE))
    middle = values(x)[:, 4, 2:6, 0].astype(int)
    assert np.all(np.diff(middle, axis=1) == 1)


def test_an_eighth_of_32_pixels_moves_images_by_4_at_most():
    images = np.full((2000, 32, 32, 1), 200, dtype=np.uint8)
    x, _ = epoch(Batches(images, np.zeros(2000, dtype=np.int64), batch_size=500, crop=0.125, **AS_THEY_ARE))
    black_rows = (values(x).sum((2, 3)) == 0).sum(1)
    assert set(black_rows) == {0, 1, 2, 3, 4}


def test_an_epoch_depends_on_seed_and_number_alone():
    images, labels = random_images(60)
    options = {"batch_size": 16, "crop": 0.125, "flip": True, "seed": 5}
    first = Batches(images, labels, **options)
    in_order = [epoch(first, number) for number in range(3)]
    resumed = Batches(images, labels, **options)
    for number in (2, 0, 1):
        x, y = epoch(resumed, number)
        assert torch.equal(x, in_order[number][0])
        assert torch.equal(y, in_order[number][1])
    orders = {tuple(y.tolist()) for _, y in in_order}
    other_seed = Batches(images, labels, **(options | {"seed": 6}))
    assert len(orders | {tuple(epoch(other_seed)[1].tolist())}) == 4


def test_two_epochs_read_side_by_side_do_not_disturb_each_other():
    images, labels = random_images(64)
    loader = Batches(images, labels, batch_size=8, crop=0.25, flip=True)
    alone = epoch(loader, 0)[0]
    together = [(x, other) for (x, _), (other, _) in zip(loader.epoch(0), loader.epoch(1), strict=True)]
    assert torch.equal(torch.cat([x for x, _ in together]), alone)


@pytest.mark.parametrize("block_bytes", [1, 700, 2**30])
def test_the_size_of_a_block_changes_nothing(monkeypatch, block_bytes):
    images, labels = random_images(50)
    loader = Batches(images, labels, batch_size=7, crop=0.125, flip=True)
    x, y = epoch(loader)
    monkeypatch.setattr(batches_module, "BLOCK_BYTES", {"cpu": block_bytes})
    again = list(loader.epoch())
    assert torch.equal(torch.cat([x for x, _ in again]), x)
    assert [len(y) for _, y in again] == [7] * 7  # 50 = 7 * 7 + 1
    assert torch.equal(torch.cat([y for _, y in again]), y)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 4]), (3, 100, [3]), (1, 4, [1]), (3, 1, [1, 1, 1]), (8, 4, [4, 4])],
)
def test_a_short_last_batch_is_kept_unless_it_is_a_single_image(count, batch_size, sizes):
    loader = Batches(*random_images(count), batch_size=batch_size)
    assert [len(y) for _, y in loader.epoch()] == sizes
    assert (len(loader), loader.examples) == (len(sizes), sum(sizes))


def test_evaluation_keeps_a_single_last_image():
    assert [len(y) for _, y in Batches(*random_images(9), batch_size=4, shuffle=False).epoch()] == [4, 4, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_have_the_layout_and_the_type_asked_for(dtype, channels_last, channels):
    images, labels = random_images(6, 10, 12, channels)
    loader = Batches(
        images, labels, batch_size=4, crop=0.1, flip=True, dtype=dtype, channels_last=channels_last
    )
    x, y = next(loader.epoch())
    assert x.shape == (4, channels, 10, 12)
    assert x.dtype == dtype
    assert y.dtype == torch.int64
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert x.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("size", [8, 28, 32, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_all_sizes_are_normalised_to_mean_0_and_deviation_1(size, channels):
    images, labels = random_images(12, size, size, channels)
    x, _ = epoch(Batches(images, labels, batch_size=6, flip=True))
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_statistics_are_those_of_the_images_named_and_per_channel():
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    images[:2, ..., 0] = 51
    images[1, ..., 1] = 255
    images[2:] = 99
    mean, std = channel_statistics(images, np.array([0, 1]))
    assert mean == pytest.approx([0.2, 0.5, 0.0])
    assert std == pytest.approx([1.0, 0.5, 1.0])  # 1 where nothing varies


@given(st.integers(1, 60), st.integers(1, 20))
def test_statistics_of_a_part_take_no_more_images_than_asked(count, most):
    images, _ = random_images(count)
    step = -(-count // most)
    taken = images[::step]
    assert len(taken) <= most
    assert channel_statistics(images, most=most)[0] == pytest.approx([taken.mean() / 255])


def test_the_images_themselves_stay_as_they_are(tmp_path):
    images, labels = random_images(20, channels=3)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    x, _ = next(Batches(mapped, labels, batch_size=20, flip=True).epoch())
    x.zero_()
    assert np.array_equal(mapped, images)


def test_digits_come_in_batches():
    digits = load("digits")
    x, y = epoch(Batches(digits.train_images, digits.train_labels, batch_size=128, crop=0.125))
    assert x.shape[1:] == (1, 8, 8)
    assert torch.equal(y.bincount(), torch.from_numpy(digits.train_labels).bincount())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1, but got 0"),
        ({"batch_size": 4, "crop": 0.6}, "0 to 0.5, but got 0.6"),
        ({"batch_size": 4, "crop": float("nan")}, "0 to 0.5, but got nan"),
        ({"batch_size": 4, "index": np.array([], dtype=np.int64)}, "one image or more"),
    ],
)
def test_what_cannot_be_batched_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Batches(*random_images(5), **options)
