"""How many parts an image file may have, and what is said of one that is not whole."""

from __future__ import annotations

from farm.container.reading import Torn

# 16 MiB in IDAT chunks of 4 KiB, as small as encoders write them, are 4,096.
PARTS_LIMIT = 10_000

Size = tuple[int, int]  # width and height in px


class Parts:
    """Counts the parts of one file, wherever in it they are."""

    def __init__(self) -> None:
        self._count = 0

    def count(self) -> None:
        """One more. Raises Torn where that is one too many."""
        self._count += 1
        if self._count > PARTS_LIMIT:
            raise Torn(f"has more than {PARTS_LIMIT:,} parts, the most allowed. Save it again")


def cut_short(what: str) -> Torn:
    """Of a file that ends too early."""
    return Torn(f"is cut short: {what}. Save or send it again")


def animated(what: str) -> Torn:
    """Of a file with several pictures."""
    return Torn(f"is animated ({what}); allowed: a still image. Save one frame of it")


def followed(byte_count: int, start: int, data: bytes) -> Torn:
    """Of a file that goes on behind its picture."""
    begins = data[start : start + 8]
    return Torn(
        f"has {byte_count:,} bytes behind its end, starting {begins!r}; allowed: none. "
        "Save it again with an image editor"
    )
