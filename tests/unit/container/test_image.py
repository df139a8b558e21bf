"""What a file's structure must be for the farm to decode it, and what phones may put behind it."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from farm.container.image import ImageTooLarge, UnknownImage, read_header
from farm.container.reading import Torn
from tests.running import IMAGES

GREY = Image.effect_noise((60, 40), 40)


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    GREY.convert("RGB").save(file, kind, **options)
    return file.getvalue()


def several(kind: str) -> bytes:
    return saved(kind, save_all=True, append_images=[Image.new("RGB", GREY.size, "red")])


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def samsung(block: bytes = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1700000000000") -> bytes:
    directory = b"SEFH" + struct.pack("<IIHHII", 107, 1, 0, 0x0A01, len(block), len(block))
    return block + directory + struct.pack("<I", len(directory)) + b"SEFT"


VIDEO = box(b"ftyp", b"mp42\0\0\0\0") + box(b"moov", bytes(90)) + box(b"mdat", bytes(900))
JPEG, PNG = saved("JPEG"), saved("PNG")


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.[jp]*g")), ids=lambda path: path.name)
def test_real_images_are_whole(path: Path) -> None:
    with Image.open(path) as image:
        assert read_header(path.read_bytes()).size == image.size


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 1}),
        ("JPEG", {"comment": b"\xff\xd9" * 100}),
        ("PNG", {"interlace": 1}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0odd"}),
    ],
)
def test_every_way_to_save_is_whole(kind: str, options: dict[str, object]) -> None:
    header = read_header(saved(kind, **options))

    assert (header.kind, header.size) == (kind, (60, 40))


@pytest.mark.parametrize(
    "behind",
    [bytes(5000), VIDEO, samsung(), samsung(VIDEO), bytes(3) + VIDEO],
    ids=["zeros", "motion photo", "samsung", "samsung's motion photo", "zeros and video"],
)
def test_what_phones_put_behind_a_photograph_is_let_through(behind: bytes) -> None:
    assert read_header(JPEG + behind).size == (60, 40)


def test_a_gain_map_is_let_through_where_it_is_announced() -> None:
    announced = several("MPO")

    assert read_header(announced).size == (60, 40)
    assert read_header(announced + samsung()).size == (60, 40)
    assert read_header(announced + VIDEO).size == (60, 40)
    with pytest.raises(Torn, match=f"has {len(JPEG):,} bytes behind its end"):
        read_header(announced + JPEG)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (JPEG + JPEG, "bytes behind its end"),
        (JPEG + b"PK\3\4", "has 4 bytes behind its end, starting b'PK"),
        (JPEG + b"<html>", "behind its end"),
        (JPEG + VIDEO[:-1], "behind its end"),
        (JPEG + VIDEO + b"PK", "behind its end"),
        (JPEG + b"PK" + samsung(), "behind its end"),
        (JPEG + samsung()[:-2], "behind its end"),
        (PNG + b"\0", "has 1 bytes behind its end"),
        (PNG + b"PK\3\4", "behind its end"),
        (saved("WEBP") + b"PK\3\4", "behind its end"),
        (several("PNG"), "animated"),
        (several("WEBP"), "animated"),
        (JPEG[:-2], "cut short"),
        (PNG[:-12], "cut short"),
        (saved("WEBP")[:-2], "cut short"),
        (PNG[:40] + b"?" + PNG[41:], "checksum"),
        (JPEG.replace(b"\xff\xc0", b"\xff\xfe"), "no header"),
    ],
)
def test_what_is_not_one_whole_image_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(Torn, match=said):
        read_header(data)


def test_other_files_and_too_large_ones_are_told_apart() -> None:
    with pytest.raises(UnknownImage, match="starting b'GIF89a"):
        read_header(b"GIF89a" + bytes(100))
    with pytest.raises(ImageTooLarge, match="16 MiB"):
        read_header(bytes(2**24 + 1))


def scans(count: int) -> bytes:
    head, _, scan = JPEG.partition(b"\xff\xda")
    return head + (b"\xff\xda" + scan.removesuffix(b"\xff\xd9")) * count + b"\xff\xd9"


def filled(head: bytes, part: bytes, tail: bytes = b"") -> bytes:
    return head + part * ((2**24 - len(head) - len(tail)) // len(part)) + tail


MPF = several("MPO")
MANY = MPF.replace(b"\1\xb0\4\0\1\0\0\0\2\0\0\0", b"\1\xb0\4\0\1\0\0\0\xff\xff\xff\0")
LONGEST: dict[str, Callable[[], bytes]] = {
    "jpegs behind a jpeg": lambda: filled(MANY, JPEG),
    "starts behind a jpeg": lambda: filled(MANY, JPEG[:2] + JPEG),
    "comments": lambda: filled(JPEG[:2], b"\xff\xfe\0\2"),
    "fill bytes": lambda: filled(JPEG[:2], b"\xff"),
    "stuffed bytes": lambda: filled(JPEG[:-2], b"\xff\0", b"\xff\xd9"),
    "restarts": lambda: filled(JPEG[:-2], b"\xff\xd0", b"\xff\xd9"),
    "boxes": lambda: filled(JPEG + box(b"ftyp"), box(b"free")),
    "zeros": lambda: filled(JPEG, b"\0"),
    "chunks": lambda: filled(PNG[:33], struct.pack(">I4sI", 0, b"teXt", 0x9A7CF51F)),
    "one chunk": lambda: filled(PNG[:33], struct.pack(">I4s", 2**24, b"teXt")),
    "riff": lambda: filled(b"RIFF\xf8\xff\xff\0WEBP", b"ODD \0\0\0\0"),
}


@pytest.mark.parametrize("made", LONGEST.values(), ids=LONGEST)
def test_the_longest_file_is_read_in_a_moment(made: Callable[[], bytes]) -> None:
    data = made()
    started = time.process_time()
    with contextlib.suppress(Torn):
        read_header(data)
    assert time.process_time() - started < 1


def test_images_behind_an_image_are_counted_over_the_whole_file() -> None:
    assert MANY != MPF
    with pytest.raises(Torn, match="more than 10,000 parts"):
        read_header(filled(MANY, JPEG))


def test_scans_are_counted() -> None:
    assert read_header(scans(100)).size == (60, 40)
    with pytest.raises(Torn, match="more than 100 scans"):
        read_header(scans(101))


def test_every_cut_is_refused() -> None:
    chance = random.Random(0)
    for data in (JPEG, MPF, PNG, saved("WEBP"), JPEG + samsung(), JPEG + VIDEO):
        for end in {chance.randrange(len(data)) for _ in range(300)}:
            if end in (len(JPEG), len(MPF)) or data[end:].strip(b"\0") == b"":
                continue
            with pytest.raises(Torn):
                read_header(data[:end])
