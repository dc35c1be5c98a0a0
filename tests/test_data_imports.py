"""Imports: whatever form the images come in, they arrive as arrays, or one error says why not."""

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tuneapp import data
from tuneapp.data import import_images
from tuneapp.errors import TuneappError, UsageError

COLOURS = {"cats": (200, 30, 30), "dogs": (30, 200, 30), "fish": (30, 30, 200)}


def paint(path: Path, colour=(200, 30, 30), size=(12, 10), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path, **options)


def painted(folder: Path, parts=("train", "test"), each=5, **options) -> Path:
    """An image folder in which every class has one colour, in a shade of its own per image."""
    for at, part in enumerate(parts):
        for name, colour in COLOURS.items():
            for number in range(each):
                shade = tuple(value + at * each + number for value in colour)
                paint(folder / part / name / f"{number}.png", shade, **options)
    return folder


def is_as_painted(images: data.ImageSet, shades=15):
    assert images.classes == list(COLOURS)
    for pixels, labels in (
        (images.train_images, images.train_labels),
        (images.test_images, images.test_labels),
    ):
        expected = np.array(list(COLOURS.values()))[labels][:, None, None, :]
        assert np.abs(pixels.astype(int) - expected).max() <= shades


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def test_an_image_folder_with_train_and_test_keeps_them(tmp_path, data_dir):
    imported = import_images("pets", painted(tmp_path / "images"), data_dir)
    assert imported.notes == []
    images = data.load("pets", data_dir)
    assert images.train_images.shape == (15, 10, 12, 3)
    assert np.bincount(images.test_labels).tolist() == [5, 5, 5]
    assert images.flip
    assert images.source == "image folder, imported from images"
    is_as_painted(images)
    assert data.verify("pets", data_dir).recorded


def test_an_image_folder_without_test_gives_a_fifth_of_each_class_and_says_so(tmp_path, data_dir):
    imported = import_images("pets", painted(tmp_path / "images", parts=[""], each=10), data_dir)
    assert np.bincount(imported.images.train_labels).tolist() == [8, 8, 8]
    assert np.bincount(imported.images.test_labels).tolist() == [2, 2, 2]
    assert imported.notes == [
        "There is no test/: 6 of 30 images, a fifth of each class, became the test set."
    ]
    is_as_painted(imported.images)


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        (("train", "val"), "val/ became the test set: there is no test/."),
        (
            ("Training", "Testing", "valid"),
            "valid/ was left out: tuneapp splits its own off the training set.",
        ),
    ],
)
def test_what_becomes_of_a_validation_folder_is_said(tmp_path, data_dir, parts, note):
    imported = import_images("pets", painted(tmp_path / "images", parts=parts), data_dir)
    assert imported.notes == [note]
    assert (len(imported.images.train_labels), len(imported.images.test_labels)) == (15, 15)


