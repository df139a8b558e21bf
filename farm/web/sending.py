"""A video over HTTP: whole, or the part that a player asks for (RFC 9110, ranges)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from farm.web.farm import Calls
from farm.web.refusals import Refused
from svdfarm.v1 import resources_pb2 as pb

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def send_video(request: Request, calls: Calls, shot: pb.Shot) -> Response:
    """Answers GET and HEAD for a shot's video: 200, 206, 304 or 416. Raises AioRpcError."""
    video = shot.video
    etag = f'"{video.sha256}"'
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "cache-control": "private, no-cache",
        "content-disposition": f'inline; filename="{shot.output_name}"',
    }
    if _names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range", "")
    if request.headers.get("if-range", etag) != etag:
        wanted = ""
    first, end = read_range(wanted, video.size_bytes) or (0, video.size_bytes)
    partial = (first, end) != (0, video.size_bytes) or bool(_RANGE.fullmatch(wanted.strip()))
    if partial:
        headers["content-range"] = f"bytes {first}-{end - 1}/{video.size_bytes}"
    headers["content-length"] = str(end - first)
    status = 206 if partial else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=video.media_type)
    parts = calls.download(video.name, first, end)
    begin = await anext(parts, b"")  # what is refused is refused before the first byte goes out
    return StreamingResponse(
        _joined(begin, parts), status_code=status, headers=headers, media_type=video.media_type
    )


def read_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """The first byte and the end of one range; None: the whole, as several ranges also get.

    Raises Refused where nothing of it lies in the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        first, end = max(0, size_bytes - int(match[2])), size_bytes
    else:
        first, end = int(match[1]), size_bytes
        if match[2]:
            if int(match[2]) < first:
                return None  # no range at all: RFC 9110 has it ignored
            end = min(size_bytes, int(match[2]) + 1)
    if first >= end:
        raise RangeRefused(size_bytes, header)
    return first, end


class RangeRefused(Refused):
    """416, with the size that there is."""

    def __init__(self, size_bytes: int, given: str) -> None:
        super().__init__(
            416, f"Range is {given[:60]!r}; allowed: within {size_bytes} bytes", "range_refused"
        )
        self.size_bytes = size_bytes


def _names(header: str, etag: str) -> bool:
    told = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return etag in told or "*" in told


async def _joined(begin: bytes, parts: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """What was read of an answer already, then the rest, which ends with whoever reads it."""
    async with aclosing(parts):
        yield begin
        async for part in parts:
            yield part
