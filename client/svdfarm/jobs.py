"""A job on the farm, to watch, wait for, collect, pause, cancel and delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from google.protobuf.field_mask_pb2 import FieldMask

from svdfarm import downloading, watching, wire
from svdfarm.connection import Connection
from svdfarm.errors import SaveFailed
from svdfarm.resources import Job, Shot, ShotState, Video
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb

_PAGE_SIZE = 1000


class FinishedVideo:
    """A video that the farm has: `shot` and `video` describe it, `save` and `read` fetch it."""

    def __init__(self, connection: Connection, shot: Shot, video: Video) -> None:
        self._connection = connection
        self.shot = shot
        self.video = video

    def __repr__(self) -> str:
        return f"<FinishedVideo {self.video.name}: {self.shot.output_name}>"

    def save(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Path:
        """Saves the video, into a folder under the shot's output name, and returns where.

        The file appears whole or not at all; one that is there with the same bytes is left.
        Raises TargetExists, DiskFull, DownloadBroken or SaveFailed.
        """
        path = Path(path)
        if path.is_dir():
            path /= _plain(self.shot.output_name)
        downloading.save(self._connection, self.video, path, overwrite=overwrite, progress=progress)
        return path

    def read(self) -> bytes:
        """The video's bytes, checked."""
        return b"".join(downloading.receive(self._connection, self.video))


class JobHandle:
    """One job. Nothing is asked of the farm until a method is called."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = wire.job_name(name)

    def __repr__(self) -> str:
        return f"<JobHandle {self.name} at {self._connection.address}>"

    def get(self) -> Job:
        """The job as it is now."""
        call, render = self._connection.call, self._connection.render
        return wire.job_from_wire(call(render.GetJob, rpc.GetJobRequest(name=self.name)))

    def shots(self) -> Iterator[Shot]:
        """The job's shots as they are now, in the order of submission."""
        request = rpc.ListShotsRequest(parent=self.name, page_size=_PAGE_SIZE)
        while True:
            page = self._connection.call(self._connection.render.ListShots, request)
            yield from map(wire.shot_from_wire, page.shots)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch(self, *, timeout_s: float | None = None) -> Iterator[Job | Shot]:
        """The job and its shots as they are, then each after every change, until the job ends.

        Goes on where it stopped after a break. Raises DeadlineExceeded after `timeout_s`.
        """
        return watching.watch(self._connection, self.name, timeout_s=timeout_s)

    def videos(self, *, timeout_s: float | None = None) -> Iterator[FinishedVideo]:
        """Each video as it is finished, until the job has ended. Failed shots give none."""
        seen = set()
        for event in self.watch(timeout_s=timeout_s):
            if isinstance(event, Shot) and event.video is not None and event.name not in seen:
                seen.add(event.name)
                yield self.finished(event)

    def finished(self, shot: Shot) -> FinishedVideo:
        """The video of a shot that has succeeded. Raises SaveFailed for any other."""
        if shot.state is not ShotState.SUCCEEDED or shot.video is None:
            raise SaveFailed(f"{shot.name} is {shot.state}: it has no video")
        return FinishedVideo(self._connection, shot, shot.video)

    def wait(self, *, timeout_s: float | None = None) -> Job:
        """The job when it has ended. Raises DeadlineExceeded after `timeout_s`."""
        ended = None
        for event in self.watch(timeout_s=timeout_s):
            if isinstance(event, Job):
                ended = event
        return ended if ended is not None and ended.state.final else self.get()

    def cancel(self) -> Job:
        """Asks for cancellation and returns at once; a job that has ended stays as it is."""
        call, render = self._connection.call, self._connection.render
        return wire.job_from_wire(call(render.CancelJob, rpc.CancelJobRequest(name=self.name)))

    def pause(self) -> Job:
        """Starts no shot from now on; those on a GPU finish. A job that has ended stays as it is.

        Raises Rejected for a job that is being cancelled.
        """
        call, render = self._connection.call, self._connection.render
        return wire.job_from_wire(call(render.PauseJob, rpc.PauseJobRequest(name=self.name)))

    def resume(self) -> Job:
        """Lets a paused job go on; any other stays as it is. Raises as `pause`."""
        call, render = self._connection.call, self._connection.render
        return wire.job_from_wire(call(render.ResumeJob, rpc.ResumeJobRequest(name=self.name)))

    def requeue(
        self,
        states: Iterable[ShotState] = (ShotState.FAILED,),
        shots: Iterable[str | Shot] = (),
    ) -> int:
        """Queues shots again that ended in `states`, FAILED or CANCELLED; returns how many.

        `shots` (or their names) narrows them down. Called again it changes nothing. Raises Rejected
        for a job that is being cancelled, and for a shot of `shots` that ended otherwise.
        """
        request = rpc.RequeueJobRequest(
            name=self.name,
            states=[pb.Shot.State.Value(state) for state in states],
            shots=[shot.name if isinstance(shot, Shot) else shot for shot in shots],
        )
        answer = self._connection.call(self._connection.render.RequeueJob, request)
        return answer.requeued_shot_count

    def update(self, *, priority: int | None = None, display_name: str | None = None) -> Job:
        """Changes what is given; shots that wait are served by the new priority, from 0 to 100."""
        given = {"priority": priority, "display_name": display_name}
        changes = {name: value for name, value in given.items() if value is not None}
        request = rpc.UpdateJobRequest(
            job=pb.Job(name=self.name, priority=priority or 0, display_name=display_name or ""),
            update_mask=FieldMask(paths=list(changes)),
        )
        return wire.job_from_wire(self._connection.call(self._connection.render.UpdateJob, request))

    def delete(self) -> None:
        """Deletes the job, its shots and its videos. Raises Rejected for one that has not ended."""
        request = rpc.DeleteJobRequest(name=self.name)
        self._connection.call(self._connection.render.DeleteJob, request)


def _plain(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise SaveFailed(f"the farm names the file {name!r}, which is no plain file name")
    return name
