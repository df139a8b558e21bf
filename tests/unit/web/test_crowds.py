"""Many callers at once: probes get through, and nobody's leaving is the farm's fault."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx2
import pytest
from structlog.testing import capture_logs

from farm.gateway.config import Limits
from farm.gateway.server import Gateway
from farm.web.limits import Slots
from farm.web.refusals import Refused
from svdfarm.v1 import render_service_pb2 as pb
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller
from tests.unit.web.conftest import post

FEW = Limits(http_answers=3)
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path / "data", limits=FEW) as gateway:
        yield gateway


def _connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection((gateway.http.host, gateway.http.port), timeout=20)


def _answered(gateway: Gateway, code: str) -> float:
    return gateway._metrics.http_requests.labels("other", code)._value.get()


def test_probes_are_answered_beside_as_many_answers_as_there_may_be(
    gateway: Gateway, http: httpx2.Client
) -> None:
    with ExitStack() as stack:
        for _ in range(FEW.http_answers):
            stream = stack.enter_context(http.stream("GET", "/live/jobs"))
            stack.callback(stream.close)
            assert stream.status_code == 200
        refused = http.get("/")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["connection"] == "close"
        assert http.get("/healthz").status_code == 200
        assert http.get("/metrics").status_code == 200
    eventually(lambda: http.get("/").status_code == 200)


def test_connections_that_ask_for_nothing_make_room(
    gateway: Gateway, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol.CONNECTION_LIMIT", 5)
    with ExitStack() as stack:
        watching = stack.enter_context(http.stream("GET", "/live/jobs"))
        for _ in range(20):
            stack.enter_context(_connect(gateway)).sendall(HEAD)  # and no more of it
            assert http.get("/healthz").status_code == 200
        assert next(watching.iter_lines()).startswith("retry")


def test_a_caller_that_leaves_in_the_middle_is_no_error(
    gateway: Gateway, http: httpx2.Client
) -> None:
    before = _answered(gateway, "499")
    with capture_logs() as logs:
        for path, kind in (("/v1/videos", "application/json"), ("/signin", "text/plain")):
            with _connect(gateway) as caller:
                origin = f"Origin: http://{gateway.http}\r\nHost: {gateway.http}\r\n"
                head = f"POST {path} HTTP/1.1\r\n{origin}Content-Type: {kind}\r\n"
                if path == "/signin":
                    head = head.replace(kind, "multipart/form-data; boundary=x")
                caller.sendall(f"{head}Content-Length: 5000\r\n\r\n--x".encode())
                eventually(lambda: gateway._http.server_state.connections)
            wanted = before + 1 + (path == "/signin")
            eventually(lambda wanted=wanted: _answered(gateway, "499") >= wanted)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


def test_so_many_downloads_go_out_at_a_time(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path),
        httpx2.Client(base_url=f"http://{gateway.http}", timeout=20) as http,
    ):
        video_id = post(http).json()["id"]
        path = f"/v1/videos/{video_id}"
        eventually(lambda: http.get(path).json()["status"] == "completed")
        name = f"jobs/{video_id.removeprefix('video_')}/shots/1/video"

        async def download_twice() -> None:
            farm = gateway._web._farm
            farm._sent = Slots(1, wait_s=0.1)
            held = farm.calls(None).download(name, 0, 100)
            assert len(await anext(held)) == 100
            with pytest.raises(Refused, match="send it again"):
                await anext(farm.calls(None).download(name, 0, 100))
            await held.aclose()
            assert [len(part) async for part in farm.calls(None).download(name, 0, 100)] == [100]

        # In the gateway's own loop: gRPC has one of a process.
        loop = gateway._tasks[0].get_loop()
        asyncio.run_coroutine_threadsafe(download_twice(), loop).result(20)
        assert http.get(f"{path}/content").status_code == 200


def test_the_wire_tells_of_wrong_sizes(gateway: Gateway) -> None:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        caller = Caller(channel)
        image = caller.upload()
        for side_px in (15, 1025):
            with pytest.raises(grpc.RpcError, match="from 16 to 1024"):
                caller.render.GetImage(pb.GetImageRequest(name=image, thumbnail_px=side_px))
