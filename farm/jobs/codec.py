"""The files that a clip's frames can become."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Container(enum.StrEnum):
    """A kind of file; its word is the extension of the file's name."""

    MP4 = "mp4"
    MOV = "mov"
    MKV = "mkv"
    ZIP = "zip"

    @property
    def media_type(self) -> str:
        """IANA's name of it."""
        return _MEDIA_TYPES[self]


class Codec(enum.StrEnum):
    """How frames are kept."""

    H264 = "h264"
    H265 = "h265"
    AV1 = "av1"
    PRORES = "prores"
    FFV1 = "ffv1"
    PNG = "png"  # one picture a frame, in a zip

    @property
    def container(self) -> Container:
        """The kind of file that it goes into."""
        return _CONTAINERS[self]


_MEDIA_TYPES: Mapping[Container, str] = {
    Container.MP4: "video/mp4",
    Container.MOV: "video/quicktime",
    Container.MKV: "video/matroska",
    Container.ZIP: "application/zip",
}
_CONTAINERS: Mapping[Codec, Container] = {
    Codec.H264: Container.MP4,
    Codec.H265: Container.MP4,
    Codec.AV1: Container.MP4,
    Codec.PRORES: Container.MOV,
    Codec.FFV1: Container.MKV,
    Codec.PNG: Container.ZIP,
}


def container_of(media_type: str) -> Container:
    """The kind of file that has this media type. Raises ValueError for one that the farm lacks."""
    for container, known in _MEDIA_TYPES.items():
        if known == media_type:
            return container
    raise ValueError(f"{media_type!r} is none of {', '.join(_MEDIA_TYPES.values())}")
