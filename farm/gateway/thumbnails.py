"""Images made small, for pages that show many of them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from farm.gateway.convert import image_to_wire
from farm.gateway.wall import invalid
from farm.render.errors import ImageRejected
from farm.render.sandbox.images import make_thumbnail
from farm.store import inputs
from farm.store.errors import NotFound
from farm.store.records import image_key
from farm.store.store import Store
from svdfarm.v1 import resources_pb2

_SIDES_PX = range(16, 1025)
_KEPT_BYTES = 32 * 2**20


class Thumbnails:
    """Makes each once, and keeps those that were asked for last."""

    def __init__(self, store: Store, decoders: asyncio.Semaphore) -> None:
        """`decoders` says how many images are decoded at a time, uploads among them."""
        self._store = store
        self._decoders = decoders
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._kept_bytes = 0

    async def get(self, sha256: str, side_px: int, sees: str | None) -> resources_pb2.Image:
        """An image with a JPEG no wider and no higher than `side_px`. Raises NotFound, Refusal."""
        if side_px not in _SIDES_PX:
            allowed = f"0, or from {_SIDES_PX[0]} to {_SIDES_PX[-1]}"
            raise invalid("thumbnail_px", f"is {side_px}; allowed: {allowed}")
        image = await self._store.database.read(inputs.get_image, sha256, sees=sees)
        key = (sha256, side_px)
        if key not in self._kept:
            async with self._decoders:
                if key not in self._kept:  # while this one waited
                    self._keep(key, await self._make(*key))
        self._kept.move_to_end(key)
        wire = image_to_wire(image)
        wire.thumbnail = self._kept[key]
        return wire

    async def _make(self, sha256: str, side_px: int) -> bytes:
        try:
            image = await self._store.blobs.read_whole(image_key(sha256))
            making = asyncio.ensure_future(asyncio.to_thread(make_thumbnail, image, side_px))
            try:
                return await asyncio.shield(making)
            except asyncio.CancelledError:  # its place is free when its process has ended
                await asyncio.wait([making])
                making.exception()  # taken note of, and of no use to anybody
                raise
        except (FileNotFoundError, ImageRejected) as error:
            raise NotFound("image", f"images/{sha256}") from error

    def _keep(self, key: tuple[str, int], made: bytes) -> None:
        self._kept[key] = made
        self._kept_bytes += len(made)
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._kept_bytes -= len(gone)
