"""Image folders as people have them: nothing is guessed, left out or changed without a word."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tuneapp.data import Imported, import_images, load, stratified_split
from tuneapp.data.decode import Decoding, read_image
from tuneapp.errors import TuneappError, UsageError

SIDE = 16


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(path: Path, pixels, mode=None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def noise(rng, top=256, dtype=np.uint8, channels=3):
    return rng.integers(0, top, (SIDE, SIDE, channels)).astype(dtype).squeeze()


@pytest.fixture
def pets(tmp_path, rng) -> Path:
    """Ten images of noise in each of two classes."""
    for name in ("cat", "dog"):
        for number in range(10):
            save(tmp_path / "pets" / name / f"{number}.png", noise(rng))
    return tmp_path / "pets"


def imported(folder: Path, size=None) -> Imported:
    return import_images("set", folder, folder.parent / "data", size, overwrite=True)


def note_with(words: str, outcome: Imported) -> str:
    [note] = [note for note in outcome.notes if words in note]
    return note


def in_both(outcome: Imported) -> int:
    train = {image.tobytes() for image in outcome.images.train_images}
    return sum(image.tobytes() in train for image in outcome.images.test_images)


HIDDEN = [
    "cat/.ipynb_checkpoints/0-checkpoint.png",
    "cat/.thumbnails/0.png",
    "cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.png",
    "cat/deep/er/@eaDir/0.png",
    "cat/._0.png",
    "cat/.AppleDouble/0.png",
    "cat/Thumbs.db",
    "cat/desktop.ini",
    "dog/$RECYCLE.BIN/0.png",
    "dog/lost+found/0.png",
    "dog/#recycle/0.png",
    "__MACOSX/cat/0.png",
    ".ipynb_checkpoints/0-checkpoint.png",
    "@eaDir/cat/0.png",
]


@pytest.mark.parametrize("path", HIDDEN)
@pytest.mark.parametrize("part", ["", "train"])
def test_what_systems_leave_in_a_folder_is_left_out_and_counted(tmp_path, pets, rng, path, part):
    if part:
        shutil.copytree(pets, tmp_path / "whole" / "train")
        pets = tmp_path / "whole"
    before = imported(pets).images
    (pets / part / path).parent.mkdir(parents=True, exist_ok=True)
    save(tmp_path / "other.png", noise(rng)).rename(pets / part / path)
    outcome = imported(pets)
    assert outcome.images.checksum == before.checksum
    assert note_with("hidden or made by a system", outcome).startswith("Left out: 1 file hidden")


def test_all_hidden_files_are_counted(pets, rng):
    for number in range(7):
        save(pets / "cat" / ".cache" / "a" / f"{number}.png", noise(rng))
    save(pets / "dog" / "@eaDir" / "x.png", noise(rng))
    assert note_with("hidden", imported(pets)) == (
        "Left out: 8 files hidden or made by a system (.cache, @eaDir)."
    )


def test_a_folder_that_is_hidden_itself_can_be_imported(tmp_path, pets):
    pets.rename(tmp_path / ".pets")
    assert len(imported(tmp_path / ".pets").images.train_labels) == 16


def test_copies_within_a_class_are_kept_once(pets):
    for number in range(5):
        shutil.copy(pets / "cat" / f"{number}.png", pets / "cat" / f"{number} (copy).png")
    outcome = imported(pets)
    assert len(outcome.images.train_labels) + len(outcome.images.test_labels) == 20
    assert in_both(outcome) == 0
    assert note_with("same class", outcome).startswith(
        "5 images equal another of the same class: one of each"
    )


def test_a_copy_in_another_format_is_a_copy(pets):
    with Image.open(pets / "cat" / "3.png") as image:
        image.save(pets / "cat" / "other.bmp")
        image.convert("RGBA").save(pets / "cat" / "another.tiff")
    assert "2 images equal another of the same class" in note_with("same class", imported(pets))


def test_no_validation_split_has_an_image_on_both_sides(pets):
    for number in range(10):
        for copy in range(3):
            shutil.copy(pets / "dog" / f"{number}.png", pets / "dog" / f"{number}-{copy}.png")
    images = imported(pets).images
    for seed in range(5):
        rows, val_rows = stratified_split(images.train_labels, 0.25, seed)
        train = {image.tobytes() for image in images.train_images[rows]}
        assert not any(image.tobytes() in train for image in images.train_images[val_rows])


def test_equal_images_of_several_classes_are_all_left_out(pets):
    shutil.copy(pets / "cat" / "1.png", pets / "dog" / "also.png")
    outcome = imported(pets)
    assert len(outcome.images.train_labels) + len(outcome.images.test_labels) == 19
    note = note_with("another class", outcome)
    assert note.startswith("2 images equal one of another class: all were left out")
    assert "cat/1.png, dog/also.png" in note


def parts(pets: Path, rng) -> Path:
    """pets as train/, and a test/ of four other images per class."""
    whole = pets.parent / "whole"
    shutil.copytree(pets, whole / "train")
    for name in ("cat", "dog"):
        for number in range(4):
            save(whole / "test" / name / f"t{number}.png", noise(rng))
    return whole


def test_what_the_test_set_holds_too_is_left_out_of_the_training_set(pets, rng):
    whole = parts(pets, rng)
    for number in range(3):
        shutil.copy(whole / "train" / "cat" / f"{number}.png", whole / "test" / "cat" / f"again{number}.png")
    outcome = imported(whole)
    assert (len(outcome.images.train_labels), len(outcome.images.test_labels)) == (17, 11)
    assert in_both(outcome) == 0
    assert "3 images of the training set also stand in the test set" in note_with("also stand", outcome)


def test_what_the_test_set_holds_under_another_class_is_left_out_too(pets, rng):
    whole = parts(pets, rng)
    shutil.copy(whole / "train" / "cat" / "0.png", whole / "test" / "dog" / "wrong.png")
    outcome = imported(whole)
    assert (len(outcome.images.train_labels), in_both(outcome)) == (19, 0)


def test_a_test_set_stays_as_it_is_and_its_copies_are_told(pets, rng):
    whole = parts(pets, rng)
    shutil.copy(whole / "test" / "cat" / "t0.png", whole / "test" / "cat" / "again.png")
    shutil.copy(whole / "test" / "cat" / "t1.png", whole / "test" / "dog" / "wrong.png")
    outcome = imported(whole)
    assert len(outcome.images.test_labels) == 10
    assert "2 images of the test set equal another there, 1 of them in several classes: kept" in note_with(
        "another there", outcome
    )


def test_a_training_set_that_is_the_test_set_is_refused(pets):
    shutil.copytree(pets, pets.parent / "whole" / "train")
    shutil.copytree(pets, pets.parent / "whole" / "test")
    with pytest.raises(TuneappError, match=r"a training image of its own, but cat, dog has none.*20 images"):
        imported(pets.parent / "whole")


def arrays(folder: Path, train, test) -> Path:
    folder.mkdir()
    for part, images in (("train", train), ("test", test)):
        np.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", np.arange(len(images)) % 2)
    return folder


def test_arrays_lose_their_copies_but_published_sets_stay_as_published(tmp_path, rng):
    train = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    train[18] = train[2]
    test = rng.integers(0, 256, (6, 8, 8), dtype=np.uint8)
    test[0] = train[4]
    folder = arrays(tmp_path / "arrays", train, test)
    outcome = imported(folder)
    assert (len(outcome.images.train_labels), in_both(outcome)) == (18, 0)
    published = import_images("mnist", folder, tmp_path / "data")
    assert len(published.images.train_labels) == 20
    assert published.notes == [
        "1 of 6 test images are in the training set too, and 1 training images equal another: kept, as the "
        "set was published."
    ]


INKS = {"black": 0, "white": 255}


def drawings(folder: Path, mode: str, inks=("black", "black"), **options) -> Path:
    """Rings and boxes in ink on a transparent ground, each of another size."""
    for (name, shape), ink in zip((("box", "rectangle"), ("ring", "ellipse")), inks, strict=True):
        for number in range(10):
            opacity = Image.new("L", (32, 32), 0)
            box = (2, 2, 12 + 2 * number, 31 - number)
            getattr(ImageDraw.Draw(opacity), shape)(box, outline=255, width=3)
            (folder / name).mkdir(parents=True, exist_ok=True)
            path = folder / name / f"{number}.png"
            if mode == "P":  # index 0 is transparent
                picture = opacity.point(lambda value: value and 1).convert("P")
                picture.putpalette([128, 128, 128, INKS[ink], INKS[ink], INKS[ink]])
                picture.save(path, transparency=0)
            elif mode in ("L", "RGB"):  # one colour stands for transparent
                level = INKS[ink]
                drawn = Image.new(mode, (32, 32), (100,) * 3 if mode == "RGB" else 100)
                drawn.paste((level,) * 3 if mode == "RGB" else level, mask=opacity)
                drawn.save(path, transparency=(100,) * 3 if mode == "RGB" else 100)
            else:
                picture = Image.new(mode, (32, 32), (INKS[ink],) * (len(mode) - 1) + (0,))
                picture.putalpha(opacity)
                picture.save(path)
    return folder


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("size", [None, 16])
def test_ink_on_a_transparent_ground_can_be_seen(tmp_path, mode, ink, size):
    outcome = imported(drawings(tmp_path / "ink", mode, (ink, ink)), size)
    ground = "white" if ink == "black" else "black"
    assert f"20 of 20 images have transparent parts: they were laid on {ground}" in note_with(
        "transp", outcome
    )
    images = outcome.images.train_images
    assert images[0, -1, -1].tolist() == [255 - INKS[ink]] * images.shape[3]  # a corner shows the ground
    drawn = np.abs(images.astype(int) - INKS[ink]) < 100
    assert (drawn.mean(axis=(1, 2, 3)) > 0.05).all()  # in every image there is ink
    assert len({image.tobytes() for image in images}) == 16


def test_where_inks_are_black_and_white_the_ground_is_grey_for_all(tmp_path):
    outcome = imported(drawings(tmp_path / "ink", "RGBA", ("black", "white")))
    assert "laid on grey, because some of their drawings would vanish on white" in note_with(
        "transp", outcome
    )
    box, ring = (outcome.images.train_images[outcome.images.train_labels == label] for label in (0, 1))
    assert (box.min(), box.max()) == (0, 128)
    assert (ring.min(), ring.max()) == (128, 255)


def test_half_transparent_pixels_are_mixed_with_the_ground(tmp_path, pets):
    save(pets / "cat" / "half.png", np.full((SIDE, SIDE, 4), (200, 0, 0, 128), dtype=np.uint8))
    images = imported(pets).images
    everything = np.concatenate([images.train_images, images.test_images])
    [half] = [image for image in everything if len(np.unique(image.reshape(-1, 3), axis=0)) == 1]
    assert np.abs(half[0, 0].astype(int) - [227, 127, 127]).max() <= 1


def test_what_transparent_pixels_hide_does_not_bleed_into_others(tmp_path, pets):
    pixels = np.zeros((64, 64, 4), dtype=np.uint8)
    pixels[..., 0] = 255  # red, but hidden, beside black ink
    pixels[:, :32] = (0, 0, 0, 255)
    image = read_image(save(tmp_path / "x.png", pixels), 16, 3)
    assert np.ptp(image, axis=2).max() == 0
    assert (image.min(), image.max()) == (0, 255)


def test_a_grey_model_sees_the_luminance_of_a_transparent_colour_image(tmp_path):
    pixels = np.full((SIDE, SIDE, 4), (0, 200, 0, 255), dtype=np.uint8)
    pixels[0, 0, 3] = 0
    grey = read_image(save(tmp_path / "x.png", pixels), SIDE, 1)
    assert grey[8, 8, 0] == np.asarray(Image.new("RGB", (1, 1), (0, 200, 0)).convert("L"))[0, 0]
    assert grey[0, 0, 0] == 255


def test_an_image_with_an_alpha_channel_that_is_opaque_is_not_told(pets, rng):
    opaque = noise(rng, channels=4)
    opaque[..., 3] = 255
    save(pets / "cat" / "opaque.png", opaque)
    assert len(imported(pets).notes) == 1


def test_a_model_is_shown_images_on_the_ground_it_learnt_on(tmp_path):
    folder = drawings(tmp_path / "ink", "RGBA", ("white", "white"))
    imported(folder)
    record = load("set", tmp_path / "data").decoding
    assert record == {"ground": 0}
    black = drawings(tmp_path / "black", "RGBA")
    assert read_image(black / "box" / "0.png", 32, 3, Decoding.of(record)).max() == 0
    assert read_image(black / "box" / "0.png", 32, 3).max() == 255


def png_of_16_bits(path: Path, values) -> Path:
    """RGB with 16 bits per channel, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(
    ("dtype", "suffix", "top", "expected"),
    [
        (np.uint16, "png", 4095, 4095),  # 12 bits, as cameras and scanners write them
        (np.uint16, "png", 65535, 65535),
        (np.uint16, "png", 900, 1023),
        (np.uint16, "tiff", 4095, 4095),
        (np.dtype(">u2"), "tiff", 4095, 4095),
        (np.int32, "tiff", 100_000, 131_071),
        (np.int32, "tiff", 200, 255),
        (np.float32, "tiff", 1.0, 1),
        (np.float32, "tiff", 4000.0, 4095),
    ],
)
def test_deep_greys_keep_their_range(tmp_path, rng, dtype, suffix, top, expected):
    raw = {}
    for name in ("a", "b"):
        for number in range(8):
            raw[name, number] = (rng.random((SIDE, SIDE)) * top).astype(dtype)
            raw[name, number][0, 0] = top
            save(tmp_path / "deep" / name / f"{number}.{suffix}", raw[name, number])
    outcome = imported(tmp_path / "deep")
    assert f"values from 0 to {expected} became 0 to 255" in note_with("8 bits per channel", outcome)
    assert outcome.images.shape == (SIDE, SIDE, 1)
    wanted = {
        np.rint(values.astype(float) * 255 / expected).astype(np.uint8).tobytes() for values in raw.values()
    }
    images = np.concatenate([outcome.images.train_images, outcome.images.test_images])
    assert {image.tobytes() for image in images} == wanted


