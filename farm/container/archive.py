"""A zip of pictures, one a frame, and of the receipt (PKWARE's APPNOTE, 4.3)."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from farm.container.reading import COMMENT_LIMIT_BYTES, Readable, Torn, read_at
from farm.jobs.params import RANGES

RECEIPT_NAME = "receipt.json"
_FILE, _ENTRY, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # the flag's bit
_PICTURES_LIMIT = int(RANGES["frame_count"].high)
# The largest frame, 16 bits a channel with opacity, had nothing of it been compressed.
_PICTURE_LIMIT_BYTES = int(RANGES["width_px"].high * RANGES["height_px"].high) * 8
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
            entry = archive.getinfo(RECEIPT_NAME)
            _check_entry(entry, COMMENT_LIMIT_BYTES)
            with archive.open(entry) as file:
                return file.read(COMMENT_LIMIT_BYTES + 1)  # past its end, where its CRC is checked
    except KeyError:
        return None
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        raise Torn(f"the zip cannot be read: {error}") from error


def list_pictures(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The pictures in order, none of which can fill the memory of who reads it. Raises Torn."""
    entries = [entry for entry in archive.infolist() if entry.filename != RECEIPT_NAME]
    if len(entries) > _PICTURES_LIMIT:
        raise Torn(f"the zip holds {len(entries)} files; a clip has at most {_PICTURES_LIMIT}")
    for entry in entries:
        _check_entry(entry, _PICTURE_LIMIT_BYTES)
    return sorted(entries, key=lambda entry: entry.filename)


def _check_entry(entry: zipfile.ZipInfo, limit_bytes: int) -> None:
    name = entry.filename
    if entry.flag_bits & _ENCRYPTED:
        raise Torn(f"{name!r} is encrypted, as the farm's files never are")
    if entry.compress_type not in _METHODS:
        raise Torn(f"{name!r} is neither stored nor deflated")
    if entry.file_size > limit_bytes:
        raise Torn(f"{name!r} has {entry.file_size} bytes; allowed: {limit_bytes}")
