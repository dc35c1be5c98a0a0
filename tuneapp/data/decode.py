"""Image files as uint8 arrays: upright, of one size, on one ground, and 16 bits scaled to 8."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from tuneapp.data.image_sets import SIZES, Images
from tuneapp.errors import UsageError

ShowProgress = Callable[[int, int], None]  # images done, images in all

# Not all that Pillow knows: its EPS reader, for one, runs Ghostscript on the file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GREY = ("1", "L", "LA")
COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")  # grey of more than 8 bits
TRANSPARENT = ("LA", "PA", "RGBA")
# Of RGB;16B (big-endian) Pillow keeps the first byte of each value; read as RGB;16L, it keeps the second.
OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
EIGHT_BITS = (0.0, 255.0)
ORIENTATION = 0x0112  # in EXIF
ON_ITS_SIDE = (5, 6, 7, 8)
GROUNDS = {255: "white", 0: "black", 128: "grey"}  # for transparent parts, in order of preference
LEAST_CONTRAST = 32  # of 255: what ink must differ from its ground, on average over an image's opaque parts


@dataclass(frozen=True)
class Decoding:
    """How all images of a set became uint8, and how those become it that a model is shown later."""

    ground: int | None = None  # grey level under transparent parts; None: nothing was transparent
    low: float | None = None  # the values that became 0 and 255; None: all images had 8 bits
    high: float | None = None

    @property
    def value_range(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    def record(self) -> dict[str, float]:
        """What meta.json and exported models keep. Empty where there is nothing to know."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        return cls(record.get("ground"), record.get("low"), record.get("high"))


class Header(NamedTuple):
    height: int  # as seen upright
    width: int
    mode: str
    deep: bool = False  # more than 8 bits per channel
    low: float = 0.0  # the extreme values of a deep image
    high: float = 255.0
    several: bool = False  # frames or pages
    cut: bool = False  # of 16 bits per channel only the upper 8 can be read


@dataclass(frozen=True)
class Decoded:
    images: Images  # [N, H, W, C]; undefined where `reasons` has the file
    reasons: dict[Path, str]  # why a file can't be read
    decoding: Decoding
    notes: list[str]


def decode_files(paths: list[Path], size: int | None, progress: ShowProgress | None = None) -> Decoded:
    """Read all files, at `size` pixels per side (Lanczos); None: they must be of one size already.

    The images are grey where all files are. Raises UsageError where a size is needed.
    """
    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes outside the GIL
        headers = list(pool.map(_header, paths))
        good = [header for header in headers if isinstance(header, Header)]
        height, width = (size, size) if size else _one_size(good)
        channels = 1 if all(header.mode in (*GREY, *DEEP) for header in good) else 3
        decoded_range = _value_range([header for header in good if header.deep])
        value_range = decoded_range or EIGHT_BITS
        images = np.empty((len(paths), height, width, channels), dtype=np.uint8)
        reasons: dict[Path, str] = {}
        opacities: dict[int, NDArray[np.uint8]] = {}  # [H, W] of the images that have transparent parts

        def decode(at: int) -> None:
            header = headers[at]
            outcome = (
                header
                if isinstance(header, str)
                else _decode(paths[at], header, images[at], size, value_range)
            )
            if isinstance(outcome, str):
                reasons[paths[at]] = outcome
            elif outcome is not None:
                opacities[at] = outcome

        for done, _ in enumerate(pool.map(decode, range(len(paths))), 1):
            if progress:
                progress(done, len(paths))
    ground = _best_ground([(images[at], opacity) for at, opacity in opacities.items()])
    for at, opacity in opacities.items():
        _lay_on(images[at], opacity, ground or 0)
    readable = [
        header
        for path, header in zip(paths, headers, strict=True)
        if isinstance(header, Header) and path not in reasons
    ]
    # In the order of the files, not of the threads' ends.
    reasons = {path: reasons[path] for path in paths if path in reasons}
    decoding = Decoding(ground, *(decoded_range or (None, None)))
    return Decoded(images, reasons, decoding, _notes(readable, len(opacities), decoding, size))


