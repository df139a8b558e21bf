"""The routes of the web page: what each shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from farm.jobs.params import KNOWN_MODELS
from farm.web.farm import Calls, Farm
from farm.web.limits import BodyLimit
from farm.web.live.follow import (
    JOBS_A_PAGE,
    follow_job,
    follow_jobs,
    follow_workers,
    head_fragment,
    row_of,
    shot_fragments,
    worker_fragment,
)
from farm.web.live.topic import Hub
from farm.web.pages.caller import readable, sign_in, sign_out, token_of
from farm.web.pages.html import Html
from farm.web.pages.sweep import differing
from farm.web.pages.thumbs import send_thumbnail
from farm.web.plots.history import History
from farm.web.refusals import Refused, refused_by, unknown
from farm.web.sending import send_video
from farm.web.videos.openapi import openapi
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2, worker_service_pb2

SHOTS_A_PAGE = 60
_CLIPS_A_PAGE = 24
_JOBS_ASKED = 50  # for their clips, and of a page of jobs
_PAGES_ASKED = 10  # of jobs, which may all be without any
_COMPARED = 9
_SHORT = Middleware(BodyLimit, limit_bytes=16 * 2**10)  # of anybody: no token is asked for before


class Pages:
    """Every page over a farm."""

    def __init__(self, farm: Farm, hub: Hub, public_url: str | None = None) -> None:
        self._farm = farm
        self._public_url = public_url
        self._hub = hub
        self._html = Html()
        self._history = History()

    def routes(self) -> list[Route]:
        """What is served to people, but for what changes the farm."""
        return [
            Route("/", self.jobs),
            Route("/jobs/{job}", self.job),
            Route("/jobs/{job}/shots/{number:int}/video", self.video, methods=["GET", "HEAD"]),
            Route("/images/{sha256}/{side_px:int}.jpg", self.thumb),
            Route("/gallery", self.gallery),
            Route("/compare", self.compare),
            Route("/workers", self.workers),
            Route("/docs", self.docs),
            Route("/signin", self.ask_token),
            Route("/signin", self.take_token, methods=["POST"], middleware=[_SHORT]),
            Route("/signout", self.sign_out, methods=["POST"]),
            Route("/live/jobs", self.live_jobs),
            Route("/live/workers", self.live_workers),
            Route("/live/jobs/{job}", self.live_job),
        ]

    def calls(self, request: Request) -> Calls:
        """What the one who looks at the page can ask."""
        return self._farm.calls(token_of(request))

    async def jobs(
        self, request: Request, problem: Refused | None = None, given: Any = None
    ) -> Response:
        """The form, the plots and the list; `problem` is of what was `given` before."""
        calls = self.calls(request)
        token = "" if problem else request.query_params.get("page", "")
        page = await calls.ask(
            calls.render.ListJobs, pb.ListJobsRequest(page_size=JOBS_A_PAGE, page_token=token)
        )
        rows = [(await row_of(calls, job, self._html)).render() for job in page.jobs]
        return self._page(
            request,
            "jobs",
            http_status=problem.http_status if problem else 200,
            title="Jobs",
            live="" if token else "/live/jobs",
            rows=rows,
            first_page=not token,
            next_page=page.next_page_token,
            models=await self._models(calls),
            problem=problem,
            given=given or {},
        )

    async def job(self, request: Request) -> Response:
        """A job with its shots."""
        calls, name = self.calls(request), f"jobs/{request.path_params['job']}"
        job = await calls.ask(calls.render.GetJob, pb.GetJobRequest(name=name))
        page = await calls.ask(
            calls.render.ListShots,
            pb.ListShotsRequest(
                parent=name,
                page_size=SHOTS_A_PAGE,
                page_token=request.query_params.get("page", ""),
            ),
        )
        numbers = [self._html.number(shot.name) for shot in page.shots] or [1]
        return self._page(
            request,
            "job",
            title=job.display_name or name,
            live=f"/live/{name}?first={numbers[0]}&last={numbers[-1]}",
            head=head_fragment(job, self._html).render(),
            cards=[shot_fragments(shot, self._html)[0].render() for shot in page.shots],
            first=numbers[0],
            next_page=page.next_page_token,
        )

    async def video(self, request: Request) -> Response:
        """A shot's video, for the page's players."""
        calls = self.calls(request)
        path = request.path_params
        shot = await self._shot(calls, f"jobs/{path['job']}/shots/{path['number']}")
        if not shot.HasField("video"):
            raise unknown("video of", shot.name)
        return await send_video(request, calls, shot)

    async def thumb(self, request: Request) -> Response:
        """An image, small."""
        path = request.path_params
        return await send_thumbnail(
            self.calls(request), f"images/{path['sha256']}", path["side_px"]
        )

    async def gallery(self, request: Request) -> Response:
        """The newest videos."""
        shots, more = await _newest(self.calls(request), request.query_params.get("after", ""))
        return self._page(request, "gallery", title="Gallery", shots=shots, more=quote(more))

    async def compare(self, request: Request) -> Response:
        """Videos side by side, in step."""
        calls = self.calls(request)
        names = list(dict.fromkeys(request.query_params.getlist("shot")))
        if len(names) > _COMPARED:
            raise Refused(
                400, f"that is {len(names)} videos; allowed: from 2 to {_COMPARED}", "too_many"
            )
        shots = [await self._shot(calls, name) for name in names]
        for shot in shots:
            if not _plays(shot):
                raise Refused(409, f"{shot.name} has no video that a browser plays", "no_video")
        return self._page(
            request, "compare", title="Compare", shots=shots, differing=differing(shots)
        )

    async def workers(self, request: Request) -> Response:
        """The farm's GPUs."""
        calls = self.calls(request)
        page = await calls.ask(
            calls.worker.ListWorkers, worker_service_pb2.ListWorkersRequest(page_size=1000)
        )
        cards = [worker_fragment(worker, self._html).render() for worker in page.workers]
        return self._page(request, "workers", title="Workers", live="/live/workers", cards=cards)

    async def docs(self, request: Request) -> Response:
        """The API, for people."""
        url = f"{self._public_url or 'http://HOST:PORT'}/v1"
        return self._page(request, "docs", title="API", api=openapi(), url=url)

    async def ask_token(self, request: Request) -> Response:
        """The page to sign in with."""
        return self._page(request, "signin", title="Sign in", next=_next(request), problem="")

    async def take_token(self, request: Request) -> Response:
        """Puts a token that the farm takes into a cookie."""
        async with request.form(max_files=0, max_fields=3) as form:
            token = readable(str(form.get("token", "")))
        try:
            if token is None:
                raise Refused(401, "that is no token", "token_invalid")
            calls = self._farm.calls(token)
            await calls.check()
        except (grpc.aio.AioRpcError, Refused) as error:
            refused = refused_by(error)
            return self._page(
                request,
                "signin",
                http_status=refused.http_status,
                title="Sign in",
                next=_next(request),
                problem="The farm does not take this token."
                if refused.http_status == 401
                else refused.message,
            )
        answer = RedirectResponse(_next(request), 303)
        sign_in(answer, request, token)
        return answer

    async def sign_out(self, _: Request) -> Response:
        """Forgets the token."""
        answer = RedirectResponse("/signin", 303)
        sign_out(answer)
        return answer

    async def live_jobs(self, request: Request) -> Response:
        """What changes in the list."""
        calls = self.calls(request)
        await calls.check()
        return _events(
            self._hub.read(
                (calls.token, "jobs"),
                lambda topic: follow_jobs(topic, calls, self._history, self._html),
            )
        )

    async def live_workers(self, request: Request) -> Response:
        """What changes among the workers."""
        calls = self.calls(request)
        ask = worker_service_pb2.ListWorkersRequest(page_size=1)
        await calls.ask(calls.worker.ListWorkers, ask)
        return _events(
            self._hub.read(
                (calls.token, "workers"),
                lambda topic: follow_workers(topic, calls, self._html),
            )
        )

    async def live_job(self, request: Request) -> Response:
        """What changes in a job, and in those of its shots that the page has."""
        calls, name = self.calls(request), f"jobs/{request.path_params['job']}"
        await calls.ask(calls.render.GetJob, pb.GetJobRequest(name=name))
        try:
            first, last = (int(request.query_params.get(end, "0")) for end in ("first", "last"))
        except ValueError as error:
            raise Refused(400, "first and last are numbers of shots", "invalid_value") from error
        return _events(
            self._hub.read(
                (calls.token, name),
                lambda topic: follow_job(topic, calls, name, self._html),
                lambda fragment: not fragment.number or first <= fragment.number <= last,
            )
        )

    async def refuse(self, request: Request, error: Exception) -> Response:
        """A page that says why there is none, or the way to sign in."""
        refused = refused_by(error)
        reading = request.method == "GET" and not request.url.path.startswith("/live")
        if refused.http_status == 401 and reading:
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/signin?next={quote(wanted)}", 303)
        answer = self._page(
            request, "problem", http_status=refused.http_status, title="Not here", refused=refused
        )
        if refused.http_status == 416:
            answer.headers["content-range"] = f"bytes */{getattr(refused, 'size_bytes', 0)}"
        return answer

    def _page(
        self, request: Request, name: str, *, http_status: int = 200, live: str = "", **told: Any
    ) -> Response:
        page = self._html.page(
            name,
            path=request.url.path,
            signed_in=token_of(request) is not None,
            live=live,
            **told,
        )
        return HTMLResponse(page, http_status, {"cache-control": "no-store"})

    async def _shot(self, calls: Calls, name: str) -> resources_pb2.Shot:
        return await calls.ask(calls.render.GetShot, pb.GetShotRequest(name=name))

    async def _models(self, calls: Calls) -> list[str]:
        """Those that workers serve, else all that there could be."""
        request = worker_service_pb2.ListWorkersRequest(page_size=1000)
        try:
            workers = list((await calls.ask(calls.worker.ListWorkers, request)).workers)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                raise
            workers = []
        served = {model.name for worker in workers for model in worker.models}
        return sorted(served) or list(KNOWN_MODELS)