@given(st.integers(8, 40), st.integers(8, 60), st.integers(8, 60), st.sampled_from(["RGB", "L"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
def test_images_are_resized_to_a_square_of_the_size_asked_for(tmp_path, size, width, height, mode):
    folder = painted(tmp_path / f"{width}x{height}{mode}", size=(width, height), mode=mode, each=1)
    images = import_images("pets", folder, tmp_path / "data", size, overwrite=True).images
    assert images.shape == (size, size, 1 if mode == "L" else 3)
    if mode == "RGB":
        is_as_painted(images)


def test_resizing_is_lanczos(tmp_path, data_dir):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    folder = painted(tmp_path / "images")
    image.save(folder / "train" / "cats" / "0.png")
    images = import_images("pets", folder, data_dir, 16).images
    assert np.array_equal(images.train_images[0], image.resize((16, 16), Image.Resampling.LANCZOS))


def test_a_large_jpeg_is_resized_to_nearly_what_lanczos_gives(tmp_path, data_dir):
    ramp = np.linspace(0, 255, 1200).astype(np.uint8)
    image = Image.fromarray(
        np.stack([np.tile(ramp, (900, 1)), np.tile(ramp[:900, None], (1, 1200))] * 2, -1)[..., :3]
    )
    folder = painted(tmp_path / "images")
    image.save(folder / "train" / "cats" / "a.jpg", quality=95)
    images = import_images("pets", folder, data_dir, 32).images
    expected = np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(images.train_images[5].astype(int) - expected).max() <= 4


def test_images_of_several_sizes_need_a_size(tmp_path, data_dir):
    folder = painted(tmp_path / "images")
    paint(folder / "train" / "cats" / "wide.png", size=(90, 20))
    with pytest.raises(UsageError, match="these are of 2 sizes, from 12x10 to 90x20; pass --size 64"):
        import_images("pets", folder, data_dir)


def test_images_too_large_for_the_models_need_a_size(tmp_path, data_dir):
    folder = painted(tmp_path / "images", size=(300, 200), each=1)
    with pytest.raises(UsageError, match=r"8 to 224 pixels per side, but these are 300x200; pass --size"):
        import_images("pets", folder, data_dir)


def test_grey_images_stay_grey_unless_one_has_colour(tmp_path, data_dir):
    folder = painted(tmp_path / "images", mode="L")
    assert import_images("pets", folder, data_dir).images.shape == (10, 12, 1)
    paint(folder / "train" / "cats" / "red.png")
    assert import_images("pets", folder, data_dir, overwrite=True).images.shape == (10, 12, 3)


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "LA", "1"])
def test_images_of_other_modes_are_taken(tmp_path, data_dir, mode):
    folder = painted(tmp_path / "images")
    options = {"transparency": 0} if mode == "P" else {}
    name = "x.tiff" if mode == "CMYK" else "x.png"
    paint(folder / "train" / "cats" / name, (250, 90, 90), mode=mode, **options)
    imported = import_images("pets", folder, data_dir)
    assert imported.notes == []
    assert len(imported.images.train_labels) == 16


def test_images_turn_as_their_exif_says(tmp_path, data_dir):
    folder = painted(tmp_path / "images", size=(10, 12))
    upright = np.zeros((12, 10, 3), dtype=np.uint8)
    upright[:6] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise to be upright
    lying = Image.fromarray(np.rot90(upright).copy())
    assert lying.size == (12, 10)
    lying.save(folder / "train" / "cats" / "0.png", exif=exif)
    images = import_images("pets", folder, data_dir).images
    assert np.array_equal(images.train_images[0], upright)


def spoil(folder: Path) -> dict[str, str]:
    """Files that are no images, and what is said of each."""
    cats = folder / "train" / "cats"
    Image.effect_noise((200, 200), 80).convert("RGB").save(cats / "torn.jpg")
    (cats / "torn.jpg").write_bytes((cats / "torn.jpg").read_bytes()[:3000])
    (cats / "notes.txt").write_text("not an image")
    (cats / "zero.png").touch()
    Image.fromarray(np.full((10, 12), np.nan, dtype=np.float32)).save(cats / "deep.tiff")
    (cats / "plot.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 10\n")
    return {
        "torn.jpg": "truncated",
        "notes.txt": "none of BMP, GIF",
        "zero.png": "none of",
        "deep.tiff": "some of its pixels are not finite numbers",
        "plot.jpg": "none of",
    }


def test_files_that_are_no_images_are_counted_and_named(tmp_path, data_dir):
    folder = painted(tmp_path / "images")
    reasons = spoil(folder)
    imported = import_images("pets", folder, data_dir, 12)
    [note] = imported.notes
    assert note.startswith("Left out: 5 of 35 files can't be read as images: ")
    for name, reason in reasons.items():
        assert f"{Path('train/cats') / name} (" in note
        assert reason in note
    assert np.bincount(imported.images.train_labels).tolist() == [5, 5, 5]
    is_as_painted(imported.images)


def test_of_many_bad_files_five_are_named(tmp_path, data_dir):
    folder = painted(tmp_path / "images")
    for number in range(8):
        (folder / "test" / "dogs" / f"bad{number}.jpg").write_text("bad")
    [note] = import_images("pets", folder, data_dir).notes
    assert note.startswith("Left out: 8 of 38")
    assert note.endswith("; and 3 more.")


def test_where_most_files_are_bad_nothing_is_imported(tmp_path, data_dir):
    folder = painted(tmp_path / "images", each=1)
    for number in range(7):
        (folder / "test" / "dogs" / f"bad{number}.jpg").write_text("bad")
    with pytest.raises(TuneappError, match=r"7 of 13 files .* the greater part, so nothing was imported"):
        import_images("pets", folder, data_dir)
    assert data.names(data_dir) == list(data.DATASETS)


def test_a_class_that_is_left_with_nothing_is_an_error(tmp_path, data_dir):
    folder = painted(tmp_path / "images")
    (folder / "train" / "newts").mkdir()
    (folder / "train" / "newts" / "newt.jpg").write_text("bad")
    with pytest.raises(TuneappError, match="newts has none; add some, or take that folder away"):
        import_images("pets", folder, data_dir)


def test_a_test_set_that_is_left_with_nothing_is_an_error(tmp_path, data_dir):
    folder = painted(tmp_path / "images", parts=["train"])
    (folder / "test" / "cats").mkdir(parents=True)
    with pytest.raises(TuneappError, match="The test set must have an image"):
        import_images("pets", folder, data_dir)


def test_a_class_of_the_test_set_alone_is_an_error(tmp_path, data_dir):
    folder = painted(tmp_path / "images")
    paint(folder / "test" / "newts" / "0.png")
    with pytest.raises(TuneappError, match=r"must be in .*train, but newts is in .*test alone"):
        import_images("pets", folder, data_dir)


def test_one_class_is_not_enough(tmp_path, data_dir):
    paint(tmp_path / "images" / "train" / "cats" / "0.png")
    paint(tmp_path / "images" / "test" / "cats" / "0.png")
    with pytest.raises(TuneappError, match=r"two classes or more, but .*train holds 1"):
        import_images("pets", tmp_path / "images", data_dir)


def test_a_class_of_one_image_cannot_be_split(tmp_path, data_dir):
    folder = painted(tmp_path / "images", parts=[""])
    paint(folder / "newts" / "0.png", (9, 9, 9))
    with pytest.raises(UsageError, match=r"every class has two different images .* only 1 of class newts"):
        import_images("pets", folder, data_dir)


def test_a_folder_that_holds_nothing_to_import_says_what_it_could_hold(tmp_path, data_dir):
    paint(tmp_path / "images" / "0.png")
    with pytest.raises(TuneappError, match=r"one folder of images per class .* but holds 0\.png"):
        import_images("pets", tmp_path / "images", data_dir)


def test_hidden_files_and_folders_are_left_aside(tmp_path, data_dir):
    folder = painted(tmp_path / "images")
    (folder / "train" / "cats" / ".DS_Store").write_text("Mac")
    (folder / "__MACOSX" / "train").mkdir(parents=True)
    (folder / "train" / ".cache").mkdir()
    imported = import_images("pets", folder, data_dir)
    assert imported.notes == ["Left out: 1 file hidden or made by a system (.DS_Store)."]
    is_as_painted(imported.images)


def test_progress_counts_every_image(tmp_path, data_dir):
    seen = []
    import_images(
        "pets", painted(tmp_path / "images"), data_dir, progress=lambda done, of: seen.append((done, of))
    )
    assert seen == [(done, 30) for done in range(1, 31)]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_an_archive_is_read_like_the_folder_in_it(tmp_path, data_dir, kind):
    painted(tmp_path / "images" / "inner" / "pets")
    archive = tmp_path / f"pets.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted((tmp_path / "images").rglob("*")):
                file.write(path, path.relative_to(tmp_path / "images"))
    else:
        with tarfile.open(archive, f"w:{kind.partition('.')[2]}") as file:
            file.add(tmp_path / "images", ".")
    is_as_painted(import_images("pets", archive, data_dir).images)
    assert sorted(path.name for path in data_dir.iterdir()) == [".pets.lock", "pets"]


@pytest.mark.parametrize(
    "entry", ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "..\\out.txt", "C:/out.txt"]
)
def test_a_zip_that_would_leave_its_folder_is_refused(tmp_path, data_dir, entry):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as file:
        file.writestr("train/cats/0.png", b"")
        file.writestr(entry, b"out")
    with pytest.raises(TuneappError, match=r"must stay in its folder, .*pets\.zip"):
        import_images("pets", tmp_path / "pets.zip", data_dir)
    assert not list(tmp_path.rglob("out.txt"))
    assert [path.name for path in data_dir.iterdir()] == [".pets.lock"]


