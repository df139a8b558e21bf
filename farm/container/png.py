"""PNG: a signature, and chunks with checksums (W3C PNG, third edition, 5)."""

from __future__ import annotations

import struct
import zlib

from farm.container.parts import Parts, Size, animated, cut_short, followed
from farm.container.reading import Torn

SIGN = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")  # length of the content, type
_CRC = struct.Struct(">I")
_HEADER = struct.Struct(">IIBBBBB")  # width, height, depth, colour, compression, filter, interlace
_PALETTE = 3  # a colour type
_OF_ANIMATIONS = (b"acTL", b"fcTL", b"fdAT")


def read_size(data: bytes, parts: Parts) -> Size:
    """Width and height of a PNG that is whole, still, and all of the file. Raises Torn."""
    view = memoryview(data)
    place, size, colour, seen = len(SIGN), None, 0, set[bytes]()
    while place < len(data):
        parts.count()
        if place + _HEAD.size > len(data):
            raise cut_short(f"a chunk begins at its last byte {len(data):,}")
        length, kind = _HEAD.unpack_from(data, place)
        start = place + _HEAD.size
        place = start + length + _CRC.size
        if place > len(data):
            raise cut_short(f"its {kind!r} chunk would end at byte {place:,} of {len(data):,}")
        if (
            zlib.crc32(view[start - 4 : start + length])
            != _CRC.unpack_from(data, start + length)[0]
        ):
            raise Torn(f"is damaged: the checksum of its {kind!r} chunk is wrong. Save it again")
        if (size is None) != (kind == b"IHDR"):
            raise Torn("is damaged: it does not begin with its one header (IHDR). Save it again")
        if kind == b"IHDR":
            if length != _HEADER.size:
                raise Torn(f"is damaged: its header (IHDR) has {length} bytes. Save it again")
            width, height, _, colour, *_ = _HEADER.unpack_from(data, start)
            size = width, height
        elif kind in _OF_ANIMATIONS:
            raise animated("APNG")
        elif kind == b"IEND":
            break
        seen.add(kind)
    else:
        raise cut_short("it has no end (IEND)")
    if place < len(data):
        raise followed(len(data) - place, place, data)
    if colour == _PALETTE and b"PLTE" not in seen:
        raise Torn("is damaged: it has no palette (PLTE). Save it again")
    if size is None or b"IDAT" not in seen:
        raise Torn("holds no picture: it has no IDAT chunk. Save it again")
    return size
