"""An image as text, as JSON and forms may have it, into a file. It may be large: use a thread."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from farm.web.limits import FIELD_BYTES, IMAGE_LIMIT_BYTES
from farm.web.refusals import Refused, invalid

IMAGE = "input_reference"
# Each quantifier keeps what it has: one pass, however the text is made.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SPACE = b" \t\r\n\v\f"
_ESCAPE_LIMIT = 100_000  # of %XX: each is an object of its own until they are joined


def read_json(file: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The object in a file without its image, and the image. Raises Refused.

    What is parsed is small, however large the image is: many brackets become many objects.
    """
    text, mark, url = _without_image(file.read())
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {str(error)[:200]}", "invalid_json") from error
    if not isinstance(given, dict):
        raise Refused(400, "the body is no JSON object", "invalid_json")
    image = given.pop(IMAGE, None)
    if isinstance(image, dict):
        if set(image) != {"image_url"}:
            told = str(sorted(image))[:100]
            raise invalid(IMAGE, f'has {told}; allowed: {{"image_url": "data:..."}}')
        image = image["image_url"]
    if url and image != mark:
        raise _much_around()
    return given, read_data_url(url or image)


def _without_image(body: bytes) -> tuple[bytes, str, str]:
    """JSON with a mark in the place of its one long string, the mark, and that string."""
    if len(body) <= FIELD_BYTES:
        return body, "", ""
    longest = _longest(body)
    if longest is None:
        raise _much_around()
    first, end = longest
    if len(body) - (end - first) > FIELD_BYTES:
        raise _much_around()
    try:
        url = json.loads(body[first:end])
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {str(error)[:200]}", "invalid_json") from error
    mark = secrets.token_hex()
    return body[:first] + f'"{mark}"'.encode() + body[end:], mark, url


def _longest(body: bytes) -> tuple[int, int] | None:
    """Where the longest string is, which is not looked for beyond what may be beside it."""
    longest = (0, 0)
    for first, end in _strings(body):
        longest = max(longest, (first, end), key=lambda span: span[1] - span[0])
        if end - (longest[1] - longest[0]) > FIELD_BYTES:
            return None
    return longest if longest[1] else None


def _strings(body: bytes) -> Iterator[tuple[int, int]]:
    end = 0
    while (first := body.find(b'"', end)) >= 0:
        match = _STRING.match(body, first)
        if match is None:
            return
        end = match.end()
        yield first, end


def _much_around() -> Refused:
    return Refused(
        413,
        f"the JSON has more than {FIELD_BYTES // 2**10} KiB beside its {IMAGE}; send the image "
        "alone in it, and the settings",
        "too_large",
    )


def read_data_url(url: Any) -> bytes:
    """The bytes in a data URL (RFC 2397); no other URL is looked at. Raises Refused."""
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
    if body.count("%") > _ESCAPE_LIMIT:
        raise invalid(IMAGE, f"has more than {_ESCAPE_LIMIT:,} escapes; write it in base64")
    data = unquote_to_bytes(body)
    if head[-7:].lower() == ";base64":
        try:
            data = base64.b64decode(data.translate(None, _SPACE), validate=True)
        except binascii.Error as error:
            raise invalid(IMAGE, f"is not base64: {error}") from error
    if len(data) > IMAGE_LIMIT_BYTES:
        raise too_large()
    return data


def too_large() -> Refused:
    """413 for an image."""
    return Refused(413, f"{IMAGE} has more than 16 MiB, the largest allowed", "too_large", IMAGE)
