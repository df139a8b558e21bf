"""One question and one way in for every kind of file."""

from __future__ import annotations

from pathlib import Path

from farm.container import archive, matroska, mp4
from farm.container.reading import Readable, Torn
from farm.jobs.codec import Container

# By its first bytes, and where they stand.
_SIGNS = (
    (4, b"ftypqt  ", Container.MOV),
    (4, b"ftyp", Container.MP4),
    (0, b"\x1a\x45\xdf\xa3", Container.MKV),
    (0, b"PK\3\4", Container.ZIP),
)


def check_whole(file: Readable, size_bytes: int, container: Container) -> None:
    """Checks that a file is whole and of this kind. Raises Torn."""
    match container:
        case Container.MP4 | Container.MOV:
            mp4.check(file, size_bytes)
        case Container.MKV:
            matroska.check(file, size_bytes)
        case Container.ZIP:
            archive.check(file, size_bytes)


def recognize(path: Path) -> Container:
    """The kind of a file, whatever it is called. Raises Torn for none of the farm's, OSError."""
    with path.open("rb") as file:
        head = file.read(12)
    for offset, sign, container in _SIGNS:
        if head[offset:].startswith(sign):
            return container
    raise Torn(f"it begins {head!r}, as none of {', '.join(Container)} does")


def read_comment(path: Path) -> bytes | None:
    """What the farm wrote into a video about it; None: nothing. Raises Torn, OSError."""
    container = recognize(path)
    if container is Container.ZIP:
        return archive.comment(path)
    find = matroska.comment if container is Container.MKV else mp4.comment
    with path.open("rb") as file:
        return find(file, path.stat().st_size)