def read_image(path: Path, size: int, channels: int, decoding: Decoding | None = None) -> Images:
    """[size, size, C]: one image as an imported set would hold it. Raises UsageError with the reason.

    Without a set's ground or range, the image gets those that it would get alone.
    """
    decoding = decoding or Decoding()
    image = np.empty((size, size, channels), dtype=np.uint8)
    header = _header(path)
    outcome: NDArray[np.uint8] | str | None
    if isinstance(header, str):
        outcome = header
    else:
        value_range = decoding.value_range or _value_range([header] if header.deep else []) or EIGHT_BITS
        outcome = _decode(path, header, image, size, value_range)
    if isinstance(outcome, str):
        raise UsageError(f"{path} must be an image, but it cannot be read as one ({outcome}).")
    if outcome is not None:
        ground = decoding.ground if decoding.ground is not None else _best_ground([(image, outcome)])
        _lay_on(image, outcome, ground or 0)
    return image


def resized(images: Images, size: int) -> Images:
    """[N, H, W, C] -> [N, size, size, C] by Lanczos. Arrays that hold no images stay as they are."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        return images
    if images.shape[1:3] == (size, size):
        return images
    grey = images.shape[3] == 1
    smaller = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    for number, pixels in enumerate(images):
        image = Image.fromarray(pixels[..., 0] if grey else pixels)
        smaller[number] = np.asarray(_fitted(image, size)).reshape(smaller.shape[1:])
    return smaller


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    # Given a path, Pillow maps a plain TIFF into memory and then turns it by its EXIF in a wrong way.
    with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
        yield image


def _header(path: Path) -> Header | str:
    """What a file says of itself, or why it is no image to us. A deep one is read for its extreme values."""
    try:
        with _opened(path) as image:
            mode = image.mode
            sixteen_bits = any(";16" in _raw_mode(tile.args) for tile in image.tile)  # gone once it is loaded
            if mode not in (*GREY, *COLOUR, *DEEP):
                return f"its pixels are {mode}, which tuneapp cannot read"
            width, height = image.size
            # Of a TIFF, Pillow gives the upright size itself.
            if image.format != "TIFF" and image.getexif().get(ORIENTATION) in ON_ITS_SIDE:
                width, height = height, width
            several = bool(getattr(image, "is_animated", False))
            deep = mode in DEEP or (mode == "RGB" and sixteen_bits)
            if not deep:
                return Header(height, width, mode, several=several, cut=sixteen_bits)
            values = _values(path, image)
            if not np.isfinite(values).all():
                return "some of its pixels are not finite numbers"
            return Header(height, width, mode, deep, float(values.min()), float(values.max()), several)
    except UnidentifiedImageError:
        return f"none of {', '.join(FORMATS)}"
    # A torn or made-up file may raise anything; the user reads it beside the file's name.
    except Exception as error:
        return str(error) or type(error).__name__


def _raw_mode(tile_args: Any) -> str:
    return str(tile_args[0] if isinstance(tile_args, tuple) and tile_args else tile_args)


def _values(path: Path, image: Image.Image) -> NDArray[np.float64]:
    """[H, W] or [H, W, 3]: all bits of a deep image, upright."""
    upper: NDArray[np.float64] = np.asarray(ImageOps.exif_transpose(image)).astype(np.float64)
    if image.mode in DEEP:
        return upper
    with _opened(path) as lower:
        lower.tile = [tile._replace(args=_other_byte(tile.args)) for tile in lower.tile]
        return upper * 256 + np.asarray(ImageOps.exif_transpose(lower)).astype(np.float64)


def _other_byte(tile_args: Any) -> Any:
    raw_mode = _raw_mode(tile_args)
    other = raw_mode[:-1] + OTHER_BYTE[raw_mode[-1]]
    return (other, *tile_args[1:]) if isinstance(tile_args, tuple) else other


def _decode(
    path: Path, header: Header, out: NDArray[np.uint8], size: int | None, value_range: tuple[float, float]
) -> NDArray[np.uint8] | str | None:
    """Fill out [H, W, C], transparent parts on black; returns the opacity [H, W] where it is not full.

    Returns the reason where the file can't be read. value_range: what becomes 0 and 255 in a deep image.
    """
    try:
        with _opened(path) as image:
            if size:
                image.draft(None, (4 * size, 4 * size))  # decodes a JPEG of 12 megapixels at a fraction
            if header.deep:
                upright = _scaled(_values(path, image), *value_range)
            else:
                upright = ImageOps.exif_transpose(image)
            if upright.mode in TRANSPARENT or "transparency" in upright.info:
                # Premultiplied: what a transparent pixel hides must not bleed into its neighbours.
                straight, premultiplied = ("LA", "La") if out.shape[2] == 1 else ("RGBA", "RGBa")
                alpha = upright.convert("RGBA").convert(straight).convert(premultiplied)
                pixels = np.asarray(_fitted(alpha, size) if size else alpha)
                out[:] = pixels[..., :-1]
                return None if pixels[..., -1].min() == 255 else pixels[..., -1].copy()
            plain = upright.convert("L" if out.shape[2] == 1 else "RGB")
            pixels = np.asarray(_fitted(plain, size) if size else plain)
            out[:] = pixels.reshape(*pixels.shape[:2], -1)  # another height or width raises
    except Exception as error:  # as above
        return str(error) or type(error).__name__
    return None


def _scaled(values: NDArray[np.float64], low: float, high: float) -> Image.Image:
    return Image.fromarray(np.rint((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8))


def _value_range(deep: list[Header]) -> tuple[float, float] | None:
    """The values that become 0 and 255 in all deep images of a set; None where there are none.

    The top is the largest value of as many bits as the set needs (255, 4095, 65535), or 1 for shares of 1.
    Sets with negative values go from their least to their largest value.
    """
    if not deep:
        return None
    low, high = min(header.low for header in deep), max(header.high for header in deep)
    if low < 0:
        return low, high if high > low else low + 1
    if high <= 1 and any(header.mode == "F" for header in deep):
        return 0.0, 1.0
    # frexp is exact: the exponent of a whole number is its number of bits.
    return 0.0, 2.0 ** max(8, int(np.frexp(np.floor(high))[1])) - 1


def _best_ground(inks: list[tuple[Images, NDArray[np.uint8]]]) -> int | None:
    """The grey level on which all drawings can be seen; white if possible. None: nothing is transparent.

    inks: (image on black [H, W, C], opacity [H, W]) each. An image without any ink is blank on every ground.
    """
    contrasts = []
    for image, opacity in inks:
        if total := int(opacity.sum()):
            alpha = opacity[..., np.newaxis].astype(np.float64)
            contrasts.append(
                [np.abs(image - alpha * (ground / 255)).max(axis=2).sum() * 255 / total for ground in GROUNDS]
            )
    if not inks:
        return None
    least = np.min(contrasts, axis=0) if contrasts else np.full(len(GROUNDS), 255.0)
    clear = [ground for ground, contrast in zip(GROUNDS, least, strict=True) if contrast >= LEAST_CONTRAST]
    return clear[0] if clear else list(GROUNDS)[int(np.argmax(least))]


def _lay_on(image: Images, opacity: NDArray[np.uint8], ground: int) -> None:
    """[H, W, C], premultiplied: add the ground where it shows through."""
    seen = np.rint((255 - opacity.astype(np.float64)) * (ground / 255))[..., np.newaxis]
    image[:] = np.minimum(image + seen, 255).astype(np.uint8)


def _fitted(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _one_size(headers: list[Header]) -> tuple[int, int]:
    """Height and width of all images, which models can take; raises UsageError otherwise."""
    sizes = Counter((header.height, header.width) for header in headers) or {(SIZES[0], SIZES[0]): 0}
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if height in SIZES and width in SIZES:
            return height, width
    small, large = (f"{width}x{height}" for height, width in (min(sizes), max(sizes)))
    extent = small if small == large else f"of {len(sizes)} sizes, from {small} to {large}"
    raise UsageError(
        f"Images must be of one size, {SIZES[0]} to {SIZES[-1]} pixels per side, but these are {extent}; "
        "pass --size 64, say, to have all resized to 64x64."
    )


def _notes(headers: list[Header], transparent: int, decoding: Decoding, size: int | None) -> list[str]:
    """What the user should know of how the files became arrays."""
    notes = []
    if decoding.ground is not None:
        why = "" if decoding.ground == 255 else ", because some of their drawings would vanish on white"
        notes.append(
            f"{transparent} of {len(headers)} images have transparent parts: they were laid on "
            f"{GROUNDS[decoding.ground]}{why}."
        )
    if deep := sum(header.deep for header in headers):
        notes.append(
            f"{deep} of {len(headers)} images have more than 8 bits per channel: values from "
            f"{decoding.low:g} to {decoding.high:g} became 0 to 255, in all of them alike."
        )
    if cut := sum(header.cut for header in headers):
        notes.append(f"{cut} of {len(headers)} images have 16 bits per channel: the upper 8 were taken.")
    if several := sum(header.several for header in headers):
        notes.append(f"{several} of {len(headers)} files hold several frames: the first was taken.")
    if size and (tiny := sum(min(header.height, header.width) < SIZES[0] for header in headers)):
        notes.append(
            f"{tiny} of {len(headers)} images are less than {SIZES[0]} pixels wide or high: they were "
            f"enlarged to {size}x{size} all the same."
        )
    return notes
