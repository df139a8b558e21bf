"""The body of POST /v1/videos: multipart or JSON, with the image in it.

It waits on disk, whole, before any of it is looked at: what is unfinished costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, cast

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from farm.web.farm import CHUNK_BYTES
from farm.web.limits import FIELD_BYTES, IMAGE_LIMIT_BYTES, Slots, reading
from farm.web.refusals import Refused, invalid
from farm.web.videos.data_url import IMAGE, read_data_url, read_json, too_large

BODY_LIMIT_BYTES = IMAGE_LIMIT_BYTES * 4 // 3 + 2**20  # an image in base64, and the fields
_FIELD_LIMIT = 40  # twice what there are
_READ_AT_ONCE = 16
_DECODED_AT_ONCE = 2
_IN_MEMORY_BYTES = 64 * 2**10
# The second: how the openai client writes {"image_url": ...} where there is no file.
_IMAGES = (IMAGE, f"{IMAGE}[image_url]")


@dataclass
class Body:
    """The fields but for the image, and the image."""

    fields: Mapping[str, Any]
    image: UploadFile
    file_name: str = ""

    async def parts(self) -> AsyncIterator[bytes]:
        """The image file, piece by piece."""
        while part := await self.image.read(CHUNK_BYTES):
            yield part


class Bodies:
    """Reads them, some at a time."""

    def __init__(self) -> None:
        self._readers = Slots(_READ_AT_ONCE)
        self._decoders = asyncio.Semaphore(_DECODED_AT_ONCE)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[Body]:
        """What was sent, while it is used. Raises Refused."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        async with self._readers.take():
            match media_type:
                case "application/json":
                    fields, image = await self._read_json(request)
                case "multipart/form-data":
                    fields, image = await self._read_multipart(request)
                case _:
                    raise Refused(
                        400,
                        f"Content-Type is {media_type[:60]!r}; allowed: multipart/form-data, "
                        "application/json",
                        "invalid_content_type",
                    )
            try:
                yield Body(fields, image, image.filename or "")
            finally:
                await image.close()

    async def _read_json(self, request: Request) -> tuple[Mapping[str, Any], UploadFile]:
        text = _file()
        try:
            async with reading():
                async for part in request.stream():
                    await text.write(part)
            await text.seek(0)
            async with self._decoders:
                return await asyncio.to_thread(_of_json, text.file)
        finally:
            await text.close()

    async def _read_multipart(self, request: Request) -> tuple[Mapping[str, Any], UploadFile]:
        parser = _Form(
            request.headers,
            request.stream(),
            max_files=1,
            max_fields=_FIELD_LIMIT,
            max_part_size=FIELD_BYTES,
        )
        try:
            async with reading():
                form = await parser.parse()
        except MultiPartException as error:
            raise Refused(400, f"the form is refused: {error.message}", "invalid_form") from error
        image = None
        try:
            given, image = await self._of_form(form)
        finally:
            if image is None or image.filename is None:
                await form.close()
        return given, image

    async def _of_form(self, form: FormData) -> tuple[Mapping[str, Any], UploadFile]:
        given: dict[str, Any] = {}
        for name, value in form.multi_items():
            if name in given:
                raise invalid(name[:60], "is given twice; give it once")
            given[name] = value
        found = [given.pop(name) for name in _IMAGES if name in given]
        for name, value in given.items():
            if isinstance(value, UploadFile):
                raise invalid(name[:60], f"is a file; allowed: one file, {IMAGE}")
        if len(found) > 1:
            raise invalid(IMAGE, "is given twice; give it once")
        if not found:
            read_data_url(None)  # raises
        image: UploadFile = found[0]
        if image.filename is None:
            async with self._decoders:
                return given, await asyncio.to_thread(_of_text, image.file)
        if (image.size or 0) > IMAGE_LIMIT_BYTES:
            raise too_large()
        return given, image


class _Form(MultiPartParser):
    """Has an image that is written as text on disk, as a file is; all other text is short."""

    def on_headers_finished(self) -> None:
        """Starlette's hook."""
        super().on_headers_finished()
        part = self._current_part
        if part.file is None and part.field_name in _IMAGES:
            if any(name == part.field_name for name, _ in self.items):
                raise invalid(IMAGE, "is given twice; give it once")
            part.file = _file()
            self._files_to_close_on_error.append(part.file.file)  # type: ignore[arg-type]


def _file(content: bytes | None = None) -> UploadFile:
    file = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - the UploadFile closes it
    if content is not None:
        file.write(content)
        file.seek(0)
    return UploadFile(cast(BinaryIO, file), size=len(content or b""))


def _of_json(file: IO[bytes]) -> tuple[Mapping[str, Any], UploadFile]:
    fields, image = read_json(file)
    return fields, _file(image)


def _of_text(file: IO[bytes]) -> UploadFile:
    try:
        url = file.read().decode()
    except UnicodeDecodeError as error:
        raise invalid(IMAGE, "is no text, and no file: name the file") from error
    return _file(read_data_url(url))
