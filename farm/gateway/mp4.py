"""Whether a file is a whole MP4, told by its boxes alone: some reads, no decoding."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, Protocol

_NEEDED = (b"ftyp", b"moov", b"mdat")  # what it is, where its frames are, the frames
_HEADER = struct.Struct(">I4s")  # ISO/IEC 14496-12, 4.2: size with the header, type
_LARGE = struct.Struct(">Q")  # the size, where the other one is 1


class Mp4Torn(ValueError):
    """Not an MP4, or not a whole one; the message says how."""


class Readable(Protocol):
    """A file, or an object in a bucket."""

    def seek(self, offset: int, /) -> int:
        """Goes to a byte."""

    def read(self, size: int, /) -> Any:
        """At most so many bytes, as a buffer."""


def check_mp4(content: bytes | Path) -> None:
    """Checks that the boxes of an MP4 fill the file, and that none is missing. Raises Mp4Torn."""
    if isinstance(content, bytes):
        check_boxes(io.BytesIO(content), len(content))
        return
    with content.open("rb") as file:
        check_boxes(file, content.stat().st_size)


def check_boxes(file: Readable, size_bytes: int) -> None:
    """As `check_mp4`, for what is not on this disk."""
    kinds = []
    offset = 0
    while offset < size_bytes:
        file.seek(offset)
        kind, box_bytes = _box(file)
        if not box_bytes or offset + box_bytes > size_bytes:
            raise Mp4Torn(f"the video is torn: a box at byte {offset} of {size_bytes}")
        kinds.append(kind)
        offset += box_bytes
    missing = [kind.decode() for kind in _NEEDED if kind not in kinds]
    if missing or kinds[0] != _NEEDED[0]:
        raise Mp4Torn(f"the video is not a whole MP4: it lacks {', '.join(missing) or 'its start'}")


def _box(file: Readable) -> tuple[bytes, int]:
    """Type and size of the box that starts here; size 0 where that cannot be."""
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return b"", 0
    size_bytes, kind = _HEADER.unpack(head)
    least = _HEADER.size
    if size_bytes == 1:
        large = file.read(_LARGE.size)
        if len(large) < _LARGE.size:
            return kind, 0
        (size_bytes,) = _LARGE.unpack(large)
        least += _LARGE.size
    # A box of size 0 goes to the end of its file: nobody could tell that it was cut.
    return kind, size_bytes if size_bytes >= least else 0
