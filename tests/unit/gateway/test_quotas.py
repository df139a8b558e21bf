"""Quotas over the wire; what the store refuses is told in tests/unit/store/test_quotas.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from farm.gateway.server import Gateway
from farm.jobs.tenants import Limits, Tenant
from farm.store import tenants
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import token_service_pb2
from svdfarm.v1.resources_pb2 import Job
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller
from tests.unit.gateway.tenancy import FARM_TOKEN, add_tenant, by_token


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path / "data", token=FARM_TOKEN) as gateway:
        yield gateway


@pytest.fixture
def a(gateway: Gateway) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield by_token(channel, add_tenant(gateway, "a"))


@pytest.fixture
def b(gateway: Gateway) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield by_token(channel, add_tenant(gateway, "b"))


def limit(gateway: Gateway, **limits: Any) -> None:
    """Changes what tenant a may, and waits until its gateway knows."""
    changed = Tenant("a", limits=Limits(**limits))
    gateway._store.database.submit(tenants.change, changed).result()
    expected = {"a": changed.limits} if limits else {}
    eventually(lambda: gateway._quotas._limits == expected, timeout_s=2.0)


def told(error: grpc.RpcError) -> tuple[str, dict[str, str], float | None]:
    """Reason, metadata and pause of a refused call."""
    status = rpc_status.from_call(error)
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    pause_s = None
    if len(status.details) > 1:
        assert status.details[1].Unpack(retry)
        pause_s = retry.retry_delay.ToNanoseconds() / 1e9
    return info.reason, dict(info.metadata), pause_s


def jobs(caller: Caller) -> list[Job]:
    return list(caller.render.ListJobs(pb.ListJobsRequest()).jobs)


def test_requests_above_a_minutes_are_refused_and_told_when(
    gateway: Gateway, a: Caller, b: Caller
) -> None:
    limit(gateway, max_requests_per_minute=3)
    for _ in range(3):
        jobs(a)
    with pytest.raises(grpc.RpcError) as caught:
        jobs(a)
    reason, metadata, pause_s = told(caught.value)
    assert (reason, metadata["limit"]) == ("QUOTA_REQUESTS", "3")
    assert pause_s is not None
    assert 15 < pause_s <= 20
    with pytest.raises(grpc.RpcError) as caught:
        a.tokens.WhoAmI(token_service_pb2.WhoAmIRequest())  # of another service
    assert told(caught.value)[0] == "QUOTA_REQUESTS"
    for _ in range(5):
        jobs(b)
    limit(gateway)
    for _ in range(5):
        jobs(a)


def test_streams_above_the_limit_are_refused_until_one_has_ended(
    gateway: Gateway, a: Caller, b: Caller
) -> None:
    job, image = a.create(a.shot()), a.upload()
    limit(gateway, max_streams=1)
    watch = a.render.WatchJob(pb.WatchJobRequest(name=job.name), timeout=20)
    assert next(iter(watch)).job.name == job.name
    with pytest.raises(grpc.RpcError) as caught:
        a.upload()
    assert told(caught.value) == ("QUOTA_STREAMS", {"limit": "1", "used": "1"}, 1.0)
    with pytest.raises(grpc.RpcError) as caught:
        list(a.render.DownloadImage(pb.DownloadImageRequest(name=image)))
    assert told(caught.value)[0] == "QUOTA_STREAMS"
    assert b.upload() == image
    assert jobs(a)
    watch.cancel()
    eventually(lambda: not gateway._quotas._streams)
    assert a.upload() == image


def test_quotas_of_the_store_are_told_with_their_numbers(gateway: Gateway, a: Caller) -> None:
    limit(gateway, max_queued_shots=2, max_stored_bytes=2**30)
    with pytest.raises(grpc.RpcError) as caught:
        a.create(*(a.shot(seed=seed) for seed in range(3)))
    assert told(caught.value) == ("QUOTA_SHOTS", {"limit": "2", "used": "0"}, None)
    limit(gateway, max_stored_bytes=5)
    with pytest.raises(grpc.RpcError) as caught:
        a.upload()
    assert told(caught.value)[0] == "QUOTA_BYTES"


def test_a_job_says_that_it_waits_for_gpu_time(gateway: Gateway, a: Caller, tmp_path: Path) -> None:
    job = a.create(a.shot())
    limit(gateway, max_gpu_s_per_day=0.0)
    with running_worker(str(gateway.address), tmp_path, token=FARM_TOKEN):
        eventually(lambda: "used 0 s of GPUs" in notice(a, job))
        assert a.job(job.name).state == Job.QUEUED
        limit(gateway)
        assert a.watch(job.name)[-1].job.state == Job.SUCCEEDED


def notice(caller: Caller, job: Job) -> str:
    return caller.job(job.name).notice


def test_an_operator_is_not_limited(gateway: Gateway) -> None:
    changed = Tenant("default", limits=Limits(max_requests_per_minute=0, max_streams=0))
    gateway._store.database.submit(tenants.change, changed).result()
    eventually(lambda: "default" in gateway._quotas._limits, timeout_s=2.0)
    with grpc.insecure_channel(str(gateway.address)) as channel:
        assert by_token(channel, FARM_TOKEN).upload()
        with pytest.raises(grpc.RpcError) as caught:
            jobs(by_token(channel, add_tenant(gateway, "default")))
    assert told(caught.value) == ("QUOTA_REQUESTS", {"limit": "0", "used": "0"}, None)
