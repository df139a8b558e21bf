from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from farm.gateway.server import Gateway
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc as pb_grpc
from svdfarm.v1 import (
    resources_pb2,
    token_service_pb2_grpc,
    worker_service_pb2,
    worker_service_pb2_grpc,
)
from tests.running import IMAGES

SMALL = resources_pb2.RenderParams(
    model="tiny", width_px=64, height_px=64, frame_count=3, step_count=2, seed=7
)


@dataclass
class Caller:
    """The bare stubs: these tests look at the wire, not at the SDK."""

    channel: grpc.Channel

    def __post_init__(self) -> None:
        self.render = pb_grpc.RenderServiceStub(self.channel)
        self.worker = worker_service_pb2_grpc.WorkerServiceStub(self.channel)
        self.tokens = token_service_pb2_grpc.TokenServiceStub(self.channel)

    def upload(self, path: Path = IMAGES / "rocket.jpg") -> str:
        data = path.read_bytes()
        parts = (data[i : i + 2**18] for i in range(0, len(data), 2**18))
        sent = self.render.UploadImage(pb.UploadImageRequest(data=part) for part in parts)
        assert sent.name == f"images/{hashlib.sha256(data).hexdigest()}"
        return sent.name

    def shot(self, name: str = "", **params: object) -> resources_pb2.Shot:
        wanted = resources_pb2.RenderParams()
        wanted.CopyFrom(SMALL)
        wanted.MergeFrom(resources_pb2.RenderParams(**params))  # type: ignore[arg-type]
        return resources_pb2.Shot(image=self.upload(), params=wanted, display_name=name)

    def create(self, *shots: resources_pb2.Shot, request_id: str = "") -> resources_pb2.Job:
        request = pb.CreateJobRequest(
            job=resources_pb2.Job(display_name="a job"), shots=shots, request_id=request_id
        )
        return self.render.CreateJob(request)

    def watch(self, name: str, resume_token: str = "") -> list[pb.WatchJobResponse]:
        request = pb.WatchJobRequest(name=name, resume_token=resume_token)
        return list(self.render.WatchJob(request, timeout=60))

    def job(self, name: str) -> resources_pb2.Job:
        return self.render.GetJob(pb.GetJobRequest(name=name))

    def shots(self, parent: str) -> list[resources_pb2.Shot]:
        return list(self.render.ListShots(pb.ListShotsRequest(parent=parent)).shots)

    def workers(self) -> list[resources_pb2.Worker]:
        return list(self.worker.ListWorkers(worker_service_pb2.ListWorkersRequest()).workers)

    def download(self, name: str, offset_bytes: int = 0) -> bytes:
        request = pb.DownloadVideoRequest(name=name, offset_bytes=offset_bytes)
        return b"".join(part.data for part in self.render.DownloadVideo(request, timeout=60))


def reason(error: grpc.RpcError) -> str:
    """What a refused call says to programs."""
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield Caller(channel)
