"""The body of POST /v1/videos: multipart or JSON, with the image in it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.web.farm import CHUNK_BYTES
from farm.web.refusals import Refused, invalid

IMAGE_LIMIT_BYTES = 16 * 2**20
_BODY_LIMIT_BYTES = IMAGE_LIMIT_BYTES * 4 // 3 + 2**20  # an image in base64, and the fields
_FIELD_LIMIT = 100
IMAGE = "input_reference"


@dataclass
class Body:
    """The fields but for the image, and the image."""

    fields: Mapping[str, Any]
    image: UploadFile | bytes
    file_name: str = ""

    async def parts(self) -> AsyncIterator[bytes]:
        """The image file, piece by piece."""
        if isinstance(self.image, bytes):
            for first in range(0, len(self.image), CHUNK_BYTES):
                yield self.image[first : first + CHUNK_BYTES]
            return
        while part := await self.image.read(CHUNK_BYTES):
            yield part


async def read_body(request: Request) -> Body:
    """What was sent. Raises Refused. A file in it lies on disk once it is above 1 MiB."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    match media_type:
        case "application/json":
            return await _read_json(request)
        case "multipart/form-data":
            return await _read_multipart(request)
        case _:
            raise Refused(
                400,
                f"Content-Type is {media_type[:60]!r}; allowed: multipart/form-data, "
                "application/json",
                "invalid_content_type",
            )


async def _read_json(request: Request) -> Body:
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {error}", "invalid_json") from error
    if not isinstance(given, dict):
        raise Refused(400, "the body is no JSON object", "invalid_json")
    image = given.pop(IMAGE, None)
    if isinstance(image, dict):
        if set(image) != {"image_url"}:
            raise invalid(IMAGE, f'has {sorted(image)}; allowed: {{"image_url": "data:..."}}')
        image = image["image_url"]
    return Body(given, _data_url(image))


async def _read_multipart(request: Request) -> Body:
    form = await request.form(max_files=1, max_fields=_FIELD_LIMIT, max_part_size=_BODY_LIMIT_BYTES)
    given: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in given:
            raise invalid(name[:60], "is given twice; give it once")
        given[name] = value
    # How the openai client writes {"image_url": ...} where there is no file.
    url = given.pop(f"{IMAGE}[image_url]", None)
    image = given.pop(IMAGE, url)
    for name, value in given.items():
        if isinstance(value, UploadFile):
            raise invalid(name[:60], f"is a file; allowed: one file, {IMAGE}")
    if isinstance(image, UploadFile):
        if (image.size or 0) > IMAGE_LIMIT_BYTES:
            raise _too_large()
        return Body(given, image, image.filename or "")
    return Body(given, _data_url(image))


def _data_url(url: Any) -> bytes:
    """The bytes in a data URL (RFC 2397); no other URL is looked at."""
    if url in (None, ""):
        raise invalid(
            IMAGE, "is missing; SVD animates an image: send a file, or a data: URL", "missing"
        )
    if not isinstance(url, str) or url[:5].lower() != "data:":
        given = repr(url[:40]) if isinstance(url, str) else type(url).__name__
        raise invalid(
            IMAGE,
            f"is {given}; allowed: a file, or a data: URL. The farm fetches nothing: send the "
            "image itself",
        )
    head, comma, body = url.partition(",")
    if not comma:
        raise invalid(IMAGE, "has no comma; write data:image/png;base64,...")
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error as error:
            raise invalid(IMAGE, f"is not base64: {error}") from error
    if len(data) > IMAGE_LIMIT_BYTES:
        raise _too_large()
    return data


def _too_large() -> Refused:
    return Refused(413, f"{IMAGE} has more than 16 MiB, the largest allowed", "too_large", IMAGE)


class BodyLimit:
    """Refuses, with 413, to read more of a body: an image and its fields, unless told otherwise."""

    def __init__(self, app: ASGIApp, limit_bytes: int = _BODY_LIMIT_BYTES) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        seen_bytes = 0

        async def limited() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > self._limit_bytes:
                limit_mib = self._limit_bytes // 2**20
                raise Refused(413, f"the body has more than {limit_mib} MiB", "too_large")
            return message

        await self._app(scope, limited, send)
