"""What is taken for a whole file of each kind, and what it carries."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.container.reading import Torn
from farm.container.whole import check_whole, read_comment, recognize
from farm.jobs.codec import Codec, Container, container_of
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.fake import FakeRenderer
from tests.running import IMAGES

# One codec for each kind of file.
CODECS = (Codec.H264, Codec.PRORES, Codec.FFV1, Codec.PNG)


@pytest.fixture(scope="module", params=CODECS)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec = Codec(request.param)
    path = tmp_path_factory.mktemp("video") / f"clip.{codec.container}"
    small = RenderParams(width_px=64, height_px=64, frame_count=3, step_count=1, codec=codec)
    image = (IMAGES / "rocket.jpg").read_bytes()
    FakeRenderer().render(image, resolve(small, TINY, seed=1)).write(path)
    return path


def check(content: bytes, container: Container) -> None:
    check_whole(io.BytesIO(content), len(content), container)


def test_a_whole_video_passes_as_what_it_is_alone(video: Path) -> None:
    container = recognize(video)
    assert video.suffix == f".{container}"
    for kind in Container:
        if kind is container or {kind, container} == {Container.MP4, Container.MOV}:
            check(video.read_bytes(), kind)
        else:
            with pytest.raises(Torn):
                check(video.read_bytes(), kind)


def test_a_video_cut_anywhere_is_refused(video: Path) -> None:
    content, container = video.read_bytes(), recognize(video)
    for length in (*range(len(content) - 1, 0, -97), *range(100)):
        with pytest.raises(Torn):
            check(content[:length], container)


def test_a_video_with_something_behind_it_is_refused(video: Path) -> None:
    with pytest.raises(Torn):
        check(video.read_bytes() + b"behind it", recognize(video))


def test_a_video_is_recognized_whatever_it_is_called(video: Path, tmp_path: Path) -> None:
    other = tmp_path / "clip.txt"
    other.write_bytes(video.read_bytes())
    assert recognize(other) is recognize(video)
    assert read_comment(other) == read_comment(video)


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\0" * 100])
def test_what_is_no_video_is_not_recognized(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(Torn, match="as none of mp4, mov, mkv, zip"):
        recognize(path)


def test_every_kind_is_found_by_its_media_type() -> None:
    assert [container_of(kind.media_type) for kind in Container] == list(Container)
    with pytest.raises(ValueError, match="'video/webm' is none of video/mp4"):
        container_of("video/webm")


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def large_box(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    length = 16 + len(content) if length is None else length
    return struct.pack(">I4sQ", 1, kind, length) + content


def test_a_box_may_have_a_large_size() -> None:
    check(box(b"ftyp") + box(b"moov") + large_box(b"mdat", b"frames"), Container.MP4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, this is text and no video at all",
        box(b"ftyp") + box(b"moov"),
        box(b"moov") + box(b"mdat") + box(b"ftyp"),
        box(b"ftyp") + box(b"moov") + struct.pack(">I4s", 0, b"mdat") + b"to the end",
        box(b"ftyp") + box(b"moov") + large_box(b"mdat", b"x", length=15),
        box(b"ftyp") + box(b"moov") + large_box(b"mdat", b"x", length=2**63),
        box(b"ftyp") + box(b"moov") + box(b"mdat") + b"\0\0\0\1mdat",
    ],
)
def test_boxes_that_are_no_whole_mp4_are_refused(content: bytes) -> None:
    with pytest.raises(Torn):
        check(content, Container.MP4)


EBML = b"\x1a\x45\xdf\xa3\x81x"
SEGMENT = b"\x18\x53\x80\x67"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        EBML,
        SEGMENT + b"\x81x",
        EBML + SEGMENT + b"\xff" + b"of a size that was never written",
        EBML + SEGMENT + b"\xff" + b"x" * 127,  # which it would be, were it a number
        EBML + SEGMENT + b"\x01" + b"\xff" * 7 + b"the same, in eight bytes",
        EBML + SEGMENT + b"\x82x",
        EBML + SEGMENT + b"\x81x" + SEGMENT + b"\x81x",
        EBML + SEGMENT,
        b"\0" * 20,
    ],
)
def test_elements_that_are_no_whole_matroska_file_are_refused(content: bytes) -> None:
    check(EBML + SEGMENT + b"\x81x", Container.MKV)
    with pytest.raises(Torn):
        check(content, Container.MKV)


def test_a_zip_that_lost_a_part_of_its_directory_is_refused() -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("00000.png", b"picture")
        archive.writestr("receipt.json", b"{}")
    content = written.getvalue()
    check(content, Container.ZIP)
    with pytest.raises(Torn, match="lacks its directory"):
        check(content[:-40] + content[-22:], Container.ZIP)


def test_a_zip_without_a_receipt_or_that_is_broken_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("00000.png", b"picture")
    assert read_comment(path) is None

    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Torn, match="cannot be read"):
        read_comment(path)


def zip_of(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("receipt.json", content)
    return bytearray(path.read_bytes())


def encrypted(archive: bytearray) -> None:
    for sign, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        archive[archive.index(sign) + flags] |= 1


def damaged(archive: bytearray) -> None:
    archive[30 + len("receipt.json")] = 0xFF  # the first byte that is deflated


@pytest.mark.parametrize(
    ("content", "method", "change", "told"),
    [
        (bytes(1 << 24), zipfile.ZIP_DEFLATED, None, "16777216 bytes; allowed: 1048576"),
        (b"{}", zipfile.ZIP_DEFLATED, encrypted, "'receipt.json' is encrypted"),
        (b"{}" * 99, zipfile.ZIP_DEFLATED, damaged, "Error -3 while decompressing"),
        (b"{}", zipfile.ZIP_LZMA, None, "neither stored nor deflated"),
    ],
)
def test_a_receipt_in_a_zip_that_nobody_can_read_is_told(
    tmp_path: Path,
    content: bytes,
    method: int,
    change: Callable[[bytearray], None] | None,
    told: str,
) -> None:
    path = tmp_path / "clip.zip"
    archive = zip_of(path, content, method)
    if change is not None:
        change(archive)
    path.write_bytes(archive)
    with pytest.raises(Torn, match=told):
        read_comment(path)


def boxed(*kinds: bytes, content: bytes) -> bytes:
    for kind in reversed(kinds):
        content = struct.pack(">I4s", 8 + len(content), kind) + content
    return content


def test_a_comment_longer_than_any_receipt_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    start = boxed(b"ftyp", content=b"qt  ")
    long = bytes((1 << 20) + 5)
    path.write_bytes(start + boxed(b"moov", b"udta", b"\xa9cmt", content=long))
    with pytest.raises(Torn, match="1048577 bytes; a receipt has at most 1048576"):
        read_comment(path)
    path.write_bytes(start + boxed(b"moov", b"udta", b"\xa9cmt", content=b"") + b"behind it")
    assert read_comment(path) == b""
