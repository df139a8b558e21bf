"""A job on the farm, for asyncio. What each method does is told once, in svdfarm.jobs."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path

from google.protobuf.field_mask_pb2 import FieldMask

from svdfarm import downloading, watching, wire
from svdfarm.connection import Connection
from svdfarm.errors import SaveFailed
from svdfarm.paging import PAGE_SIZE, list_all
from svdfarm.resources import Attempt, Job, OnBytes, Shot, ShotState, Video
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb


class AsyncFinishedVideo:
    """`FinishedVideo` for asyncio."""

    def __init__(self, connection: Connection, shot: Shot, video: Video) -> None:
        self._connection = connection
        self.shot = shot
        self.video = video

    def __repr__(self) -> str:
        return f"<AsyncFinishedVideo {self.video.name}: {self.shot.output_name}>"

    async def save(
        self, path: str | Path, *, overwrite: bool = False, progress: OnBytes | None = None
    ) -> Path:
        """As `FinishedVideo.save`."""
        target = Path(path)
        if str(path).endswith(os.sep) or await self._connection.aside(target.is_dir):
            target /= _plain(self.shot.output_name)
        await downloading.save(
            self._connection, self.video, target, overwrite=overwrite, progress=progress
        )
        return target

    async def read(self) -> bytes:
        """As `FinishedVideo.read`."""
        parts: list[bytes] = []
        await downloading.receive(self._connection, self.video, parts.append)
        return b"".join(parts)


class AsyncJobHandle:
    """`JobHandle` for asyncio."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = wire.job_name(name)

    def __repr__(self) -> str:
        return f"<AsyncJobHandle {self.name} at {self._connection.settings.address}>"

    async def get(self) -> Job:
        """As `JobHandle.get`."""
        farm = self._connection
        request = rpc.GetJobRequest(name=self.name)
        return wire.job_from_wire(await farm.call(farm.render.GetJob, request))

    def shots(self) -> AsyncGenerator[Shot, None]:
        """As `JobHandle.shots`."""
        farm = self._connection
        request = rpc.ListShotsRequest(parent=self.name, page_size=PAGE_SIZE)
        return list_all(
            farm, farm.render.ListShots, request, lambda page: map(wire.shot_from_wire, page.shots)
        )

    def attempts(
        self, shot: Shot | None = None, *, log: bool = False
    ) -> AsyncGenerator[Attempt, None]:
        """As `JobHandle.attempts`."""
        farm = self._connection
        parent = shot.name if shot else self.name
        request = rpc.ListAttemptsRequest(parent=parent, page_size=PAGE_SIZE, log=log)
        return list_all(
            farm,
            farm.render.ListAttempts,
            request,
            lambda page: map(wire.attempt_from_wire, page.attempts),
        )

    def watch(
        self, timeout_s: float | None = None, *, previews: bool = False
    ) -> AsyncGenerator[Job | Shot, None]:
        """As `JobHandle.watch`."""
        return watching.watch(self._connection, self.name, timeout_s, previews=previews)

    async def videos(
        self, timeout_s: float | None = None
    ) -> AsyncGenerator[AsyncFinishedVideo, None]:
        """As `JobHandle.videos`."""
        seen = set()
        async with aclosing(self.watch(timeout_s)) as events:
            async for event in events:
                if isinstance(event, Shot) and event.video is not None and event.name not in seen:
                    seen.add(event.name)
                    yield self.finished(event)

    def finished(self, shot: Shot) -> AsyncFinishedVideo:
        """As `JobHandle.finished`."""
        if shot.state is not ShotState.SUCCEEDED or shot.video is None:
            raise SaveFailed(f"{shot.name} is {shot.state}: it has no video")
        return AsyncFinishedVideo(self._connection, shot, shot.video)

    async def wait(self, timeout_s: float | None = None) -> Job:
        """As `JobHandle.wait`."""
        ended = None
        async with aclosing(self.watch(timeout_s)) as events:
            async for event in events:
                if isinstance(event, Job):
                    ended = event
        return ended if ended is not None and ended.state.final else await self.get()

    async def cancel(self, shots: Iterable[str | Shot] | None = None) -> Job:
        """As `JobHandle.cancel`."""
        farm = self._connection
        named = None if shots is None else _names(shots)
        if named == []:  # on the wire that is the whole job
            return await self.get()
        request = rpc.CancelJobRequest(name=self.name, shots=named)
        return wire.job_from_wire(await farm.call(farm.render.CancelJob, request))

    async def pause(self) -> Job:
        """As `JobHandle.pause`."""
        farm = self._connection
        request = rpc.PauseJobRequest(name=self.name)
        return wire.job_from_wire(await farm.call(farm.render.PauseJob, request))

    async def resume(self) -> Job:
        """As `JobHandle.resume`."""
        farm = self._connection
        request = rpc.ResumeJobRequest(name=self.name)
        return wire.job_from_wire(await farm.call(farm.render.ResumeJob, request))

    async def requeue(
        self,
        states: Iterable[ShotState] = (ShotState.FAILED,),
        shots: Iterable[str | Shot] = (),
    ) -> int:
        """As `JobHandle.requeue`."""
        farm = self._connection
        request = rpc.RequeueJobRequest(
            name=self.name,
            states=[pb.Shot.State.Value(state) for state in states],
            shots=_names(shots),
        )
        return (await farm.call(farm.render.RequeueJob, request)).requeued_shot_count

    async def update(self, *, priority: int | None = None, display_name: str | None = None) -> Job:
        """As `JobHandle.update`."""
        farm = self._connection
        given = {"priority": priority, "display_name": display_name}
        changes = {name: value for name, value in given.items() if value is not None}
        request = rpc.UpdateJobRequest(
            job=pb.Job(name=self.name, priority=priority or 0, display_name=display_name or ""),
            update_mask=FieldMask(paths=list(changes)),
        )
        return wire.job_from_wire(await farm.call(farm.render.UpdateJob, request))

    async def delete(self) -> None:
        """As `JobHandle.delete`."""
        farm = self._connection
        await farm.call(farm.render.DeleteJob, rpc.DeleteJobRequest(name=self.name))


def _names(shots: Iterable[str | Shot]) -> list[str]:
    return [shot.name if isinstance(shot, Shot) else shot for shot in shots]


def _plain(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise SaveFailed(f"the farm names the file {name!r}, which is no plain file name")
    return name
