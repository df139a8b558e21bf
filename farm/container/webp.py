"""WebP: a RIFF file of chunks (RFC 9649)."""

from __future__ import annotations

import struct

from farm.container.parts import Parts, Size, animated, cut_short, followed
from farm.container.reading import Torn

RIFF, SIGN = b"RIFF", b"WEBP"
_HEAD = struct.Struct("<4sI")  # type, length of the content
_LOSSY, _LOSSLESS, _EXTENDED = b"VP8 ", b"VP8L", b"VP8X"
_OF_ANIMATIONS = (b"ANIM", b"ANMF")
_ANIMATION = 2  # the flag's bit
_LOSSY_SIGN, _LOSSLESS_SIGN = b"\x9d\x01\x2a", 0x2F
_SIDE_BITS = 0x3FFF


def read_size(data: bytes, parts: Parts) -> Size:
    """Width and height of a WebP that is whole, still, and all of the file. Raises Torn."""
    end = _HEAD.size + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise cut_short(f"it says that it has {end:,} bytes, and there are {len(data):,}")
    if end < len(data):
        raise followed(len(data) - end, end, data)
    place, canvas, picture = _HEAD.size + len(SIGN), None, None
    while place < end:
        parts.count()
        if place + _HEAD.size > end:
            raise cut_short(f"a chunk begins at its last byte {end:,}")
        kind, length = _HEAD.unpack_from(data, place)
        start, place = place + _HEAD.size, place + _HEAD.size + length + length % 2
        if place > end:
            raise cut_short(f"its {kind!r} chunk would end at byte {place:,} of {end:,}")
        if kind in _OF_ANIMATIONS:
            raise animated("WebP")
        if kind == _EXTENDED:
            canvas = _canvas(data[start : start + length])
        elif kind in (_LOSSY, _LOSSLESS):
            if picture is not None:
                raise Torn("holds more than one picture; allowed: one. Save it again")
            picture = _picture(kind, data[start : start + min(length, 10)])
    if picture is None:
        raise Torn("holds no picture: it has no VP8 or VP8L chunk. Save it again")
    if canvas is not None and canvas != picture:
        raise Torn(f"says that it is {_told(canvas)}, and its picture {_told(picture)}")
    return picture


def _canvas(content: bytes) -> Size:
    if len(content) < 10:
        raise cut_short(f"its VP8X chunk has {len(content)} bytes of 10")
    if content[0] & _ANIMATION:
        raise animated("WebP")
    width, height = (int.from_bytes(content[i : i + 3], "little") + 1 for i in (4, 7))
    return width, height


def _picture(kind: bytes, head: bytes) -> Size:
    if kind == _LOSSLESS and len(head) >= 5 and head[0] == _LOSSLESS_SIGN:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & _SIDE_BITS) + 1, (bits >> 14 & _SIDE_BITS) + 1
    if kind == _LOSSY and head[3:6] == _LOSSY_SIGN and len(head) == 10:
        width, height = (int.from_bytes(head[i : i + 2], "little") & _SIDE_BITS for i in (6, 8))
        return width, height
    raise Torn(f"is damaged: its {kind!r} chunk does not begin as a picture. Save it again")


def _told(size: Size) -> str:
    return f"{size[0]}x{size[1]} px"