def test_negative_values_go_from_the_least_to_the_largest(tmp_path, rng):
    for name, level in (("air", -1000), ("bone", 1000)):
        for number in range(4):
            values = np.full((SIDE, SIDE), level, dtype=np.int32)
            values[number, 0] = 0
            save(tmp_path / "ct" / name / f"{number}.tiff", values)
    outcome = imported(tmp_path / "ct")
    assert "values from -1000 to 1000 became 0 to 255" in note_with("8 bits", outcome)
    assert set(np.unique(outcome.images.train_images)) == {0, 128, 255}


def test_all_deep_images_of_a_set_are_scaled_alike(tmp_path, rng):
    for number in range(4):
        save(tmp_path / "deep" / "dark" / f"{number}.png", noise(rng, 256, np.uint16, 1))
        save(tmp_path / "deep" / "light" / f"{number}.png", noise(rng, 4096, np.uint16, 1))
    images = imported(tmp_path / "deep").images
    assert images.train_images[images.train_labels == 0].max() <= 16
    assert images.train_images[images.train_labels == 1].max() > 240
    dark = tmp_path / "deep" / "dark" / "0.png"
    assert read_image(dark, SIDE, 1, Decoding.of(images.decoding)).max() <= 16
    assert read_image(dark, SIDE, 1).max() > 200  # alone


