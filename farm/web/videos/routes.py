"""The routes below /v1: what each answers, and how it says no."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import Any

import grpc
import grpc.aio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from farm.web.farm import Calls, Farm
from farm.web.limits import BodyLimit
from farm.web.refusals import ENDINGS, Refused, invalid, refused_by, unknown
from farm.web.sending import RangeRefused, send_video
from farm.web.videos.body import BODY_LIMIT_BYTES, Bodies
from farm.web.videos.fields import read_params
from farm.web.videos.video import is_video, job_name, not_ready, video_id, video_of
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2

_LIST_LIMIT = 100
_LIST_DEFAULT = 20
_PAGES_ASKED = 10  # of jobs, most of which may be no videos
_CANCEL_LIMIT_S = 60.0
_ENDED = (
    resources_pb2.Job.SUCCEEDED,
    resources_pb2.Job.FAILED,
    resources_pb2.Job.CANCELLED,
)
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Videos:
    """OpenAI's video routes over a farm."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._bodies = Bodies()

    def app(self) -> Starlette:
        """To be mounted at /v1."""
        app = Starlette(
            routes=[
                Route("/videos", self.create, methods=["POST"]),
                Route("/videos", self.list_page, methods=["GET"]),
                Route("/videos/{id}", self.retrieve, methods=["GET"]),
                Route("/videos/{id}", self.delete, methods=["DELETE"]),
                Route("/videos/{id}/content", self.content, methods=["GET", "HEAD"]),
            ],
            middleware=[Middleware(BodyLimit, limit_bytes=BODY_LIMIT_BYTES)],
            exception_handlers=dict.fromkeys(ENDINGS, _refuse) | {Exception: _fail},
        )
        app.router.redirect_slashes = False  # it would tell the address behind a proxy
        return app

    async def create(self, request: Request) -> Response:
        """Queues a clip."""
        calls = self._calls(request)
        await calls.check()  # before a body is read
        async with self._bodies.read(request) as body:
            params = read_params(body.fields)
            image = await calls.upload(body.parts())
        job = await calls.ask(
            calls.render.CreateJob,
            pb.CreateJobRequest(
                job=resources_pb2.Job(display_name=body.file_name[:128]),
                shots=[resources_pb2.Shot(image=image.name, params=params)],
                request_id=_request_id(request.headers.get("idempotency-key", "")),
            ),
        )
        return JSONResponse(await self._video(calls, job))

    async def list_page(self, request: Request) -> Response:
        """A page of videos, newest first."""
        calls = self._calls(request)
        limit = _read_limit(request.query_params.get("limit"))
        order = request.query_params.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid("order", f"is {order[:40]!r}; allowed: asc, desc")
        after = request.query_params.get("after")
        wanted = pb.ListJobsRequest(
            page_size=limit + 1,
            after=job_name(after) if after else "",
            oldest_first=order == "asc",
        )
        found: list[resources_pb2.Job] = []
        last, more = "", False
        for _ in range(_PAGES_ASKED):
            page = await calls.ask(calls.render.ListJobs, wanted)
            found += filter(is_video, page.jobs)
            last = page.jobs[-1].name if page.jobs else last
            more = bool(page.next_page_token)
            if len(found) > limit or not more:
                break
            wanted.page_token, wanted.page_size = page.next_page_token, _LIST_LIMIT
        videos = await self._videos(calls, found[:limit])
        last_id = videos[-1]["id"] if videos else None
        if more and len(found) <= limit:
            last_id = video_id(last)  # so far was looked: a caller goes on after it
        return JSONResponse(
            {
                "object": "list",
                "data": videos,
                "has_more": more or len(found) > limit,
                "first_id": videos[0]["id"] if videos else None,
                "last_id": last_id,
            }
        )

    async def retrieve(self, request: Request) -> Response:
        """One video, as it is now."""
        calls = self._calls(request)
        return JSONResponse(await self._video(calls, await self._job(calls, request)))

    async def content(self, request: Request) -> Response:
        """The video file, or a part of it."""
        variant = request.query_params.get("variant", "video")
        if variant != "video":
            raise invalid("variant", f"is {variant[:40]!r}; allowed: video")
        calls = self._calls(request)
        job = await self._job(calls, request)
        shot = await self._shot(calls, job)
        if shot.state != resources_pb2.Shot.SUCCEEDED:
            raise not_ready(shot)
        return await send_video(request, calls, shot)

    async def delete(self, request: Request) -> Response:
        """Cancels a video that has not ended, then deletes it."""
        calls = self._calls(request)
        job = await self._job(calls, request)
        if job.state not in _ENDED:
            await calls.ask(calls.render.CancelJob, pb.CancelJobRequest(name=job.name))
            await _ending(calls, job)
        await calls.ask(calls.render.DeleteJob, pb.DeleteJobRequest(name=job.name))
        return JSONResponse(
            {"id": request.path_params["id"], "object": "video.deleted", "deleted": True}
        )

    def _calls(self, request: Request) -> Calls:
        # The header alone: a cookie is sent along by pages that its owner never meant.
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        token = given.strip() if kind.lower() == "bearer" else ""
        return self._farm.calls(token or None)

    async def _job(self, calls: Calls, request: Request) -> resources_pb2.Job:
        wanted = request.path_params["id"]
        try:
            job = await calls.ask(calls.render.GetJob, pb.GetJobRequest(name=job_name(wanted)))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise unknown("video", wanted) from error
            raise
        if not is_video(job):
            raise unknown("video", wanted)
        return job

    async def _shot(self, calls: Calls, job: resources_pb2.Job) -> resources_pb2.Shot:
        request = pb.GetShotRequest(name=f"{job.name}/shots/1")
        return await calls.ask(calls.render.GetShot, request)

    async def _video(self, calls: Calls, job: resources_pb2.Job) -> dict[str, Any]:
        shot = await self._shot(calls, job)
        if shot.state == resources_pb2.Shot.SUCCEEDED and not job.HasField("end_time"):
            job = await calls.ask(calls.render.GetJob, pb.GetJobRequest(name=job.name))
        return video_of(job, shot)

    async def _videos(self, calls: Calls, jobs: list[resources_pb2.Job]) -> list[dict[str, Any]]:
        by_name = {f"{job.name}/shots/1": job for job in jobs}
        shots = await calls.first_shots(jobs)
        return [video_of(by_name[shot.name], shot) for shot in shots]


