"""A zip of pictures, one a frame, and of the receipt (PKWARE's APPNOTE, 4.3)."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from farm.container.reading import Readable, Torn, read_at

RECEIPT_NAME = "receipt.json"
_FILE, _ENTRY, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_END_RECORD = struct.Struct("<4s4H2IH")  # ..., size and place of the directory, comment


def check(file: Readable, size_bytes: int) -> None:
    """Checks that a directory of files ends the zip, where the end says it is. Raises Torn."""
    if read_at(file, 0, len(_FILE)) != _FILE:
        raise Torn("the video is not a whole zip: it lacks its start")
    end = size_bytes - _END_RECORD.size
    last = read_at(file, max(0, end), _END_RECORD.size)
    if len(last) < _END_RECORD.size or not last.startswith(_END):
        raise Torn("the video is not a whole zip: it lacks its end")
    *_, directory_bytes, start, _ = _END_RECORD.unpack(last)
    if start + directory_bytes != end or read_at(file, start, len(_ENTRY)) != _ENTRY:
        raise Torn("the video is not a whole zip: it lacks its directory")


def comment(path: Path) -> bytes | None:
    """The receipt among the pictures. Raises Torn."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(RECEIPT_NAME)
    except KeyError:
        return None
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise Torn(f"the zip cannot be read: {error}") from error
