"""WatchJob: a job and its shots as they are, then whole resources as they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import grpc

from farm.gateway.convert import job_to_wire, shot_to_wire
from farm.gateway.feed import Feed
from farm.gateway.wall import Refusal, invalid
from farm.jobs.places import Seal
from farm.jobs.states import FINAL_JOB_STATES, ShotState
from farm.store import changes, jobs, tenants
from farm.store.changes import Changes
from farm.store.records import Job, Shot, ShotKey
from farm.store.store import Store
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2

# At most this often to one watcher: steps of small models come faster than anybody reads.
_MIN_INTERVAL_S = 0.2


async def watch_job(
    store: Store,
    feed: Feed,
    job_id: str,
    sees: str | None,
    resume_token: str,
    previews: bool,
    notice: Callable[[Job], Awaitable[str]],
    stopping: Callable[[], bool],
) -> AsyncGenerator[pb.WatchJobResponse, None]:
    """Everything from `resume_token` on; the last message is the job in its final state.

    Raises NotFound, before anybody is told that the job is watched.
    """
    await store.database.read(jobs.get_job, job_id, sees=sees)
    seal = await store.database.read(tenants.seal, sees)
    with feed.watch(job_id, previews=previews) as changed:
        watcher = _Watcher(store, feed, job_id, sees, seal, notice, previews=previews)
        start = watcher.resume(_seq(resume_token, seal)) if resume_token else watcher.start()
        async for response in start:
            yield response
        while not watcher.ended:
            await changed.wait()
            changed.clear()
            if stopping():
                raise Refusal(
                    grpc.StatusCode.UNAVAILABLE, "the gateway is stopping; watch again", "STOPPING"
                )
            async for response in watcher.look():
                yield response
            await asyncio.sleep(_MIN_INTERVAL_S)


@dataclass(frozen=True)
class _Look:
    """What all watchers see that had read the log equally far."""

    seen: Changes
    job: resources_pb2.Job


class _Watcher:
    """What one caller has been told."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        job_id: str,
        sees: str | None,
        seal: Seal,
        notice: Callable[[Job], Awaitable[str]],
        *,
        previews: bool,
    ) -> None:
        self._store = store
        self._feed = feed
        self._job_id = job_id
        self._sees = sees
        self._seal = seal
        self._notice = notice
        self._previews = previews
        self._seq = 0  # how far the log was read
        self._token = ""  # how far the caller was told: never ahead of what was sent
        self._told_job: resources_pb2.Job | None = None
        # The shots that render now, as they were last told: their progress is not in the log.
        self._rendering: dict[ShotKey, tuple[Shot, resources_pb2.Shot]] = {}
        self.ended = False

    async def start(self) -> AsyncGenerator[pb.WatchJobResponse, None]:
        """The job, its shots page by page, then what changed in between."""
        read = self._store.database.read
        page = await read(changes.snapshot, self._job_id, sees=self._sees)
        self._seq = page.seq
        if page.job.state not in FINAL_JOB_STATES:  # that comes last, when all else was told
            yield self._tell_job(job_to_wire(page.job, await self._notice(page.job)))
        while True:
            for shot in page.shots:
                yield self._tell_shot(shot)
            if not page.more:
                break
            after = page.shots[-1].key.number
            page = await read(changes.snapshot, self._job_id, after, sees=self._sees)
        async for response in self.look(always_job=True):
            yield response

    async def resume(self, seq: int) -> AsyncGenerator[pb.WatchJobResponse, None]:
        """What changed behind `seq`, the shots that render, and the job."""
        if seq > await self._store.database.read(changes.newest):
            raise Refusal(
                grpc.StatusCode.OUT_OF_RANGE,
                "the resume_token is of another time of this farm, as before a restored backup; "
                "watch again without one",
                "RESUME_TOKEN_UNKNOWN",
            )
        self._seq, self._token = seq, self._seal.write(seq)
        for shot in await self._store.database.read(
            changes.rendering, self._job_id, sees=self._sees
        ):
            yield self._tell_shot(shot)
        async for response in self.look(always_job=True):
            yield response

    async def look(self, *, always_job: bool = False) -> AsyncGenerator[pb.WatchJobResponse, None]:
        """What is new: shots in the log, steps, and last the job."""
        more = True
        while more:
            look = await self._feed.ask(self._job_id, (self._seq, self._sees), self._look)
            seen = look.seen
            self._seq, more = seen.seq, seen.more
            for shot in seen.shots[:-1]:
                yield self._tell_shot(shot)
            self._token = self._seal.write(self._seq)
            for shot in seen.shots[-1:]:
                yield self._tell_shot(shot)
        for shot, told in list(self._rendering.values()):
            progress = self._progress(shot)
            if progress is not None and progress != told.progress:
                yield self._tell_shot(shot)
        final = seen.job.state in FINAL_JOB_STATES
        if look.job != self._told_job or (always_job and final):
            yield self._tell_job(look.job)
        self.ended = final

    async def _look(self) -> _Look:
        seen = await self._store.database.read(
            changes.changes_since, self._job_id, self._seq, sees=self._sees
        )
        return _Look(seen, job_to_wire(seen.job, await self._notice(seen.job)))

    def _tell_job(self, job: resources_pb2.Job) -> pb.WatchJobResponse:
        self._told_job = job
        return pb.WatchJobResponse(job=job, resume_token=self._token)

    def _tell_shot(self, shot: Shot) -> pb.WatchJobResponse:
        message = shot_to_wire(shot, self._progress(shot))
        if shot.state is ShotState.RENDERING:
            self._rendering[shot.key] = (shot, message)
        else:
            self._rendering.pop(shot.key, None)
        return pb.WatchJobResponse(shot=message, resume_token=self._token)

    def _progress(self, shot: Shot) -> resources_pb2.Progress | None:
        if shot.state is not ShotState.RENDERING:
            return None
        return self._feed.progress(shot.key, shot.attempt_count, preview=self._previews)


def _seq(resume_token: str, seal: Seal) -> int:
    seq = seal.read(resume_token)
    if seq is None:
        raise invalid("resume_token", "is not a token of this farm; use it as it came")
    return seq
