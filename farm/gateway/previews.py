"""The newest preview of each shot that renders: in memory alone, and not more than so much."""

from __future__ import annotations

from farm.jobs.params import PREVIEW_LIMIT_BYTES
from farm.store.records import Lease, ShotKey

_LIMIT_BYTES = 16 * 2**20  # in all: those of a thousand shots at least


class Previews:
    """Where they would be too many, those go first that have been there for longest."""

    def __init__(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._newest: dict[ShotKey, tuple[int, bytes]] = {}  # with the attempt; in order of age

    def put(self, lease: Lease, preview: bytes) -> bool:
        """Keeps a preview of an attempt in place of an older one. False: it is too large."""
        if len(preview) > PREVIEW_LIMIT_BYTES:
            return False
        self._drop(lease.shot)
        self._newest[lease.shot] = (lease.attempt, preview)
        self._size_bytes += len(preview)
        while self._size_bytes > self._limit_bytes:
            self._drop(next(iter(self._newest)))
        return True

    def get(self, shot: ShotKey, attempt: int) -> bytes:
        """The newest one of this attempt; empty where there is none."""
        noted, preview = self._newest.get(shot, (None, b""))
        return preview if noted == attempt else b""

    def end(self, lease: Lease) -> None:
        """Forgets an attempt."""
        attempt, _ = self._newest.get(lease.shot, (None, b""))
        if attempt == lease.attempt:
            self._drop(lease.shot)

    def _drop(self, shot: ShotKey) -> None:
        _, preview = self._newest.pop(shot, (None, b""))
        self._size_bytes -= len(preview)