@pytest.mark.parametrize("kind", ["dots", "symlink", "device"])
def test_a_tar_that_would_leave_its_folder_is_refused(tmp_path, data_dir, kind):
    member = tarfile.TarInfo("../out.txt" if kind == "dots" else "train")
    if kind == "symlink":
        member.type, member.linkname = tarfile.SYMTYPE, "../../.."
    if kind == "device":
        member.type = tarfile.CHRTYPE
    with tarfile.open(tmp_path / "pets.tar", "w") as file:
        file.addfile(member, io.BytesIO())
    with pytest.raises(TuneappError, match=r"must stay in its folder, .*pets\.tar"):
        import_images("pets", tmp_path / "pets.tar", data_dir)
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_torn_archive_is_one_clear_error(tmp_path, data_dir, kind):
    archive = tmp_path / f"pets.{kind}"
    noise = np.random.default_rng(0).bytes(50_000)
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.bin", noise)
        content = bytearray(archive.read_bytes())
        content[20_000:20_100] = bytes(100)
    else:
        with tarfile.open(archive, "w:gz") as file:
            member = tarfile.TarInfo("a.bin")
            member.size = len(noise)
            file.addfile(member, io.BytesIO(noise))
        content = archive.read_bytes()[:30_000]
    archive.write_bytes(content)
    with pytest.raises(TuneappError, match=rf"pets\.{kind} cannot be unpacked .*; fetch it again"):
        import_images("pets", archive, data_dir)