async def _ending(calls: Calls, job: resources_pb2.Job) -> None:
    """Waits until a cancelled job has ended: its worker finishes the step that it is at."""
    watch = calls.watch(pb.WatchJobRequest(name=job.name))
    try:
        async with asyncio.timeout(_CANCEL_LIMIT_S):
            async for _ in watch:
                pass
    except TimeoutError:
        raise Refused(
            409, "the video is being cancelled still; delete it again", "cancelling"
        ) from None
    finally:
        watch.cancel()


def _read_limit(given: str | None) -> int:
    if given is None:
        return _LIST_DEFAULT
    if len(given) > 3 or not given.isdecimal() or not 1 <= int(given) <= _LIST_LIMIT:
        raise invalid(
            "limit", f"is {given[:40]!r}; allowed: a whole number from 1 to {_LIST_LIMIT}"
        )
    return int(given)


def _request_id(key: str) -> str:
    """A UUID of an Idempotency-Key, which may be anything; one that is a UUID stays."""
    if not key:
        return ""
    try:
        return str(uuid.UUID(key))
    except ValueError:
        return str(uuid.UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4))


async def _fail(request: Request, _: Exception) -> Response:
    """What went wrong is the log's; Starlette raises it on, to the wall that writes there."""
    message = "an error inside the farm; its log has more"
    return await _refuse(request, Refused(500, message, "internal"))


async def _refuse(_: Request, error: Exception) -> Response:
    refused = refused_by(error)
    status = refused.http_status
    told = {
        "message": refused.message,
        "type": "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error"),
        "param": refused.param,
        "code": refused.code,
    }
    headers = {}
    if isinstance(refused, RangeRefused):
        headers["content-range"] = f"bytes */{refused.size_bytes}"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": told}, status, headers)
