"""Image sets on disk: opened only when whole, listed, verified, and made once however many want them."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneapp import data
from tuneapp.data import datasets
from tuneapp.data.image_sets import ARRAYS, ImageSet, data_folder, making, write
from tuneapp.errors import TuneappError, UnknownName, UsageError

REAL = Path(os.environ["TUNEAPP_DATA"]) if "TUNEAPP_DATA" in os.environ else None


def some_set(name="shapes", examples=20, height=8, width=10, channels=3, classes=4) -> ImageSet:
    rng = np.random.default_rng(0)
    return ImageSet(
        name=name,
        train_images=rng.integers(0, 256, (examples, height, width, channels), dtype=np.uint8),
        train_labels=np.arange(examples) % classes,
        test_images=rng.integers(0, 256, (classes, height, width, channels), dtype=np.uint8),
        test_labels=np.arange(classes),
        classes=[f"class {number}" for number in range(classes)],
        flip=False,
        source="drawn for a test",
    )


def stored(data_dir: Path, images: ImageSet | None = None) -> Path:
    """The folder of a set written as an import would."""
    images = images or some_set()
    with making(data_dir / images.name) as scratch:
        write(images, data_dir / images.name, scratch)
    return data_dir / images.name


def test_a_set_comes_back_from_disk_as_it_was_and_shares_its_images(tmp_path):
    before = some_set()
    folder = stored(tmp_path, before)
    after = data.load("shapes", tmp_path)
    for array in ARRAYS:
        assert np.array_equal(after.arrays[array], before.arrays[array])
    assert isinstance(after.train_images, np.memmap)
    assert not after.train_images.flags.writeable
    assert (after.classes, after.flip, after.source) == (before.classes, before.flip, before.source)
    assert after.shape == (8, 10, 3)
    assert after.folder == folder


def test_the_checksum_is_of_what_the_arrays_hold_wherever_they_lie(tmp_path):
    before = some_set()
    folder = stored(tmp_path, before)
    recorded = data.load("shapes", tmp_path).checksum
    meta = json.loads((folder / "meta.json").read_text())
    del meta["sha256"]
    (folder / "meta.json").write_text(json.dumps(meta))
    assert data.load("shapes", tmp_path).checksum == before.checksum == recorded
    assert some_set(classes=5).checksum != recorded


def test_digits_need_no_data_dir_and_never_change(tmp_path):
    digits = data.load("digits", tmp_path / "nowhere")
    assert digits.train_images.shape == (1438, 8, 8, 1)
    assert digits.test_images.shape == (359, 8, 8, 1)
    assert digits.train_images.dtype == np.uint8
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    assert not digits.flip
    assert set(np.bincount(digits.test_labels)) <= {34, 35, 36, 37}
    assert digits.checksum.startswith("0f07a17b")
    assert not (tmp_path / "nowhere").exists()


def test_digits_are_those_of_scikit_learn_read_either_way(monkeypatch):
    from sklearn.datasets import load_digits

    read = datasets.digits()
    monkeypatch.setattr(datasets, "DIGITS_FILE", "not here")
    loaded = datasets.digits()
    assert read.checksum == loaded.checksum
    pixels = np.concatenate([read.train_images, read.test_images]).astype(float) / 255 * 16
    assert sorted(map(tuple, pixels.round().reshape(-1, 64))) == sorted(map(tuple, load_digits().data))


def test_digits_are_loaded_without_importing_scikit_learn():
    code = "import sys; from tuneapp import data; data.load('digits'); print('sklearn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_the_data_dir_is_the_argument_else_the_variable_else_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEAPP_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder(tmp_path / "argument") == tmp_path / "argument"
    assert data_folder() == tmp_path / "variable"
    monkeypatch.setenv("TUNEAPP_DATA", "")
    assert data_folder().name == "data"
    assert "tuneapp" in str(data_folder())


def test_an_unknown_name_is_told_the_known_ones_and_how_to_bring_its_own(tmp_path):
    stored(tmp_path)
    with pytest.raises(UnknownName) as caught:
        data.load("shape", tmp_path)
    message = str(caught.value)
    for expected in ("cifar10", "shapes", "`tuneapp data import shape PATH`", "Did you mean 'shapes'?"):
        assert expected in message


@pytest.mark.parametrize("name", ["../shapes", "/etc", "a/b", "", "-x", "Shapes"])
def test_a_name_that_is_no_name_is_unknown(tmp_path, name):
    stored(tmp_path)
    with pytest.raises(UnknownName):
        data.load(name, tmp_path / "shapes")


# What may be wrong with a file, and what its message must say.
FAULTS = {
    "missing": ("train_labels", None, "there is no such file"),
    "empty": ("test_images", b"", "cannot be read"),
    "garbage": ("train_images", b"not an array at all" * 10, "cannot be read"),
    "floats": ("train_images", np.zeros((20, 8, 10, 3)), "must be uint8"),
    "no channels": ("train_images", np.zeros((20, 8, 10), np.uint8), "must be uint8 [N, H, W, C]"),
    "two channels": ("train_images", np.zeros((20, 8, 10, 2), np.uint8), "1 or 3 channels"),
    "tiny": ("train_images", np.zeros((20, 4, 4, 3), np.uint8), "8 to 224 pixels"),
    "none": ("test_images", np.zeros((0, 8, 10, 3), np.uint8), "is [0, 8, 10, 3]"),
    "other size": ("test_images", np.zeros((4, 9, 10, 3), np.uint8), "like the training set's"),
    "Fortran order": ("test_images", np.asfortranarray(np.zeros((4, 8, 10, 3), np.uint8)), "C order"),
    "too few labels": ("train_labels", np.zeros(19, np.int64), "must be int64 [20], one per image"),
    "int32 labels": ("train_labels", np.zeros(20, np.int32), "must be int64 [20]"),
    "label too large": ("test_labels", np.array([0, 1, 2, 4]), "must lie in 0 to 3"),
    "label negative": ("test_labels", np.array([0, 1, 2, -1]), "goes from -1 to 2"),
}


@pytest.mark.parametrize(("array", "content", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_broken_file_is_named_with_its_fault_and_the_remedy(tmp_path, array, content, expected):
    path = stored(tmp_path) / f"{array}.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(TuneappError) as caught:
        data.load("shapes", tmp_path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)
    assert "`tuneapp data import shapes PATH --overwrite`" in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_broken_set_that_was_downloaded_can_be_downloaded_again(tmp_path):
    folder = stored(tmp_path, some_set("cifar10"))
    (folder / "test_labels.npy").unlink()
    with pytest.raises(TuneappError, match=rf"or delete {folder}/meta\.json to have it downloaded again"):
        data.load("cifar10", tmp_path)


def test_a_pickle_in_an_array_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    path = stored(tmp_path) / "train_labels.npy"
    np.save(path, np.array([Trap()] * 20, dtype=object), allow_pickle=True)
    with pytest.raises(TuneappError, match=r"train_labels\.npy cannot be read"):
        data.load("shapes", tmp_path)
    assert not (tmp_path / "sprung").exists()


@given(st.sampled_from(ARRAYS), st.floats(0, 0.999))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_truncated_file_is_an_error_and_never_a_shorter_set(tmp_path, array, share):
    path = stored(tmp_path) / f"{array}.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(TuneappError, match=path.name):
        data.load("shapes", tmp_path)


@given(st.integers(0, 127), st.binary(min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_a_header_of_garbage_is_an_error_of_ours_or_harmless(tmp_path, at, garbage):
    path = stored(tmp_path) / "train_images.npy"
    content = bytearray(path.read_bytes())
    content[at : at + len(garbage)] = garbage
    path.write_bytes(content)
    try:
        found = data.load("shapes", tmp_path).train_images.shape
    except TuneappError as error:
        found = str(error)
    assert found == (20, 8, 10, 3) or "train_images.npy" in found


METAS = {
    "torn": '{"classes": ["a", "b"',
    "a list": "[1, 2]",
    "no classes": "{}",
    "empty classes": '{"classes": []}',
    "classes of numbers": '{"classes": [1, 2, 3, 4]}',
    "half a record": '{"classes": ["a", "b", "c", "d"], "sha256": {"train_images": "00"}}',
    "a record of numbers": '{"classes": ["a", "b", "c", "d"], "sha256": 3}',
    "flip no truth": '{"classes": ["a", "b", "c", "d"], "flip": "no"}',
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("meta", METAS.values(), ids=METAS)
def test_a_broken_meta_json_is_named(tmp_path, meta):
    path = stored(tmp_path) / "meta.json"
    path.write_bytes(meta if isinstance(meta, bytes) else meta.encode())
    with pytest.raises(TuneappError, match=r"meta\.json .*shapes PATH --overwrite"):
        data.load("shapes", tmp_path)


def test_verify_finds_one_changed_byte_and_counts_the_classes(tmp_path):
    folder = stored(tmp_path)
    verification = data.verify("shapes", tmp_path)
    assert verification.recorded
    assert verification.train_counts == {f"class {number}": 5 for number in range(4)}
    assert verification.test_counts == {f"class {number}": 1 for number in range(4)}
    content = bytearray((folder / "train_images.npy").read_bytes())
    content[-1] ^= 1
    (folder / "train_images.npy").write_bytes(content)
    with pytest.raises(TuneappError, match=r"train_images\.npy must have the sha256 recorded"):
        data.verify("shapes", tmp_path)


def test_verify_says_where_nothing_was_recorded(tmp_path):
    folder = stored(tmp_path)
    (folder / "meta.json").write_text(json.dumps({"classes": list("abcd")}))
    assert not data.verify("shapes", tmp_path).recorded
    assert data.verify("digits", tmp_path).recorded


def test_verify_does_not_download(tmp_path):
    with pytest.raises(UsageError, match="cifar10 is not in"):
        data.verify("cifar10", tmp_path)


def test_the_list_tells_the_state_of_every_set(tmp_path):
    stored(tmp_path)
    broken = stored(tmp_path, some_set("broken"))
    (broken / "test_labels.npy").unlink()
    (tmp_path / "no-set").mkdir()
    rows = {row.name: row for row in data.available(tmp_path)}
    assert list(rows) == [*data.DATASETS, "broken", "shapes"] == data.names(tmp_path)
    assert rows["digits"].state == "built in"
    assert rows["cifar100"].state == "not downloaded"
    assert rows["broken"].state == "broken: see `tuneapp data verify broken`"
    assert rows["shapes"] == data.Listing("shapes", 20, 4, "8x10x3", 4, "ready", str(tmp_path / "shapes"))


def test_a_set_of_a_built_in_name_without_meta_takes_its_flips(tmp_path):
    for name in ("mnist", "cifar10"):
        folder = stored(tmp_path, some_set(name))
        (folder / "meta.json").write_text(json.dumps({"classes": list("abcd")}))
    assert not data.load("mnist", tmp_path).flip
    assert data.load("cifar10", tmp_path).flip


def test_files_of_others_in_the_folder_of_a_set_are_left_alone(tmp_path):
    (tmp_path / "shapes" / "train" / "cats").mkdir(parents=True)
    (tmp_path / "shapes" / "train" / "cats" / "tom.jpg").write_bytes(b"meow")
    stored(tmp_path)
    stored(tmp_path, some_set(examples=8))
    assert (tmp_path / "shapes" / "train" / "cats" / "tom.jpg").read_bytes() == b"meow"
    assert len(data.load("shapes", tmp_path).train_labels) == 8


def test_a_data_dir_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"data dir must be writable, but .*file is not"):
        stored(tmp_path / "file")


def test_a_set_that_fails_half_way_leaves_nothing(tmp_path):
    def fail():
        with making(tmp_path / "shapes") as scratch:
            (scratch / "train_images.npy").write_bytes(b"half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == [".shapes.lock"]


# Run as processes of their own. The first argument is the data dir.
DRAWN = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from tuneapp import data
from tuneapp.data import datasets
from tuneapp.data import datasets, image_sets

data_dir = Path(sys.argv[1])
pixels, labels = np.zeros((12, 8, 8, 1), np.uint8), np.arange(12) % 4
drawn = image_sets.ImageSet("shapes", pixels, labels, pixels, labels, list("abcd"))
"""
KILLED = """
moves = 0
def replace(path, target, really=Path.replace):  # kill -9 just before the move that the argument numbers
    global moves
    if moves == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    moves += 1
    return really(path, target)

Path.replace = replace
with image_sets.making(data_dir / "shapes") as scratch:
    image_sets.write(drawn, data_dir / "shapes", scratch)
"""
MADE = """
def make(scratch):  # takes until all three want the set, and is written down
    (data_dir / f"made by {os.getpid()}").touch()
    deadline = time.monotonic() + 20
    while len(list(data_dir.glob("wanted by *"))) < 3 and time.monotonic() < deadline:
        pass
    return drawn

datasets.DATASETS["cifar10"] = datasets.Dataset(make, flip=True)
(data_dir / f"wanted by {os.getpid()}").touch()
print(len(data.load("cifar10", data_dir).train_labels))
"""


