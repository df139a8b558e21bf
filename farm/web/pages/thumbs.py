"""The pictures that shots are made from, as they were uploaded: a browser makes them small.

Nothing here decodes them. That is done where it can do no harm, in farm.render.sandbox, and the
browser's own decoder is as well kept.
"""

from __future__ import annotations

from collections import OrderedDict

from starlette.responses import RedirectResponse, Response, StreamingResponse

from farm.web.farm import Calls
from farm.web.refusals import unknown
from farm.web.sending import joined
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2

_LIMIT_BYTES = 2 * 2**20  # a page has many of them
_INSTEAD = "/static/large.svg"
_KNOWN = 5000
_HEADERS = {"cache-control": "private, max-age=86400, immutable"}


async def send_image(calls: Calls, name: str) -> Response:
    """One of `images/{sha256}`, for who may see it; a drawing for a large one.

    Raises AioRpcError, and Refused where it is none that browsers know.
    """
    image = await calls.ask(calls.render.GetImage, pb.GetImageRequest(name=name))
    if image.size_bytes > _LIMIT_BYTES:
        return RedirectResponse(_INSTEAD, 307, _HEADERS)
    parts = calls.image(name)
    begin = await anext(parts, b"")
    media_type = _media_type(begin)
    if media_type is None:
        await parts.aclose()
        raise unknown("picture of", name)
    headers = {**_HEADERS, "content-length": str(image.size_bytes)}
    return StreamingResponse(joined(begin, parts), headers=headers, media_type=media_type)


def _media_type(begin: bytes) -> str | None:
    if begin.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if begin.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if begin[:4] == b"RIFF" and begin[8:12] == b"WEBP":
        return "image/webp"
    return None


class FirstImages:
    """The image of each job's first shot, which stays as it is."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()

    async def of(self, calls: Calls, job: resources_pb2.Job) -> str:
        """As images/{sha256}; empty where the job was deleted in between."""
        if job.name not in self._known:
            shots = await calls.first_shots([job])
            if not shots:
                return ""
            self._known[job.name] = shots[0].image
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return self._known[job.name]
