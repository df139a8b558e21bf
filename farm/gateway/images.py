"""Reads the images of shots that are sent out, each once for the shots that come close together."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from farm.jobs.retry import Reason
from farm.store.errors import StoreAway
from farm.store.records import image_key
from farm.store.store import Store

_KEPT_BYTES = 64 * 2**20
_AT_ONCE = 8  # in memory on their way, up to 16 MiB each
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class NoImage:
    """Why there is none."""

    reason: Reason
    message: str


class Images:
    """The images of the store; while they cannot be read, shots wait, each time twice as long."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[str, bytes] = OrderedDict()  # the one asked for last is last
        self._pause_s = _FIRST_PAUSE_S / 2
        self._not_before_s = 0.0

    @property
    def pause_s(self) -> float:
        """How long to wait before the next one is asked for."""
        return max(0.0, self._not_before_s - asyncio.get_running_loop().time())

    async def get(self, sha256: str) -> bytes | NoImage:
        """The file as it was uploaded, or why its shot cannot be sent."""
        if sha256 in self._kept:
            self._kept.move_to_end(sha256)
            return self._kept[sha256]
        try:
            async with self._reads:
                image = await self._read(sha256)
        except (StoreAway, OSError) as error:
            now_s = asyncio.get_running_loop().time()
            if now_s >= self._not_before_s:  # not once more for each image of one outage
                self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
                self._not_before_s = now_s + self._pause_s
            return NoImage(Reason.STORE_AWAY, str(error))
        if image is None:
            return NoImage(Reason.IMAGE_REJECTED, "the image is gone")
        self._pause_s = _FIRST_PAUSE_S / 2
        self._keep(sha256, image)
        return image

    async def _read(self, sha256: str) -> bytes | None:
        blobs, key = self._store.blobs, image_key(sha256)
        try:
            return await blobs.read_whole(key)
        except FileNotFoundError:
            if await asyncio.to_thread(blobs.farm_id) is None:
                raise  # a folder that is gone is not the image's fault
            try:  # it may have come back in between
                return await blobs.read_whole(key)
            except FileNotFoundError:
                return None

    def _keep(self, sha256: str, image: bytes) -> None:
        self._kept[sha256] = image
        while sum(map(len, self._kept.values())) > _KEPT_BYTES:
            self._kept.popitem(last=False)
