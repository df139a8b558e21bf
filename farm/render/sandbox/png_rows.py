"""Whether a PNG holds all of its rows: Pillow shows black where they are missing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_HEADER = struct.Struct(">IIBBBBB")
_HEADER_AT = 16
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: first column and row of each pass, and the steps to its next ones (W3C PNG, 8.1).
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_AT_ONCE_BYTES = 1 << 20


def check_rows(data: bytes) -> None:
    """Inflates a PNG whose structure is whole. Raises ValueError, zlib.error."""
    width, height, depth, colour, _, _, interlace = _HEADER.unpack_from(data, _HEADER_AT)
    bits = depth * _CHANNELS.get(colour, 4)
    passes = _PASSES if interlace else ((0, 0, 1, 1),)
    expected = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            expected += rows * (1 + (columns * bits + 7) // 8)  # a filter's byte before each row
    inflater, inflated = zlib.decompressobj(), 0
    for part in _pixels(data):
        while inflated < expected and (made := inflater.decompress(part, _AT_ONCE_BYTES)):
            inflated += len(made)
            part = inflater.unconsumed_tail
    if inflated < expected:
        raise ValueError(f"it holds {inflated:,} of its {expected:,} bytes of pixels")


def _pixels(data: bytes) -> Iterator[bytes]:
    place = _HEADER_AT - 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IDAT":
            yield data[place + 8 : place + 8 + length]
        place += length + 12