def test_an_error_in_an_archive_names_the_archive(tmp_path, data_dir):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as file:
        file.writestr("train/cats/0.png", b"bad")
    with pytest.raises(TuneappError) as caught:
        import_images("pets", tmp_path / "pets.zip", data_dir)
    assert str(tmp_path / "pets.zip" / "train") in str(caught.value)
    assert ".partial" not in str(caught.value)


def test_a_file_that_is_no_archive_is_refused(tmp_path, data_dir):
    (tmp_path / "pets.txt").write_text("cats and dogs")
    with pytest.raises(TuneappError, match=r"pets\.txt must be a folder or a zip or tar archive"):
        import_images("pets", tmp_path / "pets.txt", data_dir)


def drawn(examples=12, size=10, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (examples, size, size), dtype=np.uint8), np.arange(examples) % classes


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, dot="-", zipped=False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, seed in (("train", 0), ("t10k", 1)):
        images, labels = drawn(seed=seed)
        for kind, array in ((f"images{dot}idx3", images), (f"labels{dot}idx1", labels)):
            content = gzip.compress(idx(array)) if zipped else idx(array)
            (folder / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}").write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
def test_idx_files_are_read_packed_or_not(tmp_path, data_dir, dot, zipped):
    write_idx(tmp_path / "MNIST" / "raw", dot, zipped)
    images = import_images("letters", tmp_path / "MNIST", data_dir).images
    assert np.array_equal(images.train_images[..., 0], drawn()[0])
    assert np.array_equal(images.test_images[..., 0], drawn(seed=1)[0])
    assert np.array_equal(images.train_labels, drawn()[1])
    assert images.classes == ["0", "1", "2", "3"]
    assert not images.flip


def test_one_idx_file_stands_for_its_folder(tmp_path, data_dir):
    folder = write_idx(tmp_path / "idx", zipped=True)
    images = import_images("letters", folder / "train-images-idx3-ubyte.gz", data_dir).images
    assert len(images.test_labels) == 12


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "must be there, but is not"),
        (idx(drawn()[1])[:-1], "must be a whole idx file of uint8 in 1 dimensions"),
        (idx(drawn()[0]), "in 1 dimensions"),
        (b"", "in 1 dimensions"),
        (gzip.compress(idx(drawn()[1]))[:-9], "cannot be read"),
        (idx(drawn(11)[1]), "must hold one label for each of 12 images, but has 11"),
    ],
    ids=["missing", "torn", "images", "empty", "torn gzip", "too few"],
)
def test_a_broken_idx_file_is_named(tmp_path, data_dir, content, expected):
    path = write_idx(tmp_path / "idx") / "train-labels-idx1-ubyte"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TuneappError, match=rf"{path} .*{expected}"):
        import_images("letters", tmp_path / "idx", data_dir)


