"""JPEG: segments and scans between two markers (ITU-T T.81, annex B), and what phones put behind.

Most phones' photographs go on behind their end: with the gain map of an HDR picture, which is a
JPEG that the MPF segment announces (CIPA DC-007), with the video of a motion photo, or with
Samsung's own trailer. These are let through by their structure; the farm reads none of them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from farm.container.parts import Parts, Size, cut_short, followed
from farm.container.reading import Torn

SIGN = b"\xff\xd8\xff"
# Far more than progressive files have; each costs the decoder a pass over all pixels.
SCANS_LIMIT = 100

_FILL_LIMIT_BYTES = 10_000  # Pillow reads them one by one

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
# What ends a scan: a marker that is neither a stuffed zero nor a restart.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_ZEROS = re.compile(rb"\0*")
_START, _END, _SCAN, _APP2 = 0xD8, 0xD9, 0xDA, 0xE2
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without content
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_FRAME = struct.Struct(">BHHB")  # precision, height, width, components
_MPF = b"MPF\0"
_MPF_COUNT_TAG = 0xB001
_SEF_HEAD, _SEF_END = b"SEFH", b"SEFT"
_SEF_ENTRY_BYTES = 12


@dataclass(frozen=True)
class _Jpeg:
    size: Size
    end: int
    announced: int  # how many JPEGs its MPF segment announces, itself among them


def read_size(data: bytes, parts: Parts) -> Size:
    """Width and height of a JPEG that is whole, with nothing behind but what phones put there.

    Raises Torn.
    """
    first = _walk(data, 0, parts)
    _check_behind(data, first, parts)
    return first.size


def _walk(data: bytes, place: int, parts: Parts) -> _Jpeg:
    """One JPEG, from its start on."""
    place += 2
    size, scans, fill, announced = None, 0, 0, 1
    while True:
        parts.count()
        found = _MARKER.match(data, place)
        if found is None:
            if place >= len(data) or not data[place:].strip(b"\xff"):
                raise cut_short("it has no end (EOI)")
            raise Torn(f"is damaged: there is no marker at byte {place:,}. Save it again")
        fill += found.end() - place - 2
        if fill > _FILL_LIMIT_BYTES:
            raise Torn(f"has more than {_FILL_LIMIT_BYTES:,} bytes of filling. Save it again")
        marker, place = found[1][0], found.end()
        if marker in _BARE:
            continue
        if marker == _START:
            raise Torn(f"is damaged: another image begins inside it at byte {place - 2:,}")
        if marker == _END:
            break
        end = place + int.from_bytes(data[place : place + 2])
        if end < place + 2 or end > len(data):
            raise cut_short(f"a segment would end at byte {end:,} of {len(data):,}")
        if marker in _FRAMES:
            if size is not None:
                raise Torn("is damaged: it has two headers (SOF). Save it again")
            size = _read_frame(data[place + 2 : end])
        elif marker == _APP2 and data.startswith(_MPF, place + 2):
            announced = max(announced, _count_announced(data[place + 2 + len(_MPF) : end]))
        elif marker == _SCAN:
            scans += 1
            if scans > SCANS_LIMIT:
                raise Torn(f"has more than {SCANS_LIMIT} scans, the most allowed. Save it again")
            scan = _SCAN_END.search(data, end)
            if scan is None:
                raise cut_short("it has no end (EOI)")
            end = scan.start()
        place = end
    if size is None or not scans:
        raise Torn("holds no picture: it has no header (SOF) or no scan (SOS). Save it again")
    return _Jpeg(size, place, announced)


def _read_frame(content: bytes) -> Size:
    if len(content) < _FRAME.size:
        raise cut_short(f"its header (SOF) has {len(content)} bytes")
    _, height, width, _ = _FRAME.unpack_from(content)
    return width, height


def _count_announced(content: bytes) -> int:
    """The number of images in an MPF segment; 1 where it does not tell."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        for index in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHII", content, start + 2 + index * 12)
            if tag == _MPF_COUNT_TAG:
                return int(value)
    except struct.error:
        pass
    return 1


def _check_behind(data: bytes, first: _Jpeg, parts: Parts) -> None:
    place, others = first.end, first.announced - 1
    while True:
        zeros = _ZEROS.match(data, place)
        assert zeros is not None
        begin, place = place, zeros.end()
        if place == len(data):
            return
        if others > 0 and data.startswith(SIGN, place):
            others -= 1
            place = _walk(data, place, parts).end
        elif _is_samsungs(data, begin, parts) or _is_video(data, begin, place, parts):
            return
        else:
            raise followed(len(data) - place, place, data)


def _is_video(data: bytes, begin: int, after_zeros: int, parts: Parts) -> bool:
    """Whether boxes of MP4 fill the rest: a motion photo. Its first length may begin with zeros."""
    place = data.find(b"ftyp", after_zeros, after_zeros + 8) - 4
    if place < begin:
        return False
    while place < len(data):
        parts.count()
        length = int.from_bytes(data[place : place + 4])
        if length == 1:  # the size is behind the type
            length = int.from_bytes(data[place + 8 : place + 16])
        if length < 8:
            return False
        place += length
    return place == len(data)


def _is_samsungs(data: bytes, place: int, parts: Parts) -> bool:
    """Whether the rest is blocks, a directory of them that begins SEFH, its length and SEFT."""
    if not data.endswith(_SEF_END):
        return False
    directory_bytes = int.from_bytes(data[-8:-4], "little")
    head = len(data) - 8 - directory_bytes
    if head < place or not data.startswith(_SEF_HEAD, head):
        return False
    count = int.from_bytes(data[head + 8 : head + 12], "little")
    if directory_bytes != 12 + count * _SEF_ENTRY_BYTES:
        return False
    farthest = 0
    for index in range(count):
        parts.count()
        entry = head + 12 + index * _SEF_ENTRY_BYTES
        back, length = struct.unpack_from("<II", data, entry + 4)
        if length > back:
            return False
        farthest = max(farthest, back)
    return farthest == head - place
