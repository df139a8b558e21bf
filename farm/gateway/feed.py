"""Wakes the watchers: of a job after each commit that changed it, and at each step."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from farm.store.records import Lease, ShotKey
from svdfarm.v1 import resources_pb2 as pb


class Feed:
    """Who watches which job, and how far the shots that render are.

    Progress lives here and nowhere else: it is worth no fsync, and is gone with the attempt.
    """

    def __init__(self) -> None:
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._progress: dict[ShotKey, tuple[int, pb.Progress]] = {}

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set, from any cause, when the job may look different."""
        event = asyncio.Event()
        self._watchers[job_id].add(event)
        try:
            yield event
        finally:
            self._watchers[job_id].discard(event)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def wake(self, job_id: str) -> None:
        """Tells a job's watchers to look again."""
        for event in self._watchers.get(job_id, ()):
            event.set()

    def wake_all(self) -> None:
        """Tells every watcher to look again: workers came or went, or the gateway stops."""
        for job_id in list(self._watchers):
            self.wake(job_id)

    def set_progress(self, lease: Lease, progress: pb.Progress) -> None:
        """Notes how far an attempt is."""
        self._progress[lease.shot] = (lease.attempt, progress)
        self.wake(lease.shot.job_id)

    def end_progress(self, lease: Lease) -> None:
        """Forgets an attempt."""
        attempt, _ = self._progress.get(lease.shot, (None, None))
        if attempt == lease.attempt:
            del self._progress[lease.shot]

    def progress(self, key: ShotKey, attempt: int) -> pb.Progress | None:
        """How far this attempt is, where its worker has said so."""
        noted, progress = self._progress.get(key, (None, None))
        return progress if noted == attempt else None