def write_cifar(folder: Path, classes=10, binary=False, protocol=2) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR files of 6 images each; returns the training set as [N, H, W, C] and its labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    names = [f"kind{number}" for number in range(classes)]
    files = [f"data_batch_{number}" for number in range(1, 6)] if classes == 10 else ["train"]
    batches = {}
    for name in (*files, "test_batch" if classes == 10 else "test"):
        rows = rng.integers(0, 256, (6, 3072), dtype=np.uint8)
        labels = rng.integers(0, classes, 6)
        batches[name] = rows, labels
        if binary:
            head = [labels] if classes == 10 else [labels // 5, labels]
            (folder / f"{name}.bin").write_bytes(np.column_stack([*head, rows]).astype(np.uint8).tobytes())
        else:
            key = b"labels" if classes == 10 else b"fine_labels"
            record = {b"data": rows, key: labels.tolist(), b"batch_label": b"a batch"}
            (folder / name).write_bytes(pickle.dumps(record, protocol))
    if binary:
        (folder / ("batches.meta.txt" if classes == 10 else "fine_label_names.txt")).write_text(
            "\n".join(names) + "\n\n"
        )
    else:
        meta, key = ("batches.meta", b"label_names") if classes == 10 else ("meta", b"fine_label_names")
        (folder / meta).write_bytes(pickle.dumps({key: [name.encode() for name in names]}, protocol))
    rows = np.concatenate([batches[name][0] for name in files])
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.concatenate(
        [batches[name][1] for name in files]
    )


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize(("binary", "protocol"), [(True, 0), (False, 2), (False, 4)])
def test_cifar_files_are_read(tmp_path, data_dir, classes, binary, protocol):
    images, labels = write_cifar(tmp_path / "cifar", classes, binary, protocol)
    name = f"cifar{classes}"
    import_images(name, tmp_path / "cifar", data_dir)
    found = data.load(name, data_dir)
    assert np.array_equal(found.train_images, images)
    assert np.array_equal(found.train_labels, labels)
    assert found.classes == [f"kind{number}" for number in range(classes)]
    assert found.test_images.shape == (6, 32, 32, 3)
    assert found.flip


def test_an_archive_of_cifar_is_read(tmp_path, data_dir):
    images, _ = write_cifar(tmp_path / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as file:
        file.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    found = import_images("cifar10", tmp_path / "cifar-10-python.tar.gz", data_dir).images
    assert np.array_equal(found.train_images, images)


class Trap:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    "call", [(os.mkdir, "sprung"), (eval, "__import__('os').mkdir('sprung')"), (np.load, "x")]
)
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path, data_dir, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path / "cifar")
    record = {b"data": Trap(*call), b"labels": []}
    (tmp_path / "cifar" / "data_batch_3").write_bytes(pickle.dumps(record, 2))
    with pytest.raises(TuneappError, match=r"data_batch_3 cannot be read as a CIFAR file \(it asks for"):
        import_images("cifar10", tmp_path / "cifar", data_dir)
    assert not (tmp_path / "sprung").exists()


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
def test_a_spoilt_pickle_is_an_error_of_ours_or_harmless(tmp_path, at, garbage):
    write_cifar(tmp_path / "cifar")
    path = tmp_path / "cifar" / "test_batch"
    content = bytearray(path.read_bytes())
    at %= 200 if at % 2 else len(content)  # the structure lies at the start
    content[at : at + len(garbage)] = garbage
    path.write_bytes(content)
    try:
        found = import_images("cifar10", tmp_path / "cifar", tmp_path / "data", overwrite=True).images.name
    except TuneappError as error:
        found = str(error)
    assert found == "cifar10" or "test" in found


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ([], "must hold a CIFAR record, but holds list"),
        ({b"labels": [1]}, "must hold `data`"),
        ({b"data": np.zeros((2, 99), np.uint8), b"labels": [1, 1]}, "must hold `data`"),
        ({b"data": np.zeros((2, 3072)), b"labels": [1, 1]}, "must hold `data`"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "must hold `labels`"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2**70]}, "must hold `labels`"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, None]}, "must hold `labels`"),
    ],
)
def test_a_cifar_file_of_another_shape_is_named(tmp_path, data_dir, record, expected):
    write_cifar(tmp_path / "cifar")
    (tmp_path / "cifar" / "data_batch_2").write_bytes(pickle.dumps(record, 2))
    with pytest.raises(TuneappError, match=rf"data_batch_2 {expected}"):
        import_images("cifar10", tmp_path / "cifar", data_dir)


