"""How containers are read: here and there, never as a whole."""

from __future__ import annotations

from typing import Any, Protocol

# Far more than any receipt takes, and less than anybody can do harm with.
COMMENT_LIMIT_BYTES = 1 << 20


class Torn(ValueError):
    """Not a whole file of its kind; the message says how."""


class Readable(Protocol):
    """A file, or an object in a bucket."""

    def seek(self, offset: int, /) -> int:
        """Goes to a byte."""

    def read(self, size: int, /) -> Any:
        """At most so many bytes, as a buffer."""


def read_at(file: Readable, offset: int, size_bytes: int) -> bytes:
    """At most so many bytes from there on."""
    file.seek(offset)
    return bytes(file.read(size_bytes))


def read_comment_at(file: Readable, start: int, end: int) -> bytes:
    """All of these bytes. Raises Torn where they are more than a receipt takes."""
    if end - start > COMMENT_LIMIT_BYTES:
        raise Torn(
            f"its comment has {end - start} bytes; a receipt has at most {COMMENT_LIMIT_BYTES}"
        )
    return read_at(file, start, max(0, end - start))
