"""The way in: a client of one farm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from svdfarm import downloading, submitting, wire
from svdfarm.connection import Connection, OnWaiting
from svdfarm.errors import NotFound
from svdfarm.jobs import JobHandle
from svdfarm.params import RenderParams
from svdfarm.resources import Job, JobState, Pruned, Video, Worker
from svdfarm.submitting import Submission
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import worker_service_pb2 as worker_rpc

_PAGE_SIZE = 1000


class Client:
    """A client of the farm at `address`.

    Every method raises errors of `svdfarm.errors` only. A farm that is away is tried again for
    `connect_timeout_s`; nothing else is ever repeated. Threads may share a client.

        with Client() as client:
            for video in client.submit("rocket.jpg", params=RenderParams(seed=42)).videos():
                video.save("out")
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        token: str | None = None,
        *,
        connect_timeout_s: float = 20.0,
        call_timeout_s: float = 60.0,
        on_waiting: OnWaiting | None = None,
    ) -> None:
        """`on_waiting(reason, limit_s)` is called when waiting for an absent farm begins."""
        self._connection = Connection(
            address,
            token,
            connect_timeout_s=connect_timeout_s,
            call_timeout_s=call_timeout_s,
            on_waiting=on_waiting,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and every stream on it. Jobs go on."""
        self._connection.close()

    def submit(
        self,
        shots: Submission | Iterable[Submission],
        *,
        params: RenderParams | None = None,
        display_name: str = "",
        priority: int = 0,
        request_id: str | None = None,
    ) -> JobHandle:
        """Submits one job: all shots are accepted, or an error is raised and none is.

        `shots` is an image, a NewShot, or any number of either; `params` is for bare images. All
        images are read and checked before anything is sent. A second submission with the same
        `request_id` (a UUID4) returns the first one's job.
        """
        prepared = submitting.prepare(shots, params or RenderParams())
        submitting.upload(self._connection, prepared)
        job = submitting.create(
            self._connection,
            prepared,
            display_name=display_name,
            priority=priority,
            request_id=request_id,
        )
        return JobHandle(self._connection, job.name)

    def job(self, name: str) -> JobHandle:
        """The job called `jobs/ID` or `ID`."""
        return JobHandle(self._connection, name)

    def jobs(self) -> Iterator[Job]:
        """All jobs, newest first."""
        request = rpc.ListJobsRequest(page_size=_PAGE_SIZE)
        while True:
            page = self._connection.call(self._connection.render.ListJobs, request)
            yield from map(wire.job_from_wire, page.jobs)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def prune(
        self, older_than: timedelta, states: Iterable[JobState] = (), *, dry_run: bool = False
    ) -> Pruned:
        """Deletes jobs that ended longer ago than that, and what nothing uses; tells how much.

        `states` narrows the jobs down to those that ended so. With `dry_run` nothing is deleted.
        Raises Rejected for a state in which no job ends.
        """
        request = rpc.PruneJobsRequest(
            states=[pb.Job.State.Value(state) for state in states], dry_run=dry_run
        )
        request.older_than.FromTimedelta(older_than)
        answer = self._connection.call(self._connection.render.PruneJobs, request)
        return wire.pruned_from_wire(answer)

    def workers(self) -> Iterator[Worker]:
        """All workers that the farm knows of."""
        request = worker_rpc.ListWorkersRequest(page_size=_PAGE_SIZE)
        while True:
            page = self._connection.call(self._connection.workers.ListWorkers, request)
            yield from map(wire.worker_from_wire, page.workers)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def drain_worker(self, name: str) -> Worker:
        """Lets a worker end its shot and gives it no other. Raises NotFound."""
        request = worker_rpc.DrainWorkerRequest(name=wire.worker_name(name))
        return wire.worker_from_wire(
            self._connection.call(self._connection.workers.DrainWorker, request)
        )

    def uncordon_worker(self, name: str) -> Worker:
        """Gives a cordoned worker shots again. Raises NotFound."""
        request = worker_rpc.UncordonWorkerRequest(name=wire.worker_name(name))
        return wire.worker_from_wire(
            self._connection.call(self._connection.workers.UncordonWorker, request)
        )

    def download(
        self,
        video: str | Video,
        path: str | Path,
        *,
        overwrite: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Path:
        """Saves a video (`jobs/ID/shots/ID/video`, or a Video) at `path`, whole or not at all.

        A broken download goes on where it stopped, and size and sha256 are checked. Raises
        TargetExists, DiskFull, DownloadBroken or SaveFailed.
        """
        found = video if isinstance(video, Video) else self._video(video)
        downloading.save(
            self._connection, found, Path(path), overwrite=overwrite, progress=progress
        )
        return Path(path)

    def _video(self, name: str) -> Video:
        request = rpc.GetShotRequest(name=name.removesuffix("/video"))
        shot = wire.shot_from_wire(self._connection.call(self._connection.render.GetShot, request))
        if shot.video is None:
            raise NotFound(f"{shot.name} is {shot.state}: it has no video")
        return replace(shot.video, name=f"{shot.name}/video")
