"""RenderService: what users talk to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import grpc
import structlog
from google.protobuf.empty_pb2 import Empty

from farm import tracing
from farm.gateway import intake, names, notices
from farm.gateway.calling import who
from farm.gateway.collector import Collector
from farm.gateway.config import Limits
from farm.gateway.convert import (
    attempt_to_wire,
    estimate_to_wire,
    image_to_wire,
    job_to_wire,
    pruned_to_wire,
    shot_to_wire,
)
from farm.gateway.dispatch import Dispatcher
from farm.gateway.feed import Feed
from farm.gateway.metrics import Metrics
from farm.gateway.roster import Roster
from farm.gateway.thumbnails import Thumbnails
from farm.gateway.traces import Traces
from farm.gateway.wall import Context, Refusal, invalid, streaming, unary
from farm.gateway.watch import watch_job
from farm.jobs.estimate import Pace, estimate, work_of
from farm.jobs.params import KNOWN_MODELS, SVD_XT, ModelInfo
from farm.jobs.states import ShotState
from farm.jobs.tiers import Tier, model_of, served_as
from farm.jobs.trace_context import ids as trace
from farm.jobs.webhooks import Webhooks
from farm.store import attempts, cached, deliveries, history, inputs, jobs, tenants
from farm.store.errors import NotFound
from farm.store.records import Job, NewJob, Shot, image_key
from farm.store.requeue import requeue_job
from farm.store.room import Room
from farm.store.store import Store
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc as pb_grpc
from svdfarm.v1 import resources_pb2

log = structlog.get_logger()
# More than a shot has: a page token is the shot's number times this, and the try's.
_ATTEMPTS = 10**6
_LOGS_A_PAGE = 100  # of 16 KiB each


class RenderService(pb_grpc.RenderServiceServicer):
    """Turns images into videos."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        feed: Feed,
        dispatcher: Dispatcher,
        collector: Collector,
        room: Room,
        metrics: Metrics,
        traces: Traces,
        *,
        default_model: str | None,
        webhooks: Webhooks,
        share_cache: bool,
        limits: Limits,
    ) -> None:
        self.limits = limits
        self._store = store
        self._roster = roster
        self._feed = feed
        self._dispatcher = dispatcher
        self._collector = collector
        self._room = room
        self._metrics = metrics
        self._traces = traces
        self._default_model = default_model
        self._webhooks = webhooks
        self._share_cache = share_cache
        self._decoders = asyncio.Semaphore(limits.concurrent_image_decodes)
        self._thumbnails = Thumbnails(store, self._decoders)
        self._stopping = False

    def stop(self) -> None:
        """Ends the watches: their callers come back to the next gateway."""
        self._stopping = True
        self._feed.wake_all()

    @unary
    async def UploadImage(  # noqa: N802 - the proto's name, here and below
        self, requests: AsyncIterator[pb.UploadImageRequest], context: Context
    ) -> resources_pb2.Image:
        """Stores an image."""
        self._check_room()
        image = await intake.receive_image(
            self._store, requests, self._decoders, self._check_room, who().tenant
        )
        self._metrics.bytes_in.inc(image.size_bytes)
        return image

    @unary
    async def GetImage(  # noqa: N802
        self, request: pb.GetImageRequest, context: Context
    ) -> resources_pb2.Image:
        """Tells whether an image is here, or shows it small."""
        sha256 = names.image_sha256(request.name)
        if request.thumbnail_px:
            return await self._thumbnails.get(sha256, request.thumbnail_px, who().sees)
        return image_to_wire(await intake.find_image(self._store, sha256, who().sees))

    @streaming
    async def DownloadImage(  # noqa: N802
        self, request: pb.DownloadImageRequest, context: Context
    ) -> AsyncGenerator[pb.DownloadImageResponse, None]:
        """An image's bytes."""
        sha256 = names.image_sha256(request.name)
        await intake.find_image(self._store, sha256, who().sees)
        try:
            async for data in self._store.blobs.read(image_key(sha256)):
                self._metrics.bytes_out.inc(len(data))
                yield pb.DownloadImageResponse(data=data)
        except FileNotFoundError as error:
            raise NotFound("image", request.name) from error

    @unary
    async def CreateJob(  # noqa: N802
        self, request: pb.CreateJobRequest, context: Context
    ) -> resources_pb2.Job:
        """Checks every shot, then stores and queues them all."""
        new = replace(await self._read_job(request), traceparent=tracing.current())
        if repeated := await self._store.database.read(jobs.find_repeated, new):
            return job_to_wire(repeated, await self._notice(repeated))
        self._check_room()
        now_s = self._store.clock.wall_s()
        job = await self._store.database.write(
            jobs.create_job, new, now_s, sees=who().sees, share_cache=self._share_cache
        )
        log.info("job.created", job=job.name, shots=job.shot_count, **trace(new.traceparent))
        if job.create_time_s == now_s:  # else the same request was faster
            self._metrics.shots_created.inc(job.shot_count)
            self._metrics.cache_hits.inc(len(new.shots) - job.counts.queued)
        self._dispatcher.wake()
        return job_to_wire(job, await self._notice(job))

    @unary
    async def EstimateJob(  # noqa: N802
        self, request: pb.EstimateJobRequest, context: Context
    ) -> pb.JobEstimate:
        """Checks every shot, and tells what they would take."""
        wanted = pb.CreateJobRequest(
            job=request.job, shots=request.shots, skip_cache=request.skip_cache
        )
        new = await self._read_job(wanted)
        read = self._store.database.read
        keys = {shot.cache_key for shot in new.shots if shot.cache_key}
        sees = who().sees
        there = await read(cached.find, keys, new.tenant, shared=self._share_cache)
        own = Counter(work_of(s.params) for s in new.shots if s.cache_key not in there)
        needed = {served_as(s.params.model or "", s.params.tier) for s in new.shots}
        beside = {served_as(model_of(name), tier) for name in needed for tier in Tier}
        pace = Pace(await read(history.rendered, sees=sees))
        ahead = await read(history.waiting, beside, new.priority, sees=sees)
        workers = await self._roster.takers(needed)
        return estimate_to_wire(
            await asyncio.to_thread(estimate, pace, own, ahead, workers),
            len(new.shots),
            len(new.shots) - own.total(),
            self._store.clock.wall_s(),
        )

    @unary
    async def GetJob(  # noqa: N802
        self, request: pb.GetJobRequest, context: Context
    ) -> resources_pb2.Job:
        """One job."""
        read = self._store.database.read
        job = await read(jobs.get_job, names.job_id(request.name), sees=who().sees)
        delivery = await read(deliveries.latest, job.id) if job.webhook else None
        return job_to_wire(job, await self._notice(job), delivery)

    @unary
    async def ListJobs(  # noqa: N802
        self, request: pb.ListJobsRequest, context: Context
    ) -> pb.ListJobsResponse:
        """A page of jobs, newest first or oldest first."""
        size = names.page_size(request.page_size)
        read, sees = self._store.database.read, who().sees
        seal = await read(tenants.seal, sees)
        behind = names.page_token(request.page_token, seal)
        if behind is None and request.after:
            after = names.job_id(request.after, "after")
            behind = (await read(jobs.get_job, after, sees=sees)).number
        oldest_first = request.oldest_first
        found = await read(jobs.list_jobs, size, behind, oldest_first=oldest_first, sees=sees)
        token = seal.write(found[-1].number) if len(found) == size else ""
        return pb.ListJobsResponse(jobs=map(job_to_wire, found), next_page_token=token)

    @unary
    async def UpdateJob(  # noqa: N802
        self, request: pb.UpdateJobRequest, context: Context
    ) -> resources_pb2.Job:
        """Changes a job's name or priority."""
        job_id = names.job_id(request.job.name, "job.name")
        changes = intake.read_update(request)
        job = await self._store.database.write(jobs.update_job, job_id, **changes, sees=who().sees)
        log.info("job.updated", job=job.name, **changes)
        return job_to_wire(job, await self._notice(job))

    @unary
    async def DeleteJob(  # noqa: N802
        self, request: pb.DeleteJobRequest, context: Context
    ) -> Empty:
        """Deletes an ended job and what only it used."""
        await self._collector.delete_job(names.job_id(request.name), sees=who().sees)
        return Empty()

    @unary
    async def PruneJobs(  # noqa: N802
        self, request: pb.PruneJobsRequest, context: Context
    ) -> pb.PruneJobsResponse:
        """Deletes old jobs and what nothing uses, or tells what that would be."""
        policy = intake.read_prune(request)
        gone = await self._collector.prune(policy, dry_run=request.dry_run, sees=who().sees)
        return pruned_to_wire(gone)

    @unary
    async def CancelJob(  # noqa: N802
        self, request: pb.CancelJobRequest, context: Context
    ) -> resources_pb2.Job:
        """Ends what waits, and tells the workers to let go of the rest."""
        job_id, numbers = names.job_id(request.name), intake.read_shot_numbers(request)
        queued = await self._traces.queued(job_id)
        job, held = await self._store.database.write(
            jobs.cancel_job, job_id, self._store.clock.wall_s(), numbers, sees=who().sees
        )
        log.info("job.cancelled", job=job.name, rendering=len(held), shots=len(numbers) or "all")
        for lease in held:
            self._dispatcher.cancel(lease.worker, lease.lease)
        self._traces.cancelled(job_id, queued)
        return job_to_wire(job)

    @unary
    async def PauseJob(  # noqa: N802
        self, request: pb.PauseJobRequest, context: Context
    ) -> resources_pb2.Job:
        """Starts nothing more of a job; what renders finishes, what was sent ahead comes back."""
        job_id, now_s = names.job_id(request.name), self._store.clock.wall_s()
        job = await self._store.database.write(jobs.pause_job, job_id, now_s, sees=who().sees)
        self._dispatcher.look_after(frozenset({job.id}))
        log.info("job.paused", job=job.name, state=str(job.state), rendering=job.counts.rendering)
        return job_to_wire(job, await self._notice(job))

    @unary
    async def ResumeJob(  # noqa: N802
        self, request: pb.ResumeJobRequest, context: Context
    ) -> resources_pb2.Job:
        """Goes on with a paused job."""
        job_id, now_s = names.job_id(request.name), self._store.clock.wall_s()
        job = await self._store.database.write(jobs.resume_job, job_id, now_s, sees=who().sees)
        log.info("job.resumed", job=job.name, state=str(job.state))
        return job_to_wire(job, await self._notice(job))

    @unary
    async def RequeueJob(  # noqa: N802
        self, request: pb.RequeueJobRequest, context: Context
    ) -> pb.RequeueJobResponse:
        """Queues shots again that failed or were cancelled."""
        job_id = names.job_id(request.name)
        states, numbers = intake.read_requeue(request)
        now_s = self._store.clock.wall_s()
        job, n = await self._store.database.write(
            requeue_job,
            job_id,
            states,
            numbers,
            now_s,
            sees=who().sees,
            traceparent=tracing.current(),
        )
        log.info("job.requeued", job=job.name, shots=n)
        return pb.RequeueJobResponse(
            job=job_to_wire(job, await self._notice(job)), requeued_shot_count=n
        )

    @streaming
    async def WatchJob(  # noqa: N802
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncGenerator[pb.WatchJobResponse, None]:
        """The job and its shots, then every change until the job has ended."""
        responses = watch_job(
            self._store,
            self._feed,
            names.job_id(request.name),
            who().sees,
            request.resume_token,
            request.previews,
            self._notice,
            lambda: self._stopping,
        )
        async for response in responses:
            yield response

    @unary
    async def GetShot(  # noqa: N802
        self, request: pb.GetShotRequest, context: Context
    ) -> resources_pb2.Shot:
        """One shot."""
        key = names.shot_key(request.name)
        shot = await self._store.database.read(jobs.get_shot, key, sees=who().sees)
        return self._shot_to_wire(shot)

    @unary
    async def ListShots(  # noqa: N802
        self, request: pb.ListShotsRequest, context: Context
    ) -> pb.ListShotsResponse:
        """A page of a job's shots, in the order of its request."""
        size = names.page_size(request.page_size)
        after = names.page_token(request.page_token) or 0
        job_id = names.job_id(request.parent, "parent")
        found = await self._store.database.read(
            jobs.list_shots, job_id, size, after, sees=who().sees
        )
        token = str(found[-1].key.number) if len(found) == size else ""
        return pb.ListShotsResponse(shots=map(self._shot_to_wire, found), next_page_token=token)

    @unary
    async def ListAttempts(  # noqa: N802
        self, request: pb.ListAttemptsRequest, context: Context
    ) -> pb.ListAttemptsResponse:
        """A page of the tries at a job's shots."""
        size = names.page_size(request.page_size)
        if request.log:
            size = min(size, _LOGS_A_PAGE)
        job_id, number = names.attempts_parent(request.parent)
        after = divmod(names.page_token(request.page_token) or 0, _ATTEMPTS)
        read = self._store.database.read
        found = await read(
            attempts.list_attempts, job_id, number, size, after, log=request.log, sees=who().sees
        )
        token = ""
        if len(found) == size:
            token = str(found[-1].shot.number * _ATTEMPTS + found[-1].number)
        return pb.ListAttemptsResponse(attempts=map(attempt_to_wire, found), next_page_token=token)

    @streaming
    async def DownloadVideo(  # noqa: N802
        self, request: pb.DownloadVideoRequest, context: Context
    ) -> AsyncGenerator[pb.DownloadVideoResponse, None]:
        """A video's bytes from an offset on."""
        key = names.video_shot(request.name)
        shot = await self._store.database.read(jobs.get_shot, key, sees=who().sees)
        if shot.video is None:
            raise NotFound("video", f"{request.name}: the shot is {shot.state}")
        if not 0 <= request.offset_bytes <= shot.video.size_bytes:
            raise invalid(
                "offset_bytes",
                f"is {request.offset_bytes}; allowed: from 0 to {shot.video.size_bytes}",
            )
        try:
            async for data in self._store.blobs.read(shot.video.key, request.offset_bytes):
                self._metrics.bytes_out.inc(len(data))
                yield pb.DownloadVideoResponse(data=data)
        except FileNotFoundError as error:  # its job was deleted in between, or the file is lost
            await self._store.database.write(cached.forget, shot.video.key)
            raise NotFound("video", request.name) from error

    def _low_disk(self) -> str:
        """What is wrong with the disk, or "". A tenant does not learn how full others are."""
        problem = self._room.problem()
        told = "the farm's disk is low: try again later, or ask an operator"
        return problem if not problem or who().sees is None else told

    def _check_room(self) -> None:
        if problem := self._low_disk():
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, problem, "DISK_LOW")

    def _shot_to_wire(self, shot: Shot) -> resources_pb2.Shot:
        rendering = shot.state is ShotState.RENDERING
        progress = self._feed.progress(shot.key, shot.attempt_count) if rendering else None
        return shot_to_wire(shot, progress)

    async def _read_job(self, request: pb.CreateJobRequest) -> NewJob:
        models, default = await self._models(), await self._default()
        # 10,000 shots take a while.
        return await asyncio.to_thread(
            intake.read_job, request, models, default, self._webhooks, who().tenant
        )

    async def _models(self) -> dict[str, ModelInfo]:
        served = await self._store.database.read(inputs.list_models)
        return {**KNOWN_MODELS, **served}

    async def _default(self) -> str:
        """The configured model, else what most connected workers serve, else svd-xt."""
        return self._default_model or next(iter(await self._roster.served()), SVD_XT.name)

    async def _notice(self, job: Job) -> str:
        return await notices.notice(self._store, self._roster, self._low_disk(), job)
