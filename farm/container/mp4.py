"""MP4 and QuickTime's MOV: boxes in boxes (ISO/IEC 14496-12; QuickTime File Format)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from farm.container.reading import Readable, Torn, read_at, read_comment_at

_NEEDED = (b"ftyp", b"moov", b"mdat")  # what it is, where its frames are, the frames
_HEADER = struct.Struct(">I4s")  # 14496-12, 4.2: size with the header, type
_LARGE = struct.Struct(">Q")  # the size, where the other one is 1
_COMMENT = b"\xa9cmt"


class Box(NamedTuple):
    """A box: its type, and from where to where its content goes."""

    kind: bytes
    start: int
    end: int


def check(file: Readable, size_bytes: int) -> None:
    """Checks that the boxes fill the file, and that none is missing. Raises Torn."""
    kinds = [box.kind for box in _boxes(file, 0, size_bytes)]
    missing = [kind.decode() for kind in _NEEDED if kind not in kinds]
    if missing or kinds[0] != _NEEDED[0]:
        lacks = ", ".join(missing) or "its start"
        raise Torn(f"the video is not a whole MP4 or MOV: it lacks {lacks}")


def comment(file: Readable, size_bytes: int) -> bytes | None:
    """What ffmpeg's `-metadata comment=` put there. Raises Torn."""
    user_data = _find(file, Box(b"", 0, size_bytes), b"moov", b"udta")
    if user_data is None:
        return None
    if found := _find(file, user_data, _COMMENT):  # MOV: length and language, then the text
        return read_comment_at(file, found.start + 4, found.end)
    meta = _find(file, user_data, b"meta")  # MP4: iTunes' way; meta is a box with a version
    if meta is None:
        return None
    data = _find(file, Box(b"", meta.start + 4, meta.end), b"ilst", _COMMENT, b"data")
    return None if data is None else read_comment_at(file, data.start + 8, data.end)


def _find(file: Readable, box: Box, *path: bytes) -> Box | None:
    """The first box that is there on the way down, by the types of the boxes around it."""
    for kind in path:
        inside = _boxes(file, box.start, box.end)
        found = next((inner for inner in inside if inner.kind == kind), None)
        if found is None:
            return None
        box = found
    return box


def _boxes(file: Readable, start: int, end: int) -> Iterator[Box]:
    """The boxes that fill these bytes. Raises Torn where they do not."""
    while start < end:
        kind, header_bytes, box_bytes = _header(file, start)
        # A box of size 0 goes to the end of its file: nobody could tell that it was cut.
        if box_bytes < header_bytes or start + box_bytes > end:
            raise Torn(f"the video is torn: a box at byte {start} of {end}")
        yield Box(kind, start + header_bytes, start + box_bytes)
        start += box_bytes


def _header(file: Readable, offset: int) -> tuple[bytes, int, int]:
    """Type, size of the header, and size with it, 0 where that cannot be."""
    head = read_at(file, offset, _HEADER.size + _LARGE.size)
    if len(head) < _HEADER.size:
        return b"", _HEADER.size, 0
    size_bytes, kind = _HEADER.unpack_from(head)
    if size_bytes != 1:
        return kind, _HEADER.size, size_bytes
    if len(head) < _HEADER.size + _LARGE.size:
        return kind, _HEADER.size, 0
    return kind, len(head), _LARGE.unpack_from(head, _HEADER.size)[0]