def test_colours_of_16_bits_keep_their_range(tmp_path, rng):
    values = {}
    for name in ("a", "b"):
        for number in range(4):
            values[name, number] = rng.integers(0, 4096, (SIDE, SIDE, 3))
            png_of_16_bits(tmp_path / "deep" / name / f"{number}.png", values[name, number])
    outcome = imported(tmp_path / "deep")
    assert "values from 0 to 4095" in note_with("8 bits", outcome)
    wanted = {np.rint(pixels * 255 / 4095).astype(np.uint8).tobytes() for pixels in values.values()}
    assert {image.tobytes() for image in outcome.images.train_images} < wanted


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_images_turn_as_viewers_show_them(tmp_path, suffix, turn, mode):
    if mode == "I;16" and suffix in ("jpg", "webp"):
        return  # no such files
    upright = np.zeros((16, 24, 3), dtype=np.uint8)
    upright[:8] = 255
    upright[:, :8] = 128
    seen = upright if mode == "RGB" else upright[..., 0]
    stored = {
        1: seen,
        2: seen[:, ::-1],
        3: seen[::-1, ::-1],
        4: seen[::-1],
        5: np.swapaxes(seen, 0, 1),
        6: np.rot90(seen, 1),
        7: np.rot90(np.swapaxes(seen, 0, 1), 2),
        8: np.rot90(seen, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix == "jpg" else {}
    pixels = stored.astype(np.uint16) * 257 if mode == "I;16" else stored
    path = save(tmp_path / f"x.{suffix}", np.ascontiguousarray(pixels), exif=exif, **options)
    channels = 1 if mode == "I;16" or mode == "L" else 3
    shown = read_image(path, 24, channels)
    wanted = np.asarray(Image.fromarray(seen).resize((24, 24), Image.Resampling.LANCZOS)).reshape(shown.shape)
    assert np.abs(shown.astype(int) - wanted).max() <= 8


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "P"])
@pytest.mark.parametrize("suffix", ["tiff", "jpg"])
def test_colours_survive_every_colour_space(tmp_path, mode, suffix):
    if mode == "P" and suffix == "jpg":
        return  # no such files
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:8] = (220, 40, 10)
    pixels[8:] = (10, 40, 220)
    image = Image.fromarray(pixels)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.save(tmp_path / f"x.{suffix}")
    assert np.abs(read_image(tmp_path / f"x.{suffix}", 16, 3).astype(int) - pixels).mean() <= 8


