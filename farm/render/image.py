"""A picture from bytes, checked before it is decoded, and fitted to the video's shape."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from farm.jobs.params import Fit
from farm.render.errors import ImageRejected

FORMATS = ("JPEG", "PNG", "WEBP")

MAX_IMAGE_BYTES = 16 * 2**20
MAX_IMAGE_PIXELS = 33_000_000
MAX_SIDE_PX = 8192


def open_image(source: bytes | Path) -> Image.Image:
    """The picture as RGB, upright, or ImageRejected saying why not.

    Upright and RGB as diffusers.utils.load_image makes it: EXIF's orientation applied,
    transparency dropped; a 16-bit PNG is narrowed to 8 bits, not cut off. Only JPEG, PNG and WebP
    are decoded, and sizes are checked from the header, before a pixel is. Of an animation, the
    first frame.
    """
    data = _read(source) if isinstance(source, Path) else source
    if not data:
        raise ImageRejected("The image is empty (0 bytes); give a JPEG, PNG or WebP.")
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageRejected(_too_big(f"{len(data):,} bytes", f"{MAX_IMAGE_BYTES:,} bytes (16 MiB)"))
    try:
        with warnings.catch_warnings():
            # Pillow only warns about a decompression bomb; our own caps follow.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image)
        image.load()
        return _rgb(ImageOps.exif_transpose(image))
    except ImageRejected:
        raise
    except UnidentifiedImageError as error:
        raise ImageRejected(
            f"The image ({len(data):,} bytes, starting {data[:8]!r}) is not a JPEG, PNG or WebP. "
            "Convert it to one of these."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageRejected(_too_big("far too many pixels", f"{MAX_IMAGE_PIXELS:,}")) from error
    except Exception as error:  # Pillow's decoders raise anything on broken files
        raise ImageRejected(f"The image cannot be decoded: {error}. Save it again.") from error


def fit_image(image: Image.Image, width_px: int, height_px: int, fit: Fit) -> Image.Image:
    """`image` at exactly width_px x height_px; one that has that size already comes back equal."""
    size = (width_px, height_px)
    match fit:
        case Fit.STRETCH:
            # The guide's own line; its filter is Pillow's default, bicubic.
            return image.resize(size)
        case Fit.CROP:
            return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        case Fit.PAD:
            return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=(0, 0, 0))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte over the cap is enough to see that there are too many.
            return file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise ImageRejected(f"{path} cannot be read: {error.strerror or error}.") from error


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if max(width, height) > MAX_SIDE_PX:
        raise ImageRejected(_too_big(f"{width}x{height} px", f"{MAX_SIDE_PX} px a side"))
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageRejected(_too_big(f"{width}x{height} px", f"{MAX_IMAGE_PIXELS:,} pixels"))


def _too_big(given: str, allowed: str) -> str:
    return f"The image is too large: {given}; allowed: up to {allowed}. Make it smaller."


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey cuts everything above 255 to white.
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    return image.convert("RGB")
