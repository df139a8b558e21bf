from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffusers.utils import load_image
from PIL import Image

from farm.container.image import MAX_IMAGE_BYTES, read_header
from farm.container.reading import Torn
from farm.jobs.params import Fit
from farm.render.errors import ImageRejected
from farm.render.image import fit_image, open_image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def same(left: Image.Image, right: Image.Image) -> bool:
    return left.size == right.size and np.array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("PNG", mode) for mode in ("RGB", "L", "RGBA", "LA", "P", "1")),
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_pictures_open_as_diffusers_opens_them(
    picture: Image.Image, tmp_path: Path, kind: str, mode: str
) -> None:
    image = picture.convert(mode)
    if mode == "RGBA":
        image.putalpha(120)
    path = tmp_path / "image"
    path.write_bytes(saved(image, kind))

    opened = open_image(path)

    assert opened.mode == "RGB"
    assert same(opened, load_image(str(path)))
    assert same(opened, open_image(path.read_bytes()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_taken_sideways_stands_upright(
    picture: Image.Image, tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.jpg"
    path.write_bytes(saved(picture, "JPEG", exif=exif))

    opened = open_image(path)

    assert opened.size == ((200, 300) if orientation > 4 else (300, 200))
    assert same(opened, load_image(str(path)))


def test_a_16_bit_picture_is_narrowed_not_cut_off() -> None:
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)

    opened = np.asarray(open_image(saved(Image.fromarray(grey), "PNG")))

    assert np.abs(opened[:, :, 0].astype(int) - (grey // 256)).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_refused(picture: Image.Image, kind: str) -> None:
    with pytest.raises(ImageRejected, match="is not a JPEG, PNG or WebP"):
        open_image(saved(picture, kind))


@pytest.mark.parametrize("data", [b"\x00" * 64, b"<svg/>", b"%!PS-Adobe", b"hello"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageRejected, match="is not a JPEG, PNG or WebP"):
        open_image(data)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ImageRejected, match="empty"):
        open_image(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_file_cut_short_is_refused(picture: Image.Image, kind: str, part: float) -> None:
    data = saved(picture, kind)

    with pytest.raises(ImageRejected):
        open_image(data[: int(len(data) * part)])


def test_every_damaged_byte_gives_a_picture_or_a_refusal(picture: Image.Image) -> None:
    data = saved(picture.resize((40, 30)), "PNG")
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        try:
            open_image(bytes(damaged))
        except ImageRejected:
            continue


@pytest.mark.parametrize(
    ("width", "height", "allowed"),
    [
        (8193, 10, "8192 px a side"),
        (10, 8193, "8192 px a side"),
        (8000, 8000, "33,000,000 pixels"),
        (60_000, 60_000, "33,000,000|8192"),
        (20_000, 20_000, "33,000,000|8192"),
    ],
)
def test_too_large_a_picture_is_refused_before_it_is_decoded(
    width: int, height: int, allowed: str
) -> None:
    # There are no pixels in it: decoding would fail with another message.
    with pytest.raises(ImageRejected, match=allowed):
        open_image(png_header(width, height))


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"\x00" * (MAX_IMAGE_BYTES + 1))

    with pytest.raises(ImageRejected, match="16 MiB"):
        open_image(path)
    with pytest.raises(ImageRejected, match="16 MiB"):
        open_image(path.read_bytes())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageRejected, match=r"nowhere.png cannot be read: No such file"):
        open_image(tmp_path / "nowhere.png")


def test_stretch_is_the_guides_resize(picture: Image.Image) -> None:
    assert same(fit_image(picture, 128, 72, Fit.STRETCH), picture.resize((128, 72)))


def test_crop_covers_and_cuts_the_middle() -> None:
    # Thirds: red, green, blue. A square out of the middle is green.
    stripes = np.zeros((100, 300, 3), np.uint8)
    for third in range(3):
        stripes[:, third * 100 : third * 100 + 100, third] = 255

    cropped = np.asarray(fit_image(Image.fromarray(stripes), 64, 64, Fit.CROP))

    assert (cropped[:, 4:-4] == (0, 255, 0)).all()


def test_pad_keeps_everything_between_black_bars() -> None:
    white = Image.new("RGB", (300, 100), "white")

    padded = np.asarray(fit_image(white, 96, 96, Fit.PAD))

    assert (padded[32:64] == 255).all()
    assert (padded[:32] == 0).all()
    assert (padded[64:] == 0).all()


@pytest.mark.parametrize("fit", Fit)
def test_a_picture_of_the_right_size_is_left_alone(picture: Image.Image, fit: Fit) -> None:
    assert same(fit_image(picture, *picture.size, fit), picture)


@pytest.mark.parametrize(
    ("check", "refusal", "count"), [(read_header, Torn, 20_000), (open_image, ImageRejected, 1_000)]
)
def test_broken_bytes_are_rejected_or_opened_and_nothing_else(
    check: Callable[[bytes], object], refusal: type[Exception], count: int
) -> None:
    image = Image.effect_noise((40, 30), 50).convert("RGB")
    exif = Image.Exif()
    # Pillow's reader of EXIF has troubles of its own: orientation, texts, a fraction.
    exif.update({0x0112: 6, 0x010E: "a description", 0x011A: 72.0, 0x0132: "2026:01:01"})
    whole = [saved(image, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP")]
    chance = random.Random(0)
    for _ in range(count):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(min(len(data), 160))] = chance.randrange(256)
        try:
            check(bytes(data))
        except refusal:
            continue
