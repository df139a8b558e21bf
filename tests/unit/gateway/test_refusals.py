"""What the gateway refuses, and in which words."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image

from farm.gateway.config import Address, ConfigInvalid, GatewayConfig
from farm.gateway.server import Gateway
from farm.store.blobs import FARM_ID
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc
from svdfarm.v1.resources_pb2 import Encoding, Shot
from tests.running import LOOPBACK, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller, reason

Metadata = tuple[tuple[str, str], ...]
TOKEN = "a-long-enough-secret-of-a-test"


def violations(error: grpc.RpcError) -> dict[str, str]:
    """The field violations of a refused call."""
    status = rpc_status.from_call(error)
    assert status is not None
    found = {}
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            found |= {v.field: v.description for v in bad.field_violations}
    return found


def test_every_wrong_field_of_every_shot_is_named(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        caller.create(
            caller.shot("fine"),
            caller.shot("wide", width_px=570, fps=0),
            caller.shot("late", decode_chunk_size=4),
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert violations(refused.value) == {
        "shots[1].width_px": "is 570; allowed: a multiple of 8 from 56 to 2048",
        "shots[1].fps": "is 0; allowed: a whole number from 1 to 60",
        "shots[2].decode_chunk_size": "is 4; allowed: from 1 to frame_count (3)",
    }
    assert caller.render.ListJobs(pb.ListJobsRequest()).jobs == []


WRONG: dict[str, tuple[Callable[[Shot], None], str, str]] = {
    "model": (lambda s: setattr(s.params, "model", "sdv"), "shots[0].model", "'sdv'; this farm"),
    "codec": (
        lambda s: s.params.encoding.CopyFrom(Encoding(codec="vp9")),
        "shots[0].codec",
        "'vp9'; allowed: h264",
    ),
    "image": (lambda s: setattr(s, "image", "../secret"), "shots[0].image", "64 lower-case hex"),
    "name": (lambda s: setattr(s, "display_name", "a/b"), "shots[0].display_name", "'a/b'"),
    "output": (
        lambda s: setattr(s, "output_name", "../out.mp4"),
        "shots[0].output_name",
        "'../out.mp4'; allowed",
    ),
    "guidance": (
        lambda s: setattr(s.params, "min_guidance_scale", 4.0),
        "shots[0].min_guidance_scale",
        "at most max_guidance_scale (3)",
    ),
    "nan": (
        lambda s: setattr(s.params, "noise_aug_strength", float("nan")),
        "shots[0].noise_aug_strength",
        "nan; allowed: a number from 0 to 10",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_told_with_what_is_allowed(caller: Caller, name: str) -> None:
    spoil, field, words = WRONG[name]
    shot = caller.shot()
    spoil(shot)
    with pytest.raises(grpc.RpcError) as refused:
        caller.create(shot)
    assert words in violations(refused.value)[field]


def test_two_shots_with_one_output_name_are_refused(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        caller.create(caller.shot("same"), caller.shot("same"))
    assert list(violations(refused.value)) == ["shots[0].output_name", "shots[1].output_name"]


def test_a_job_without_shots_is_refused(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError, match="from 1 to 10000"):
        caller.create()


def test_an_image_that_was_not_uploaded_is_refused(caller: Caller) -> None:
    shot = caller.shot()
    shot.image = "images/" + "0" * 64
    with pytest.raises(grpc.RpcError) as refused:
        caller.create(shot)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def bomb() -> bytes:
    """A small file of very many pixels."""
    file = io.BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    return file.getvalue()


BAD_IMAGES: dict[str, tuple[bytes, grpc.StatusCode]] = {
    "nothing": (b"", grpc.StatusCode.INVALID_ARGUMENT),
    "text": (b"not a picture", grpc.StatusCode.INVALID_ARGUMENT),
    "gif": (b"GIF89a" + bytes(100), grpc.StatusCode.INVALID_ARGUMENT),
    "cut off": (
        (Path("examples/images/rocket.jpg").read_bytes())[:5000],
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "bomb": (bomb(), grpc.StatusCode.INVALID_ARGUMENT),
    "large": (bytes(17 * 2**20), grpc.StatusCode.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_are_refused_and_leave_nothing(
    caller: Caller, tmp_path: Path, name: str
) -> None:
    data, code = BAD_IMAGES[name]
    parts = (data[i : i + 2**18] for i in range(0, len(data), 2**18))
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.UploadImage(pb.UploadImageRequest(data=part) for part in parts)
    assert refused.value.code() == code
    assert [path.name for path in (tmp_path / "data" / "blobs").iterdir()] == [FARM_ID]


@pytest.mark.parametrize("name", ["jobs/../x", "job/a", "jobs/a b", ""])
def test_names_that_are_none_are_refused(caller: Caller, name: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        caller.job(name)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


CALLS: dict[str, Callable[[grpc.Channel, Metadata], object]] = {
    "unary": lambda channel, metadata: Caller(channel).render.ListJobs(
        pb.ListJobsRequest(), metadata=metadata
    ),
    "server stream": lambda channel, metadata: list(
        Caller(channel).render.WatchJob(pb.WatchJobRequest(), metadata=metadata)
    ),
    "client stream": lambda channel, metadata: Caller(channel).render.UploadImage(
        iter(()), metadata=metadata
    ),
    "session": lambda channel, metadata: list(
        session_service_pb2_grpc.SessionServiceStub(channel).Session(iter(()), metadata=metadata)
    ),
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", TOKEN])
def test_with_a_token_every_call_needs_it(
    guarded: grpc.Channel, kind: str, authorization: str | None
) -> None:
    metadata = (("authorization", authorization),) if authorization else ()
    with pytest.raises(grpc.RpcError) as refused:
        CALLS[kind](guarded, metadata)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_with_its_token_a_call_is_answered(guarded: grpc.Channel) -> None:
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    answer = Caller(guarded).render.ListJobs(pb.ListJobsRequest(), metadata=metadata)
    assert answer.jobs == []


def test_health_needs_no_token(guarded: grpc.Channel) -> None:
    answer = health_pb2_grpc.HealthStub(guarded).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """A channel to a gateway with a token."""
    data = tmp_path_factory.mktemp("data")
    with (
        running_gateway(data, token=TOKEN) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        yield channel


def test_a_session_without_hello_is_ended(
    gateway: Gateway, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.session_service._HELLO_S", 0.2)
    requests: queue.SimpleQueue[None] = queue.SimpleQueue()
    stub = session_service_pb2_grpc.SessionServiceStub(caller.channel)
    try:
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.Session(iter(requests.get, None), timeout=10))
    finally:
        requests.put(None)
    assert reason(refused.value) == "DEADLINE_EXCEEDED"
    assert "no Hello came within 0.2 s" in refused.value.details()


def test_workers_have_a_port_of_their_own(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", worker_address=LOOPBACK) as gateway:
        assert gateway.worker_address.port != gateway.address.port
        with grpc.insecure_channel(str(gateway.address)) as channel:
            stub = session_service_pb2_grpc.SessionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                list(stub.Session(iter([])))
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
            caller = Caller(channel)
            job = caller.create(caller.shot())
            with running_worker(str(gateway.worker_address), tmp_path):
                assert caller.watch(job.name)[-1].job.succeeded_shot_count == 1


EVERYWHERE = Address("0.0.0.0", 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": EVERYWHERE, "token": TOKEN}, "--worker-address"),
        ({"address": LOOPBACK, "token": "short"}, "FARM_TOKEN cannot be used: allowed are 16"),
        ({"address": LOOPBACK, "token": "sixteen and spaces"}, "without spaces"),
        ({"address": LOOPBACK, "token": "sixteen-and-ümlauts"}, "ASCII"),
        ({"address": LOOPBACK, "worker_token": "short"}, "FARM_WORKER_TOKEN cannot be used"),
        ({"address": LOOPBACK, "token": TOKEN, "worker_token": TOKEN}, "one of their own"),
    ],
)
def test_a_setting_that_opens_a_door_is_refused(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigInvalid, match=words) as refused:
        GatewayConfig(**{"http": LOOPBACK, "data": tmp_path, **settings})  # type: ignore[arg-type]
    for secret in settings.values():
        assert not isinstance(secret, str) or secret not in str(refused.value)


@pytest.mark.parametrize("text", ["", "localhost", ":50051", "a:b", "a:99999", "127.0.0.1:-1"])
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="HOST:PORT"):
        Address.parse(text)


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "one") as first:
        second = running_gateway(tmp_path / "two", address=first.address)
        with pytest.raises(ConfigInvalid, match="in use"):
            second.__enter__()
        third = running_gateway(tmp_path / "three", http=first.http)
        with pytest.raises(ConfigInvalid, match=r"--http .* in use"):
            third.__enter__()