@pytest.mark.parametrize("before", ["nothing", "an older set"])
@pytest.mark.parametrize("moves", [0, 2, 4])
def test_a_kill_half_way_leaves_a_whole_set_or_none(tmp_path, before, moves):
    if before == "an older set":
        stored(tmp_path)
    killed = subprocess.run([sys.executable, "-c", DRAWN + KILLED, tmp_path, str(moves)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(UnknownName):
        data.load("shapes", tmp_path)
    stored(tmp_path, some_set(examples=16))
    assert len(data.load("shapes", tmp_path).train_labels) == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == [".shapes.lock", "shapes"]


def test_of_processes_that_want_a_set_at_once_one_makes_it(tmp_path):
    command = [sys.executable, "-c", DRAWN + MADE, tmp_path]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == ["12", "12", "12"]
    assert len(list(tmp_path.glob("made by *"))) == 1
    assert data.load("cifar10", tmp_path).flip


@pytest.mark.skipif(REAL is None, reason="TUNEAPP_DATA is not set")
@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_the_real_sets_are_whole(name, shape):
    if not (REAL / name / "meta.json").is_file():
        pytest.skip(f"{name} is not in $TUNEAPP_DATA")
    images = data.load(name, REAL)
    assert images.shape == shape
    assert len(images.test_labels) == 10000
    assert len(images.classes) == 10


def test_the_data_package_needs_no_torch_and_no_scikit_learn():
    code = "import sys, tuneapp.data; print({'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_a_file_has_the_sha256_that_sha256sum_gives(tmp_path):
    folder = stored(tmp_path)
    file = io.BytesIO()
    np.save(file, np.arange(4))
    assert (folder / "test_labels.npy").read_bytes() == file.getvalue()
    found = subprocess.check_output(["sha256sum", folder / "test_labels.npy"], text=True)
    assert data.verify("shapes", tmp_path).sha256["test_labels"] == found.split()[0]