@pytest.mark.parametrize("kind", ["black", "hidden", "copies"])
def test_a_set_whose_images_are_all_alike_is_refused(tmp_path, kind, rng):
    copy = noise(rng)
    for name in ("a", "b"):
        for number in range(5):
            pixels = {
                "black": np.zeros((SIDE, SIDE, 3), np.uint8),
                "hidden": np.dstack([noise(rng), np.zeros((SIDE, SIDE), np.uint8)]),  # fully transparent
                "copies": copy,
            }[kind]
            save(tmp_path / "set" / name / f"{number}.png", pixels)
    with pytest.raises(TuneappError, match=r"must differ, but all 10 training images of .*set are alike"):
        imported(tmp_path / "set")


def test_arrays_that_are_all_alike_are_refused(tmp_path):
    folder = arrays(tmp_path / "arrays", np.full((8, 8, 8), 7, np.uint8), np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(TuneappError, match=r"all 8 training images of .*arrays are alike"):
        imported(folder)


def test_next_to_no_contrast_is_told(tmp_path, rng):
    folder = tmp_path / "dark"
    for name in ("a", "b"):
        for number in range(6):
            save(folder / name / f"{number}.png", noise(rng, 10))
    assert "lie between 0 and 9 of 0 to 255" in note_with("contrast", imported(folder))


def test_a_class_of_one_image_is_refused_by_its_name(pets, rng):
    save(pets / "only" / "0.png", noise(rng))
    with pytest.raises(
        UsageError, match="two different images or more, but there is only 1 of class only; add images"
    ):
        imported(pets)


def test_a_class_of_copies_of_one_image_is_refused_too(pets, rng):
    pixels = noise(rng)
    for number in range(5):
        save(pets / "newt" / f"{number}.png", pixels)
    with pytest.raises(UsageError, match="two different images or more, but there is only 1 of class newt"):
        imported(pets)


def test_small_classes_are_told_by_name_and_count(pets, rng):
    for number in range(3):
        save(pets / "newt" / f"{number}.png", noise(rng))
    assert note_with("fewer than", imported(pets)) == (
        "1 class has fewer than 5 training images: newt (2). Training needs two or more of every class."
    )


def test_a_class_that_the_test_set_lacks_is_told(pets, rng):
    whole = parts(pets, rng)
    shutil.rmtree(whole / "test" / "dog")
    assert note_with("no image of", imported(whole)) == "The test set has no image of dog."


def test_cut_files_are_named_and_counted(pets):
    content = (pets / "cat" / "0.png").read_bytes()
    (pets / "cat" / "cut.png").write_bytes(content[:300])
    (pets / "dog" / "empty.jpg").touch()
    (pets / "dog" / "labels.txt").write_text("dogs")
    note = note_with("can't be read", imported(pets))
    assert note.startswith("Left out: 3 of 23 files can't be read as images: cat/cut.png (")
    assert "dog/empty.jpg (none of BMP" in note


def test_files_with_several_frames_are_told(pets, rng):
    frames = [Image.fromarray(noise(rng)) for _ in range(3)]
    frames[0].save(pets / "cat" / "film.gif", save_all=True, append_images=frames[1:])
    frames[0].save(pets / "cat" / "pages.tiff", save_all=True, append_images=frames[1:])
    assert note_with("frames", imported(pets)) == "2 of 22 files hold several frames: the first was taken."


def test_tiny_images_that_are_enlarged_are_told(pets, rng):
    save(pets / "cat" / "tiny.png", noise(rng)[:2, :2])
    assert note_with("enlarged", imported(pets, 16)).startswith("1 of 21 images are less than 8 pixels")


def test_files_and_folders_that_belong_to_no_class_are_told(pets, rng):
    save(pets / "stray.png", noise(rng))
    assert note_with("no class's folder", imported(pets)) == (
        "Left out: 1 file in no class's folder (stray.png)."
    )
    whole = parts(pets, rng)
    save(whole / "extra" / "x.png", noise(rng))
    save(whole / "Training" / "cat" / "x.png", noise(rng))
    (whole / "train" / "labels.csv").write_text("0")
    outcome = imported(whole)
    assert len(outcome.images.train_labels) == 20
    assert "Left out beside " in note_with("beside", outcome)
    assert "extra" in note_with("beside", outcome)
    assert "train/labels.csv" in note_with("no class's folder", outcome) or "train/stray" in str(
        outcome.notes
    )


def test_a_test_folder_without_a_train_folder_is_a_class_and_told(pets, rng):
    for number in range(5):
        save(pets / "test" / f"{number}.png", noise(rng))
    outcome = imported(pets)
    assert outcome.images.classes == ["cat", "dog", "test"]
    assert "test/ was taken for a class: there is no train/." in outcome.notes


def test_the_only_folder_in_a_folder_is_read_and_told(tmp_path, pets):
    shutil.copytree(pets, tmp_path / "outer" / "inner")
    (tmp_path / "outer" / "labels.csv").write_text("0")
    assert note_with("only folder", imported(tmp_path / "outer")) == (
        "Read from inner/, the only folder there. Left out beside it: labels.csv."
    )


def test_folders_inside_a_class_count_to_it_and_are_told(pets, rng):
    for number in range(3):
        save(pets / "cat" / "more" / f"{number}.png", noise(rng))
    outcome = imported(pets)
    assert len(outcome.images.train_labels) + len(outcome.images.test_labels) == 23
    assert "count to that class (cat/more)" in note_with("inside", outcome)


def linked(pets: Path, kind: str) -> Path:
    """The same images behind links to the classes, to a folder in each class, or to each file."""
    folder = pets.parent / kind
    for name in ("cat", "dog"):
        if kind == "classes":
            folder.mkdir(exist_ok=True)
            (folder / name).symlink_to(pets / name)
        elif kind == "inner":
            (folder / name).mkdir(parents=True)
            (folder / name / "part").symlink_to(pets / name)
        else:
            (folder / name).mkdir(parents=True)
            for path in sorted((pets / name).iterdir()):
                (folder / name / path.name).symlink_to(path)
    return folder


@pytest.mark.parametrize(("kind", "count"), [("classes", 2), ("inner", 2), ("files", 20)])
def test_links_are_followed_and_told(pets, kind, count):
    plain = imported(pets).images
    outcome = imported(linked(pets, kind))
    assert outcome.images.checksum == plain.checksum
    assert note_with("Followed", outcome).startswith(f"Followed: {count} links (cat")


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../cat"])
def test_links_that_lead_back_are_left_out_and_told(pets, target):
    plain = imported(pets).images
    (pets / "cat" / "again").symlink_to(target)
    outcome = imported(pets)
    assert outcome.images.checksum == plain.checksum
    assert "1 link back to a folder already read (cat/again)" in note_with("back", outcome)


def test_a_ring_of_links_ends(tmp_path, pets, rng):
    for here, there in (("x", "y"), ("y", "x")):
        save(tmp_path / here / f"{here}.png", noise(rng))
        (tmp_path / here / "on").symlink_to(tmp_path / there)
    (pets / "cat" / "ring").symlink_to(tmp_path / "x")
    outcome = imported(pets)
    assert len(outcome.images.train_labels) + len(outcome.images.test_labels) == 22
    assert "cat/ring/on/on" in note_with("back", outcome)


def test_what_a_mac_adds_to_an_archive_is_counted(tmp_path, pets, rng):
    shutil.copytree(pets, tmp_path / "mac" / "pets")
    save(tmp_path / "mac" / "__MACOSX" / "pets" / "cat" / "x.png", noise(rng))
    archive = shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path / "mac")
    assert "1 file hidden or made by a system (__MACOSX)" in note_with("hidden", imported(Path(archive)))


def test_values_below_zero_alone_keep_their_range(tmp_path, rng):
    for name in ("a", "b"):
        for number in range(4):
            values = rng.integers(-500, 0, (SIDE, SIDE)).astype(np.int32)
            values[0, :2] = -500, 0
            save(tmp_path / "deep" / name / f"{number}.tiff", values)
    images = imported(tmp_path / "deep").images.train_images
    assert (images.min(), images.max()) == (0, 255)


def test_links_that_lead_nowhere_are_told(pets):
    (pets / "cat" / "gone.png").symlink_to(pets / "nowhere.png")
    (pets / "dog" / "gone").symlink_to(pets / "nowhere")
    assert "2 links that lead nowhere (cat/gone.png, dog/gone)" in note_with("nowhere", imported(pets))


def test_a_class_that_leads_back_to_the_whole_folder_is_refused(pets):
    (pets / "all").symlink_to(pets)
    with pytest.raises(TuneappError, match="all has none"):
        imported(pets)


def test_what_is_no_file_is_told_and_not_opened(pets):
    os.mkfifo(pets / "cat" / "pipe.png")
    assert "1 that are no files (cat/pipe.png)" in note_with("no files", imported(pets))
