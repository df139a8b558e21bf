"""Small pictures of the images that shots are made from."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict

from PIL import Image, ImageOps

from farm.web.farm import Calls
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2

_SIDE_PX = 480
_KEPT_BYTES = 32 * 2**20
_KNOWN = 5000


class Thumbs:
    """JPEGs by the SHA-256 of the image; those that were asked for last are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._decoders = asyncio.Semaphore(2)

    async def get(self, calls: Calls, name: str) -> bytes:
        """One of `images/{sha256}`, for who may see it. Raises AioRpcError."""
        await calls.ask(calls.render.GetImage, pb.GetImageRequest(name=name))
        if name not in self._kept:
            async with self._decoders:
                image = await calls.image(name)
                self._kept[name] = await asyncio.to_thread(_smaller, image)
            while sum(map(len, self._kept.values())) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]


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


def _smaller(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        image.draft("RGB", (2 * _SIDE_PX, 2 * _SIDE_PX))  # a JPEG is decoded small
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((_SIDE_PX, _SIDE_PX))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=82)
    return written.getvalue()