async def _newest(calls: Calls, after: str) -> tuple[list[resources_pb2.Shot], str]:
    """A page of videos, and the job to go on after; of many jobs without any, not all are asked."""
    shots: list[resources_pb2.Shot] = []
    asked = 0
    for _ in range(_PAGES_ASKED):
        page = await calls.ask(
            calls.render.ListJobs, pb.ListJobsRequest(page_size=_JOBS_ASKED, after=after)
        )
        for job in page.jobs:
            if job.succeeded_shot_count:
                asked += 1
                ask = pb.ListShotsRequest(parent=job.name, page_size=_CLIPS_A_PAGE)
                of_job: Iterable[resources_pb2.Shot] = ()
                try:
                    of_job = (await calls.ask(calls.render.ListShots, ask)).shots
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:  # deleted in between
                        raise
                shots += [shot for shot in of_job if _plays(shot)][: _CLIPS_A_PAGE - len(shots)]
            after = job.name
            if len(shots) >= _CLIPS_A_PAGE or asked >= _JOBS_ASKED:
                return shots, after
        if not page.next_page_token:
            return shots, ""
    return shots, after


def _plays(shot: resources_pb2.Shot) -> bool:
    """Whether a browser may know what to do with its video."""
    return shot.HasField("video") and shot.video.media_type == "video/mp4"


def _events(events: Any) -> Response:
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _next(request: Request) -> str:
    """Where to go on after signing in: a path of ours, and nothing else."""
    path = request.query_params.get("next", "/")
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") else "/"