@pytest.mark.parametrize(
    ("binary", "missing"), [(True, "data_batch_*.bin"), (False, "data_batch_*"), (False, "test_batch")]
)
def test_a_missing_cifar_file_is_named(tmp_path, data_dir, binary, missing):
    write_cifar(tmp_path / "cifar", binary=binary)
    for path in (tmp_path / "cifar").glob(missing):
        path.unlink()
    with pytest.raises(TuneappError, match=f"{missing.replace('*', '1')} must be there, but is not"):
        import_images("cifar10", tmp_path / "cifar", data_dir)


def test_a_torn_cifar_binary_is_named(tmp_path, data_dir):
    write_cifar(tmp_path / "cifar", binary=True)
    path = tmp_path / "cifar" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TuneappError, match=r"test_batch\.bin must hold 3073 bytes per image, but has 18437"):
        import_images("cifar10", tmp_path / "cifar", data_dir)


def write_arrays(folder: Path, images=None, labels=None, meta=None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    default_images, default_labels = drawn()
    images = default_images if images is None else images
    for part in ("train", "test"):
        # The test set's images differ from the training set's by a grey level.
        values = images ^ 1 if part == "test" and images.dtype == np.uint8 else images
        np.save(folder / f"{part}_images.npy", values)
        np.save(folder / f"{part}_labels.npy", default_labels if labels is None else labels)
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_arrays_are_read_with_or_without_channels_and_meta(tmp_path, data_dir, dtype):
    images, labels = drawn()
    write_arrays(tmp_path / "arrays", images, labels.astype(dtype))
    found = import_images("mine", tmp_path / "arrays", data_dir).images
    assert np.array_equal(found.train_images[..., 0], images)
    assert found.train_labels.dtype == np.int64
    assert found.classes == ["0", "1", "2", "3"]
    write_arrays(tmp_path / "arrays", images[..., None], meta={"classes": list("abcd"), "flip": False})
    found = import_images("mine", tmp_path / "arrays", data_dir, overwrite=True).images
    assert (found.classes, found.flip) == (["a", "b", "c", "d"], False)


def test_arrays_are_resized(tmp_path, data_dir):
    images = np.repeat(np.array([10, 90, 250], dtype=np.uint8), 300 * 250 * 3).reshape(3, 300, 250, 3)
    folder = write_arrays(tmp_path / "arrays", images, np.arange(3))
    with pytest.raises(TuneappError, match=r"train_images of .*8 to 224 pixels .*pass --size"):
        import_images("mine", folder, data_dir)
    found = import_images("mine", folder, data_dir, 20).images
    assert found.train_images.shape == (3, 20, 20, 3)
    assert found.train_images[:, 7, 7, 1].tolist() == [10, 90, 250]


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (np.zeros((12, 10, 10)), None, "train_images of .* must be uint8"),
        (np.zeros(12, np.uint8), None, "train_images of .* must be uint8"),
        (np.zeros((12, 0, 10, 3), np.uint8), None, "train_images of .* 8 to 224"),
        (None, np.arange(12.0), "train_labels of .* must be int64"),
        (None, np.full(12, -1), "train_labels of .* must lie in 0 to 0"),
        (None, np.arange(12) + 10**15, "train_labels of .* must lie in 0 to 999"),
        (
            np.zeros((0, 10, 10), np.uint8),
            np.zeros(0, np.int64),
            r"train_images of .* but is \[0, 10, 10, 1\]",
        ),
    ],
)
@pytest.mark.parametrize("size", [None, 16])
def test_arrays_that_are_no_images_are_refused(tmp_path, data_dir, images, labels, expected, size):
    folder = write_arrays(tmp_path / "arrays", images, labels)
    with pytest.raises(TuneappError, match=expected):
        import_images("mine", folder, data_dir, size)
    assert data.names(data_dir) == list(data.DATASETS)


