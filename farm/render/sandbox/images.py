"""Images from bytes or files: read, checked and decoded, without Pillow in this process."""

from __future__ import annotations

from pathlib import Path

from farm.container.image import MAX_IMAGE_BYTES, ImageHeader, read_header
from farm.container.parts import Size
from farm.container.reading import Torn
from farm.render.errors import ImageRejected
from farm.render.sandbox.pool import POOL, Cancellation, Decoded


def measure_image(source: bytes | Path, cancellation: Cancellation | None = None) -> Size:
    """Width and height, upright, of an image that can be decoded to its last pixel.

    Blocks. Raises ImageRejected, SandboxUnavailable, DecodeCancelled.
    """
    return _decode(source, pixels=False, cancellation=cancellation).size


def decode_image(source: bytes | Path) -> Decoded:
    """The same with its pixels: RGB, upright, in sRGB."""
    return _decode(source, pixels=True)


def make_thumbnail(data: bytes, side_px: int) -> bytes:
    """A JPEG of an image, no wider and no higher than `side_px`. Blocks, and raises alike."""
    return POOL.thumbnail(data, _header(data), side_px)


def _decode(
    source: bytes | Path, *, pixels: bool, cancellation: Cancellation | None = None
) -> Decoded:
    data = _read(source) if isinstance(source, Path) else source
    return POOL.decode(data, _header(data), pixels=pixels, cancellation=cancellation)


def _header(data: bytes) -> ImageHeader:
    try:
        return read_header(data)
    except Torn as error:
        raise ImageRejected(f"The image {error}.") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte over the cap is enough to see that there are too many.
            return file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise ImageRejected(f"{path} cannot be read: {error.strerror or error}.") from error
