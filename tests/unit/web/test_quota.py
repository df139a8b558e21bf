"""What people do over HTTP is counted by what they ask, not by what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx2
import pytest

from farm.gateway.server import Gateway
from farm.web.farm import FURTHER_CALL
from svdfarm.v1 import render_service_pb2 as pb
from tests.running import eventually, running_gateway
from tests.unit.gateway.conftest import Caller
from tests.unit.gateway.tenancy import FARM_TOKEN, add_tenant, by_token
from tests.unit.gateway.test_quotas import limit
from tests.unit.web.conftest import ROCKET, SMALL


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path / "data", token=FARM_TOKEN) as gateway:
        yield gateway


@pytest.fixture
def token(gateway: Gateway) -> str:
    return add_tenant(gateway, "a")


@pytest.fixture
def caller(gateway: Gateway, token: str) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield by_token(channel, token)


@pytest.fixture
def http(gateway: Gateway, token: str) -> Iterator[httpx2.Client]:
    """A browser, and a program, of tenant a's."""
    headers = {"cookie": f"svdfarm_token={token}", "authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=f"http://{gateway.http}", headers=headers, timeout=20) as client:
        yield client


def test_one_request_over_http_counts_once(
    gateway: Gateway, caller: Caller, http: httpx2.Client
) -> None:
    shot = caller.shot()
    for _ in range(10):
        caller.create(shot)
    limit(gateway, max_requests_per_minute=4)
    assert http.get("/").status_code == 200  # a list, its images and the models
    assert http.get(f"/{shot.image}/160.jpg").status_code == 200
    assert len(http.get("/v1/videos").json()["data"]) == 10
    with ROCKET.open("rb") as file:
        answer = http.post("/v1/videos", data=SMALL, files={"input_reference": file})
    assert answer.status_code == 200  # a check, an upload, a job and its shot
    assert http.get("/v1/videos").json()["error"]["code"] == "quota_requests"


def test_a_page_that_stays_open_costs_no_more_requests(
    gateway: Gateway, caller: Caller, http: httpx2.Client
) -> None:
    shot = caller.shot()
    caller.create(shot)
    limit(gateway, max_requests_per_minute=2)
    asked = gateway._metrics.rpcs.labels("svdfarm.v1.RenderService/ListJobs", "OK")
    with http.stream("GET", "/live/jobs") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        before = asked._value.get()
        eventually(lambda: asked._value.get() >= before + 3)  # it looks each second
    assert http.get("/v1/videos").status_code == 200
    assert http.get("/v1/videos").status_code == 429


def test_nobody_else_may_leave_a_call_uncounted(gateway: Gateway, token: str) -> None:
    limit(gateway, max_requests_per_minute=1)
    metadata = (("authorization", f"Bearer {token}"), (FURTHER_CALL, "1"))
    with grpc.insecure_channel(str(gateway.address)) as channel:
        render = Caller(channel).render
        render.ListJobs(pb.ListJobsRequest(), metadata=metadata)
        with pytest.raises(grpc.RpcError, match="requests of this minute"):
            render.ListJobs(pb.ListJobsRequest(), metadata=metadata)