@pytest.mark.parametrize("name", ["Pets", "my pets", "../pets", "pets.old", "", "-pets", "a/b", "häuser"])
def test_a_name_must_be_plain(tmp_path, data_dir, name):
    with pytest.raises(UsageError, match="must be of a-z, 0-9, '_' and '-'"):
        import_images(name, painted(tmp_path / "images"), data_dir)
    assert not data_dir.exists()


def test_digits_cannot_be_replaced(tmp_path, data_dir):
    with pytest.raises(UsageError, match="digits is built in"):
        import_images("digits", painted(tmp_path / "images"), data_dir, overwrite=True)


@pytest.mark.parametrize("size", [0, 7, 225, -3])
def test_a_size_that_models_cannot_take_is_refused(tmp_path, data_dir, size):
    with pytest.raises(UsageError, match=f"8 to 224 pixels, but got {size}"):
        import_images("pets", painted(tmp_path / "images"), data_dir, size)


def test_a_path_that_is_not_there_is_refused(tmp_path, data_dir):
    with pytest.raises(UsageError, match="nowhere does not exist"):
        import_images("pets", tmp_path / "nowhere", data_dir)


def test_a_name_that_is_taken_is_refused_unless_overwritten(tmp_path, data_dir):
    folder = painted(tmp_path / "images")
    import_images("pets", folder, data_dir)
    with pytest.raises(UsageError, match=r"'pets' is there already .* pass --overwrite"):
        import_images("pets", folder, data_dir, 16)
    assert data.load("pets", data_dir).shape == (10, 12, 3)
    import_images("pets", folder, data_dir, 16, overwrite=True)
    assert data.load("pets", data_dir).shape == (16, 16, 3)


def test_an_import_that_fails_leaves_the_set_it_was_to_replace(tmp_path, data_dir):
    import_images("pets", painted(tmp_path / "images"), data_dir)
    before = data.load("pets", data_dir).checksum
    with pytest.raises(TuneappError):
        import_images("pets", write_arrays(tmp_path / "arrays", np.zeros(3)), data_dir, overwrite=True)
    assert data.verify("pets", data_dir).images.checksum == before


def test_a_set_that_is_open_stays_as_it_was_while_it_is_replaced(tmp_path, data_dir):
    import_images("pets", painted(tmp_path / "images"), data_dir)
    opened = data.load("pets", data_dir)
    import_images("pets", write_arrays(tmp_path / "arrays"), data_dir, overwrite=True)
    is_as_painted(opened)


def test_images_can_be_imported_where_they_lie_and_again(tmp_path, data_dir):
    folder = painted(data_dir / "pets")
    assert import_images("pets", folder, data_dir, 16).images.shape == (16, 16, 3)
    assert import_images("pets", folder, data_dir, 32, overwrite=True).images.shape == (32, 32, 3)
    assert len(list(folder.rglob("*.png"))) == 30
    is_as_painted(data.load("pets", data_dir))


def test_arrays_can_be_imported_where_they_lie(tmp_path, data_dir):
    folder = write_arrays(data_dir / "mine")
    images = import_images("mine", folder, data_dir, 16).images
    assert images.shape == (16, 16, 1)
    assert data.verify("mine", data_dir).recorded


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [("mnist", None, False), ("mnist", True, True), ("pets", None, True), ("pets", False, False)],
)
def test_flips_are_as_asked_else_as_the_name_says(tmp_path, data_dir, name, asked, expected):
    import_images(name, painted(tmp_path / "images"), data_dir, flip=asked)
    assert data.load(name, data_dir).flip is expected


def test_an_imported_set_goes_by_its_name(tmp_path, data_dir):
    import_images("pets", painted(tmp_path / "images"), data_dir)
    assert "pets" in data.names(data_dir)
