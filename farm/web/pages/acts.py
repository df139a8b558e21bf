"""What people change on the page: each a form that is POSTed, then the page again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
from starlette.datastructures import FormData, UploadFile
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from farm.jobs.names import NameInvalid, check_shot_name
from farm.web.farm import CHUNK_BYTES
from farm.web.limits import FIELD_BYTES, BodyLimit, Slots, reading
from farm.web.pages.routes import Pages
from farm.web.pages.sweep import read_settings
from farm.web.refusals import Refused, invalid, refused_by
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2, worker_service_pb2

_FILE_LIMIT = 20
_FIELD_LIMIT = 30
_AT_ONCE = 2
_LIMITED = Middleware(BodyLimit, limit_bytes=64 * 2**20)


class Acts:
    """The routes that change the farm."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._slots = Slots(_AT_ONCE)

    def routes(self) -> list[Route]:
        """All POST."""
        return [
            Route("/submit", self.submit, methods=["POST"], middleware=[_LIMITED]),
            Route("/jobs/{job}/{act}", self.job, methods=["POST"]),
            Route("/jobs/{job}/shots/{number:int}/{act}", self.shot, methods=["POST"]),
            Route("/workers/{worker}/{act}", self.worker, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        """Queues each image with each combination of settings."""
        form = FormData()
        await self._pages.calls(request).check()  # before a body is read
        try:
            async with self._slots.take():
                async with reading():
                    form = await request.form(
                        max_files=_FILE_LIMIT, max_fields=_FIELD_LIMIT, max_part_size=FIELD_BYTES
                    )
                job = await self._submit(request, form)
        except (Refused, grpc.aio.AioRpcError) as error:
            refused = refused_by(error)
            if refused.http_status == 401:
                raise
            given = {name: value for name, value in form.items() if isinstance(value, str)}
            return await self._pages.jobs(request, refused, given)
        finally:
            await request.close()
        return RedirectResponse(f"/{job.name}", 303)

    async def job(self, request: Request) -> Response:
        """Cancels, pauses, resumes, requeues or deletes a job."""
        calls, name = self._pages.calls(request), f"jobs/{request.path_params['job']}"
        render = calls.render
        match request.path_params["act"]:
            case "cancel":
                await calls.ask(render.CancelJob, pb.CancelJobRequest(name=name))
            case "pause":
                await calls.ask(render.PauseJob, pb.PauseJobRequest(name=name))
            case "resume":
                await calls.ask(render.ResumeJob, pb.ResumeJobRequest(name=name))
            case "requeue":
                await calls.ask(render.RequeueJob, _requeue(name))
            case "delete":
                await calls.ask(render.DeleteJob, pb.DeleteJobRequest(name=name))
                return RedirectResponse("/", 303)
            case act:
                raise _unknown_act(act)
        return RedirectResponse(f"/{name}", 303)

    async def shot(self, request: Request) -> Response:
        """Cancels or requeues a shot."""
        calls, path = self._pages.calls(request), request.path_params
        name = f"jobs/{path['job']}"
        shot = f"{name}/shots/{path['number']}"
        match path["act"]:
            case "cancel":
                ask = pb.CancelJobRequest(name=name, shots=[shot])
                await calls.ask(calls.render.CancelJob, ask)
            case "requeue":
                await calls.ask(calls.render.RequeueJob, _requeue(name, shot))
            case act:
                raise _unknown_act(act)
        return RedirectResponse(f"/{name}#shot-{path['number']}", 303)

    async def worker(self, request: Request) -> Response:
        """Drains a worker, or takes it back."""
        calls, name = self._pages.calls(request), f"workers/{request.path_params['worker']}"
        match request.path_params["act"]:
            case "drain":
                ask = worker_service_pb2.DrainWorkerRequest(name=name)
                await calls.ask(calls.worker.DrainWorker, ask)
            case "uncordon":
                back = worker_service_pb2.UncordonWorkerRequest(name=name)
                await calls.ask(calls.worker.UncordonWorker, back)
            case act:
                raise _unknown_act(act)
        return RedirectResponse("/workers", 303)

    async def _submit(self, request: Request, form: FormData) -> resources_pb2.Job:
        calls = self._pages.calls(request)
        text = {name: value for name, value in form.items() if isinstance(value, str)}
        files = [f for f in form.getlist("image") if isinstance(f, UploadFile) and f.size]
        if not files:
            raise invalid("image", "is missing: drop at least one picture", "missing")
        settings = read_settings(text)
        shots: list[resources_pb2.Shot] = []
        for file in files:
            image = await calls.upload(_parts(file))
            for params in settings:
                name = _shot_name(file.filename or "", len(shots) + 1, len(files) * len(settings))
                shots.append(resources_pb2.Shot(image=image.name, params=params, display_name=name))
        called = text.get("name", "").strip() or (files[0].filename or "")[:128]
        wanted = pb.CreateJobRequest(job=resources_pb2.Job(display_name=called), shots=shots)
        return await calls.ask(calls.render.CreateJob, wanted)


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    while part := await file.read(CHUNK_BYTES):
        yield part


def _shot_name(file_name: str, number: int, of: int) -> str:
    """As the file is called; with a number where several clips are made of it."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in file_name)
    stem = stem.rpartition(".")[0] or stem or "shot"
    name = f"{stem[:80]}-{number}" if of > 1 else stem[:80]
    try:
        check_shot_name(name)
    except NameInvalid:
        return f"shot-{number}"
    return name


def _requeue(name: str, *shots: str) -> pb.RequeueJobRequest:
    states = [resources_pb2.Shot.FAILED, resources_pb2.Shot.CANCELLED]
    return pb.RequeueJobRequest(name=name, states=states, shots=shots)


def _unknown_act(act: str) -> Refused:
    return Refused(404, f"nothing here is called {act[:40]!r}", "not_found")
