"""A picture from bytes, checked and decoded in the sandbox, and fitted to the video's shape."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from farm.jobs.params import Fit
from farm.render.sandbox.images import decode_image


def open_image(source: bytes | Path) -> Image.Image:
    """The picture as RGB, upright, in sRGB, or ImageRejected saying why not (docs/IMAGES.md).

    Upright and RGB as diffusers.utils.load_image makes it: EXIF's orientation applied,
    transparency dropped. Decoded in a process of its own; raises SandboxUnavailable without one.
    """
    decoded = decode_image(source)
    return Image.frombytes("RGB", decoded.size, decoded.pixels)


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
