"""One image from its bytes, with Pillow: upright, RGB, in sRGB. For the sandbox's processes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

from PIL import (
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from farm.container.image import ImageKind
from farm.render.sandbox.png_rows import check_rows

# Sizes are checked before, by the header.
Image.MAX_IMAGE_PIXELS = None

_OPEN: dict[ImageKind, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    # Not Image.open: it tries more, and makes a list of images of a phone's photograph.
    ImageKind.JPEG: JpegImagePlugin.JpegImageFile,
    ImageKind.PNG: PngImagePlugin.PngImageFile,
    ImageKind.WEBP: WebPImagePlugin.WebPImageFile,
}
_ORIENTATION = 0x0112
_EXIF_READER = TiffImagePlugin  # Pillow imports it late, where no file can be opened any more
# As PIL.ImageOps.exif_transpose, which writes the EXIF anew and fails where that is broken.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_QUALITY = 82
_CONVERTED = ("RGB", "L", "CMYK")  # the modes that a colour profile can be of


def decode(data: bytes, kind: ImageKind) -> Image.Image:
    """The picture. Raises what Pillow raises, which may be anything.

    Equal to diffusers.utils.load_image: EXIF's orientation applied, transparency dropped. Except
    that 16-bit grey is narrowed to 8 bits, not cut off, and that a colour profile is applied. What
    cannot be read of EXIF and profiles is ignored, as browsers do.
    """
    if kind is ImageKind.PNG:
        check_rows(data)
    file = _OPEN[kind](io.BytesIO(data))
    file.load()
    profile = file.info.get("icc_profile")
    method = _UPRIGHT.get(_orientation(file))
    image = _rgb(file.copy() if file.mode == "RGB" else file, profile)
    del file  # its decoder may hold the picture several times
    return image if method is None else image.transpose(method)


def thumbnail(image: Image.Image, side_px: int) -> bytes:
    """A small one, as a JPEG; of one that is small already, its own size."""
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    # Pillow would take over what the upload's maker wrote beside the picture.
    image.save(file, "JPEG", quality=_QUALITY, progressive=True, comment=b"")
    return file.getvalue()


def warm_up() -> None:
    """Decodes one image of each kind: what Pillow loads late is loaded then."""
    profile = _SRGB.tobytes()
    for kind, mode in zip(ImageKind, ("CMYK", "I;16", "RGB"), strict=True):
        file = io.BytesIO()
        Image.new(mode, (8, 8)).save(file, kind, icc_profile=profile, exif=bytes(Image.Exif()))
        thumbnail(decode(file.getvalue(), kind), 4)


def _orientation(file: ImageFile.ImageFile) -> int:
    with contextlib.suppress(Exception):  # Pillow's reader of EXIF raises anything
        return int(file.getexif().get(_ORIENTATION, 1))
    return 1


def _rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey cuts everything above 255 to white.
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    elif image.mode in ("1", "LA"):
        image = image.convert("L")
    elif image.mode not in _CONVERTED:
        image = image.convert("RGB")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            return _to_srgb(image, profile)
    return image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """`image` with its colours in sRGB. Raises ImageCms.PyCMSError where they do not fit."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" in ImageCms.getProfileDescription(opened).lower():
        return image.convert("RGB")  # as it is: most photographs
    converted = ImageCms.profileToProfile(image, opened, _SRGB, outputMode="RGB")
    assert converted is not None  # it is not done in place
    return converted
