"""The pictures that shots are made from, small: farm.render.sandbox makes them."""

from __future__ import annotations

from collections import OrderedDict

from starlette.responses import Response

from farm.web.farm import Calls
from farm.web.refusals import unknown
from svdfarm.v1 import resources_pb2

_SIDES_PX = (160, 640)  # in a row and on a card, each for screens with two pixels for one
_KNOWN = 5000
_HEADERS = {"cache-control": "private, max-age=86400, immutable"}


async def send_thumbnail(calls: Calls, name: str, side_px: int) -> Response:
    """One of `images/{sha256}`, for who may see it. Raises AioRpcError, and Refused, 404."""
    if side_px not in _SIDES_PX:
        raise unknown("size", f"{side_px} px")
    data = await calls.thumbnail(name, side_px)
    return Response(data, headers=_HEADERS, media_type="image/jpeg")


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
