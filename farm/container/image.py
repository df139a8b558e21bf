"""JPEG, PNG and WebP by their structure: is a file one still image, and nothing else besides?

Nothing here decodes a pixel. The time is linear in the file's size, whatever is in it, and the
parts (segments, chunks, boxes) are counted over the whole file.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from farm.container import jpeg, png, webp
from farm.container.parts import Parts, Size
from farm.container.reading import Torn

MAX_IMAGE_BYTES = 16 * 2**20
MAX_IMAGE_PIXELS = 33_000_000
MAX_SIDE_PX = 8192


class ImageKind(enum.StrEnum):
    """The formats that the farm takes."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself: its format, and its size before it is turned upright."""

    kind: ImageKind
    size: Size


class UnknownImage(Torn):
    """Not a JPEG, PNG or WebP by its first bytes."""


class ImageTooLarge(Torn):
    """More bytes, or more pixels, than the farm takes."""


def read_header(data: bytes) -> ImageHeader:
    """The header of a file whose structure is whole. Raises Torn, whose message says how not."""
    if not data:
        raise Torn("is empty (0 bytes); give a JPEG, PNG or WebP")
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageTooLarge(_too_big(f"{len(data):,} bytes", f"{MAX_IMAGE_BYTES:,} bytes (16 MiB)"))
    parts = Parts()
    match kind := recognize_image(data):
        case ImageKind.JPEG:
            size = jpeg.read_size(data, parts)
        case ImageKind.PNG:
            size = png.read_size(data, parts)
        case ImageKind.WEBP:
            size = webp.read_size(data, parts)
    _check_size(size)
    return ImageHeader(kind, size)


def recognize_image(data: bytes) -> ImageKind:
    """The format by the first bytes. Raises UnknownImage."""
    if data.startswith(jpeg.SIGN):
        return ImageKind.JPEG
    if data.startswith(png.SIGN):
        return ImageKind.PNG
    if data.startswith(webp.RIFF) and data[8:12] == webp.SIGN:
        return ImageKind.WEBP
    raise UnknownImage(
        f"({len(data):,} bytes, starting {data[:8]!r}) is not a JPEG, PNG or WebP. "
        "Convert it to one of these"
    )


def _check_size(size: Size) -> None:
    width, height = size
    if min(size) < 1:
        raise Torn(f"says that it is {width}x{height} px; allowed: from 1x1. Save it again")
    if max(size) > MAX_SIDE_PX:
        raise ImageTooLarge(_too_big(f"{width}x{height} px", f"{MAX_SIDE_PX} px a side"))
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageTooLarge(_too_big(f"{width}x{height} px", f"{MAX_IMAGE_PIXELS:,} pixels"))


def _too_big(given: str, allowed: str) -> str:
    return f"is too large: {given}; allowed: up to {allowed}. Make it smaller"
