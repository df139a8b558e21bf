"""What the gateway takes for a whole MP4."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from farm.gateway.mp4 import Mp4Torn, check_mp4
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.fake import FakeRenderer
from tests.running import IMAGES


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    small = RenderParams(width_px=64, height_px=64, frame_count=3, step_count=1)
    image = (IMAGES / "rocket.jpg").read_bytes()
    FakeRenderer().render(image, resolve(small, TINY, seed=1)).write(path)
    return path.read_bytes()


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def large_box(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    length = 16 + len(content) if length is None else length
    return struct.pack(">I4sQ", 1, kind, length) + content


def test_a_whole_video_passes(tmp_path: Path, video: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(video)
    check_mp4(path)
    path.write_bytes(box(b"ftyp") + box(b"moov") + large_box(b"mdat", b"frames"))
    check_mp4(path)


def test_a_video_cut_anywhere_is_refused(tmp_path: Path, video: bytes) -> None:
    path = tmp_path / "clip.mp4"
    for length in range(len(video) - 1, -1, -7):
        path.write_bytes(video[:length])
        with pytest.raises(Mp4Torn):
            check_mp4(path)


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
        bytes(100),
    ],
)
def test_what_is_no_whole_mp4_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(Mp4Torn):
        check_mp4(path)
