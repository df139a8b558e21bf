"""Wakes the watchers: of a job after each commit that changed it, and at each step.

A thousand watchers of one job ask the same question at the same moment: it is answered once.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from farm.gateway.previews import Previews
from farm.store.records import Lease, ShotKey
from svdfarm.v1 import resources_pb2 as pb

T = TypeVar("T")

_ANSWERS = 8  # of a job that are kept: watchers who read the log equally far ask the same

_PREVIEWS_A_CLIP = 5


@dataclass
class _Watched:
    """A job that somebody watches."""

    events: set[asyncio.Event] = field(default_factory=set)
    previews: int = 0  # how many of them want to see previews
    # What its watchers have asked since it was woken last, by question.
    answers: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)


@dataclass
class _Noted:
    """How far an attempt is."""

    attempt: int
    progress: pb.Progress  # without its preview
    asked_at_step: int | None = None  # for a preview


class Feed:
    """Who watches which job, and how far the shots that render are.

    Progress lives here and nowhere else: it is worth no fsync, and is gone with the attempt.
    """

    def __init__(self) -> None:
        self._watched: defaultdict[str, _Watched] = defaultdict(_Watched)
        self._progress: dict[ShotKey, _Noted] = {}
        self._previews = Previews()

    @contextmanager
    def watch(self, job_id: str, *, previews: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set, from any cause, when the job may look different.

        Until it is left, with `previews`, workers are asked for them.
        """
        event = asyncio.Event()
        self._watched[job_id].events.add(event)
        self._watched[job_id].previews += previews
        try:
            yield event
        finally:
            self._watched[job_id].events.discard(event)
            self._watched[job_id].previews -= previews
            if not self._watched[job_id].events:
                del self._watched[job_id]

    @property
    def watcher_count(self) -> int:
        """How many watch, all jobs together."""
        return sum(len(watched.events) for watched in self._watched.values())

    async def ask(self, job_id: str, question: Hashable, answer: Callable[[], Awaitable[T]]) -> T:
        """What `answer` finds out, once for all watchers of a job until it is woken again.

        Who joins an answer under way is woken, and asks again, if the job changes meanwhile.
        """
        answers = self._watched[job_id].answers
        if question not in answers:
            if len(answers) >= _ANSWERS:
                del answers[next(iter(answers))]
            answers[question] = asyncio.ensure_future(answer())
            answers[question].add_done_callback(partial(_drop_failed, answers, question))
        task: asyncio.Task[T] = answers[question]
        return await asyncio.shield(task)  # one who goes away takes it from nobody

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

    def set_progress(self, lease: Lease, progress: pb.Progress) -> bool:
        """Notes how far an attempt is. False: its preview is too large, and was left out."""
        told = pb.Progress(step=progress.step, step_count=progress.step_count)
        noted = self._progress.get(lease.shot)
        if noted is not None and noted.attempt == lease.attempt:
            noted.progress = told
        else:
            self._progress[lease.shot] = _Noted(lease.attempt, told)
        fits = not progress.preview or self._previews.put(lease, progress.preview)
        self.wake(lease.shot.job_id)
        return fits

    def wants_preview(self, lease: Lease) -> bool:
        """Whether to ask for a preview now, as somebody watches and the last is some steps old."""
        watched, noted = self._watched.get(lease.shot.job_id), self._progress[lease.shot]
        step, step_count = noted.progress.step, noted.progress.step_count
        if watched is None or not watched.previews or step >= step_count:
            return False
        every = math.ceil(step_count / _PREVIEWS_A_CLIP)
        if noted.asked_at_step is not None and step < noted.asked_at_step + every:
            return False
        noted.asked_at_step = step
        return True

    def end_progress(self, lease: Lease) -> None:
        """Forgets an attempt."""
        noted = self._progress.get(lease.shot)
        if noted is not None and noted.attempt == lease.attempt:
            del self._progress[lease.shot]
        self._previews.end(lease)

    def progress(self, key: ShotKey, attempt: int, *, preview: bool = False) -> pb.Progress | None:
        """How far this attempt is, where its worker has said so; with its newest `preview`."""
        noted = self._progress.get(key)
        if noted is None or noted.attempt != attempt:
            return None
        if not preview:
            return noted.progress
        step, step_count = noted.progress.step, noted.progress.step_count
        newest = self._previews.get(key, attempt)
        return pb.Progress(step=step, step_count=step_count, preview=newest)


def _drop_failed(
    answers: dict[Hashable, asyncio.Task[Any]], question: Hashable, task: asyncio.Task[Any]
) -> None:
    if (task.cancelled() or task.exception()) and answers.get(question) is task:
        del answers[question]
