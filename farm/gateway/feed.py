"""Wakes the watchers: of a job after each commit that changed it, and at each step.

A thousand watchers of one job ask the same question at the same moment: it is answered once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from farm.store.records import Lease, ShotKey
from svdfarm.v1 import resources_pb2 as pb

T = TypeVar("T")


@dataclass
class _Watched:
    """A job that somebody watches."""

    events: set[asyncio.Event] = field(default_factory=set)
    # What its watchers have asked since it was woken last, by question.
    answers: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)


class Feed:
    """Who watches which job, and how far the shots that render are.

    Progress lives here and nowhere else: it is worth no fsync, and is gone with the attempt.
    """

    def __init__(self) -> None:
        self._watched: defaultdict[str, _Watched] = defaultdict(_Watched)
        self._progress: dict[ShotKey, tuple[int, pb.Progress]] = {}

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set, from any cause, when the job may look different."""
        event = asyncio.Event()
        self._watched[job_id].events.add(event)
        try:
            yield event
        finally:
            self._watched[job_id].events.discard(event)
            if not self._watched[job_id].events:
                del self._watched[job_id]

    async def ask(self, job_id: str, question: Hashable, answer: Callable[[], Awaitable[T]]) -> T:
        """What `answer` finds out, once for all watchers of a job until it is woken again.

        Who joins an answer under way is woken, and asks again, if the job changes meanwhile.
        """
        answers = self._watched[job_id].answers
        if question not in answers:
            answers[question] = asyncio.ensure_future(answer())
        task: asyncio.Task[T] = answers[question]
        try:
            return await asyncio.shield(task)  # one who goes away takes it from nobody
        except Exception:
            if answers.get(question) is task:
                del answers[question]
            raise

    def wake(self, job_id: str) -> None:
        """Tells a job's watchers to look again."""
        if job_id in self._watched:
            self._watched[job_id].answers.clear()
            for event in self._watched[job_id].events:
                event.set()

    def wake_all(self) -> None:
        """Tells every watcher to look again: workers came or went, or the gateway stops."""
        for job_id in list(self._watched):
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
