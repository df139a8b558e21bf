"""Images to animate: from wherever the user has them to bytes that are checked and hashed.

The client reads files and fetches URLs; the farm only ever receives bytes. What is checked here
is what needs no decoder: size, and that the bytes begin as a JPEG, PNG or WebP file does.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit

from svdfarm import fetch
from svdfarm.errors import ImageRejected

LIMIT_BYTES = fetch.LIMIT_BYTES
_ALLOWED = "a JPEG, PNG or WebP image of at most 16 MiB"
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG"),
    (b"<?xml", "XML"),
    (b"<", "a web page or XML"),
)


class SupportsSave(Protocol):
    """A PIL image, or anything that saves itself as PNG in the same way."""

    def save(self, fp: IO[bytes], format: str | None = ..., **params: Any) -> None:  # noqa: A002
        """Writes the image to `fp`."""


ImageSource = str | os.PathLike[str] | bytes | SupportsSave


@dataclass(frozen=True)
class Image:
    """An image ready for upload. A file is read again then, so that thousands fit in memory."""

    origin: str  # path or URL, for messages
    stem: str  # file name without extension; empty where there is none
    sha256: str
    size_bytes: int
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        """The bytes that were hashed. Raises ImageRejected if the file has changed since."""
        if self.data is not None:
            return self.data
        if self.path is None:
            raise ImageRejected(f"the farm no longer has {self.origin}; submit it from its file")
        data = _read(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ImageRejected(f"{self.origin} changed while it was being submitted")
        return data


def load(source: ImageSource, *, folder: Path | None = None) -> list[Image]:
    """The images that `source` means: more than one only for a glob, sorted by name then.

    `source` is a path or glob (relative to `folder`), an http(s) or data URL, the bytes of a
    file, or a PIL image. Raises ImageRejected.
    """
    if isinstance(source, str) and is_url(source):
        return [load_url(source)]
    if isinstance(source, str | os.PathLike):
        return [load_file(path) for path in find(os.fspath(source), folder=folder)]
    if isinstance(source, bytes):
        return [_image(source, "the image's bytes")]
    if not hasattr(source, "save"):
        raise ImageRejected(
            f"an image is given as {type(source).__name__}; allowed: a path, a glob, a URL, "
            "bytes or a PIL image"
        )
    file = io.BytesIO()
    source.save(file, format="PNG")
    origin = getattr(source, "filename", "")
    return [_image(file.getvalue(), origin or "the image", stem=Path(origin).stem)]


def on_farm(name: str) -> Image:
    """An image that the farm has, by its name there: `images/SHA256`."""
    return Image(name, "", name.removeprefix("images/"), size_bytes=0)


def is_url(text: str) -> bool:
    """Whether `text` is an http(s) or data URL rather than a path."""
    return text.lower().startswith(("http://", "https://", "data:"))


def find(pattern: str, *, folder: Path | None = None) -> Sequence[Path]:
    """The files of a path or glob, sorted. Raises ImageRejected where there are none."""
    folder = folder or Path()
    if (folder / pattern).is_file() or not glob.has_magic(pattern):
        return [folder / pattern]
    # Path.glob takes no absolute pattern.
    found = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
    files = [path for path in (folder / name for name in found) if path.is_file()]
    if not files:
        raise ImageRejected(f"no file matches {pattern!r} in {folder.absolute()}")
    return files


def load_file(path: Path) -> Image:
    """The image in the file at `path`."""
    return _image(_read(path), str(path), stem=path.stem, path=path)


def load_url(url: str) -> Image:
    """The image behind an http(s) or data URL."""
    if url.lower().startswith("data:"):
        return _image(fetch.data_url(url), fetch.shorten(url))
    try:
        path = PurePosixPath(unquote(urlsplit(url).path))
    except ValueError as error:
        raise ImageRejected(f"{fetch.shorten(url)} is no URL: {str(error).lower()}") from error
    return _image(fetch.http(url), fetch.shorten(url), stem=path.stem)


def _read(path: Path) -> bytes:
    try:
        # A pipe that nobody writes into would keep us waiting for ever.
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageRejected(f"{path} is a pipe or a device; allowed: a file")
            data = file.read(LIMIT_BYTES + 1)
    except IsADirectoryError:
        raise ImageRejected(f"{path} is a folder; allowed: a file, or a glob: {path}/*") from None
    except OSError as error:
        raise ImageRejected(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a NUL in the name
        raise ImageRejected(f"{str(path)!r}: {error}") from error
    if len(data) > LIMIT_BYTES:
        raise ImageRejected(f"{path} has {path.stat().st_size} bytes; allowed: {_ALLOWED}")
    return data


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _image(data: bytes, origin: str, *, stem: str = "", path: Path | None = None) -> Image:
    if len(data) > LIMIT_BYTES:
        raise ImageRejected(f"{origin} has {len(data)} bytes; allowed: {_ALLOWED}")
    kind = _kind(data)
    if kind is not None:
        raise ImageRejected(f"{origin} is {kind}; allowed: {_ALLOWED}")
    digest = hashlib.sha256(data).hexdigest()
    return Image(origin, stem, digest, len(data), path, None if path else data)


def _kind(data: bytes) -> str | None:
    """What `data` is when it is no allowed image; None when it begins as one."""
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return None
    if not data:
        return "empty"
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    start = data[:64].lstrip().lower()
    return next((kind for magic, kind in _OTHERS if start.startswith(magic.lower())), "no image")
