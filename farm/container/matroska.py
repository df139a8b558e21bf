"""Matroska: elements in elements (RFC 8794, EBML; RFC 9559, Matroska)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from farm.container.reading import Readable, Torn, read_at, read_comment_at

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_TAGS, _TAG, _SIMPLE_TAG, _TAG_NAME, _TAG_STRING = 0x1254C367, 0x7373, 0x67C8, 0x45A3, 0x4487
_HEADER_LIMIT_BYTES = 4 + 8


class Element(NamedTuple):
    """An element: its id, and from where to where its content goes."""

    id: int
    start: int
    end: int


def check(file: Readable, size_bytes: int) -> None:
    """Checks that one segment of a known size goes to the end of the file. Raises Torn.

    A writer knows that size when all else is written, and puts it there last.
    """
    found = [element.id for element in _elements(file, 0, size_bytes)]
    if found != [_EBML, _SEGMENT]:
        raise Torn("the video is not a whole Matroska file: it is not a header and a segment")


def comment(file: Readable, size_bytes: int) -> bytes | None:
    """What ffmpeg's `-metadata comment=` put there. Raises Torn."""
    whole = Element(0, 0, size_bytes)
    for tag in _inside(file, whole, _SEGMENT, _TAGS, _TAG, _SIMPLE_TAG):
        names = _inside(file, tag, _TAG_NAME)
        texts = _inside(file, tag, _TAG_STRING)
        if [_content(file, name) for name in names] == [b"COMMENT"]:
            return next((_content(file, text) for text in texts), None)
    return None


def _inside(file: Readable, element: Element, *path: int) -> Iterator[Element]:
    """The elements that are there on the way down, by the ids of the elements around them."""
    if not path:
        yield element
        return
    for inner in _elements(file, element.start, element.end):
        if inner.id == path[0]:
            yield from _inside(file, inner, *path[1:])


def _content(file: Readable, element: Element) -> bytes:
    return read_comment_at(file, element.start, element.end)


def _elements(file: Readable, start: int, end: int) -> Iterator[Element]:
    """The elements that fill these bytes. Raises Torn where they do not."""
    while start < end:
        head = read_at(file, start, _HEADER_LIMIT_BYTES)
        id_bytes = _length(head)
        size_bytes = _length(head[id_bytes:])
        content = start + id_bytes + size_bytes
        size = int.from_bytes(head[id_bytes : id_bytes + size_bytes]) & _ones(7 * size_bytes)
        # All ones is a size that nobody knew yet: nobody could tell that it was cut.
        if not id_bytes or not size_bytes or size == _ones(7 * size_bytes) or content + size > end:
            raise Torn(f"the video is torn: an element at byte {start} of {end}")
        yield Element(int.from_bytes(head[:id_bytes]), content, content + size)
        start = content + size


def _length(head: bytes) -> int:
    """How many bytes the number takes that begins here (RFC 8794, 4); 0 where it is cut off."""
    length = 9 - head[0].bit_length() if head and head[0] else 0
    return length if length <= len(head) else 0


def _ones(bits: int) -> int:
    return (1 << bits) - 1
