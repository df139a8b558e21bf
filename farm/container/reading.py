"""How containers are read: here and there, never as a whole."""

from __future__ import annotations

from typing import Any, Protocol


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
