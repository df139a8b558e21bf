"""Tokens at a running gateway: the first, the last, and those that end while they are used."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from PIL import Image
from sqlalchemy import URL, Connection, update

from farm.gateway.config import Address, ConfigInvalid
from farm.gateway.server import Gateway
from farm.jobs.access import Scope
from farm.store import schema
from svdfarm.v1 import render_service_pb2 as render_pb
from svdfarm.v1 import session_service_pb2 as session_pb
from svdfarm.v1 import session_service_pb2_grpc
from svdfarm.v1 import token_service_pb2 as pb
from svdfarm.v1.token_service_pb2_grpc import TokenServiceStub
from tests.hostile.conftest import FARM_TOKEN, WORKER_TOKEN, keep_token
from tests.postgres import PostgresServer
from tests.running import LOOPBACK, eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller, reason

Metadata = tuple[tuple[str, str], ...]


@dataclass
class Holder:
    """Somebody who calls with a token, or without."""

    channel: grpc.Channel
    token: str | None = None

    @property
    def metadata(self) -> Metadata:
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @property
    def stub(self) -> TokenServiceStub:
        return TokenServiceStub(self.channel)

    def create(
        self, *scopes: str, name: str = "a token", **fields: object
    ) -> pb.CreateTokenResponse:
        request = pb.CreateTokenRequest(display_name=name, scopes=scopes, **fields)  # type: ignore[arg-type]
        return self.stub.CreateToken(request, metadata=self.metadata)

    def revoke(self, name: str) -> pb.Token:
        return self.stub.RevokeToken(pb.RevokeTokenRequest(name=name), metadata=self.metadata)

    def who(self) -> pb.WhoAmIResponse:
        return self.stub.WhoAmI(pb.WhoAmIRequest(), metadata=self.metadata)

    def listed(self, page_size: int = 0) -> list[pb.Token]:
        found, page_token = [], ""
        while True:
            request = pb.ListTokensRequest(page_size=page_size, page_token=page_token)
            page = self.stub.ListTokens(request, metadata=self.metadata)
            found += page.tokens
            page_token = page.next_page_token
            if not page_token:
                return found


@contextmanager
def refused(code: grpc.StatusCode, told: str) -> Iterator[None]:
    with pytest.raises(grpc.RpcError) as error:
        yield
    assert (error.value.code(), reason(error.value)) == (code, told)


UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture
def anyone(gateway: Gateway) -> Iterator[Holder]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield Holder(channel)


@pytest.fixture
def operator(anyone: Holder) -> Holder:
    """The holder of the first token."""
    return Holder(anyone.channel, anyone.create("operate", "render").text)


def test_on_loopback_a_farm_without_tokens_is_open_until_its_first(anyone: Holder) -> None:
    assert set(anyone.who().scopes) == {"render", "operate", "work", "metrics"}

    made = anyone.create("operate", name="the first")

    with refused(UNAUTHENTICATED, "TOKEN_MISSING"):
        anyone.who()
    found = Holder(anyone.channel, made.text).who()
    assert (found.tenant, list(found.scopes)) == ("default", ["operate"])
    assert found.token.display_name == "the first"
    assert made.text.startswith("svdfarm_" + found.token.name.removeprefix("tokens/") + "_")


def test_the_first_token_has_to_keep_operators_in(anyone: Holder) -> None:
    with refused(FAILED_PRECONDITION, "NO_OPERATOR_TOKEN"):
        anyone.create("render")
    request = pb.CreateTokenRequest(display_name="short", scopes=["operate"])
    request.ttl.FromSeconds(3600)
    with refused(FAILED_PRECONDITION, "NO_OPERATOR_TOKEN"):
        anyone.stub.CreateToken(request)
    assert anyone.who().scopes  # nothing has changed


def test_a_farm_is_open_again_after_its_very_last_token(anyone: Holder, operator: Holder) -> None:
    other = operator.create("render").token.name
    own = operator.who().token.name
    with refused(FAILED_PRECONDITION, "LAST_OPERATOR_TOKEN"):
        operator.revoke(own)

    assert operator.revoke(other).HasField("revoke_time")
    operator.revoke(own)

    eventually(lambda: not _refused(anyone.who))


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except grpc.RpcError:
        return True
    return False


def test_a_token_is_told_once_and_listed_without_its_secret(operator: Holder) -> None:
    made = [operator.create("render", name=f"number {n}") for n in range(3)]

    listed = operator.listed(page_size=2)

    assert [token.display_name for token in listed[1:]] == ["number 0", "number 1", "number 2"]
    assert all(one.text.rpartition("_")[2] not in str(listed) for one in made)


def test_uses_are_noted_without_a_write_each(
    gateway: Gateway, operator: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.who()
    monkeypatch.setattr("farm.gateway.keyring._NOTE_USES_EVERY_S", 0.0)
    monkeypatch.setattr("farm.gateway.keyring._LOOK_EVERY_S", 0.01)
    gateway._keyring.look()
    eventually(lambda: operator.listed()[0].HasField("use_time"))


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("display_name", pb.CreateTokenRequest(scopes=["render"])),
        ("display_name", pb.CreateTokenRequest(display_name="a\nb", scopes=["render"])),
        ("display_name", pb.CreateTokenRequest(display_name="a" * 129, scopes=["render"])),
        ("scopes", pb.CreateTokenRequest(display_name="a")),
        ("scopes[1]", pb.CreateTokenRequest(display_name="a", scopes=["render", "root"])),
        ("tenant", pb.CreateTokenRequest(display_name="a", scopes=["render"], tenant="A B")),
        ("ttl", pb.CreateTokenRequest(display_name="a", scopes=["render"], ttl={"seconds": 59})),
        ("ttl", pb.CreateTokenRequest(display_name="a", scopes=["render"], ttl={"seconds": -1})),
        (
            "ttl",
            pb.CreateTokenRequest(display_name="a", scopes=["render"], ttl={"seconds": 315576000}),
        ),
        (
            "ttl",
            pb.CreateTokenRequest(display_name="a", scopes=["render"], ttl={"nanos": 2**31 - 1}),
        ),
    ],
)
def test_a_wrong_field_of_a_token_is_named(
    operator: Holder, field: str, request_: pb.CreateTokenRequest
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        operator.stub.CreateToken(request_, metadata=operator.metadata)
    assert (error.value.code(), reason(error.value)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )
    assert error.value.details().startswith(f"{field} ")


def test_a_token_pasted_as_a_name_is_not_shown(operator: Holder) -> None:
    assert operator.token
    with pytest.raises(grpc.RpcError) as error:
        operator.revoke(f"tokens/{operator.token}")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert operator.token.rpartition("_")[2] not in error.value.details()
    with refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        operator.revoke("tokens/abc")


Open = Callable[[grpc.Channel, Metadata, str, threading.Event], Iterator[object]]


def watch(
    channel: grpc.Channel, metadata: Metadata, job: str, _: threading.Event | None = None
) -> Iterator[object]:
    request = render_pb.WatchJobRequest(name=job)
    return Caller(channel).render.WatchJob(request, metadata=metadata, timeout=60)


def session(
    channel: grpc.Channel, metadata: Metadata, _: str, over: threading.Event
) -> Iterator[object]:
    stub = session_service_pb2_grpc.SessionServiceStub(channel)

    def requests() -> Iterator[session_pb.SessionRequest]:
        yield session_pb.SessionRequest(hello={"worker": {"name": "workers/w"}})
        over.wait()

    return stub.Session(requests(), metadata=metadata, timeout=60)


def upload(
    channel: grpc.Channel, metadata: Metadata, _: str, over: threading.Event
) -> Iterator[object]:
    begun = threading.Event()

    def requests() -> Iterator[render_pb.UploadImageRequest]:
        yield render_pb.UploadImageRequest(data=b"\xff\xd8 half of an image")
        begun.set()
        over.wait()

    stub = Caller(channel).render
    ended = stub.UploadImage.future(requests(), metadata=metadata, timeout=60)
    assert begun.wait(10)
    yield "begun"
    yield ended.result()


def unread_download(
    channel: grpc.Channel, metadata: Metadata, _: str, over: threading.Event
) -> Iterator[object]:
    """Of an image larger than what gRPC takes in before somebody reads."""
    file = io.BytesIO()
    Image.frombytes("RGB", (2000, 2000), os.urandom(12_000_000)).save(file, "PNG")
    data = file.getvalue()
    parts = (data[i : i + 2**18] for i in range(0, len(data), 2**18))
    stub = Caller(channel).render
    sent = stub.UploadImage(map(_part, parts), metadata=metadata)
    request = render_pb.DownloadImageRequest(name=sent.name)
    return stub.DownloadImage(request, metadata=metadata, timeout=60)


def _part(data: bytes) -> render_pb.UploadImageRequest:
    return render_pb.UploadImageRequest(data=data)


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set after the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("open_stream", [watch, session, upload, unread_download])
@pytest.mark.parametrize("ending", ["revoked", "expired"])
def test_an_open_stream_ends_with_its_token(
    gateway: Gateway,
    operator: Holder,
    over: threading.Event,
    open_stream: Open,
    ending: str,
) -> None:
    made = operator.create("render", "work")
    holder = Holder(operator.channel, made.text)
    caller = Caller(operator.channel)
    job = caller.render.CreateJob(_job(caller, holder.metadata), metadata=holder.metadata).name
    stream = open_stream(operator.channel, holder.metadata, job, over)
    next(stream)

    if ending == "revoked":
        operator.revoke(made.token.name)
    else:
        expire(gateway, made.token.name)
        gateway._keyring.look()  # as it does every few seconds

    eventually(lambda: not gateway._keyring._open_calls)
    with refused(UNAUTHENTICATED, f"TOKEN_{ending.upper()}"):
        list(stream)
    with refused(UNAUTHENTICATED, f"TOKEN_{ending.upper()}"):
        holder.who()


def _job(caller: Caller, metadata: Metadata) -> render_pb.CreateJobRequest:
    data = (Path("examples/images") / "rocket.jpg").read_bytes()
    parts = (data[i : i + 2**18] for i in range(0, len(data), 2**18))
    requests = (render_pb.UploadImageRequest(data=part) for part in parts)
    image = caller.render.UploadImage(requests, metadata=metadata).name
    shot = {"image": image, "params": {"model": "tiny"}}
    return render_pb.CreateJobRequest(job={"display_name": "a job"}, shots=[shot])


def expire(gateway: Gateway, name: str) -> None:
    """Has a token expire now."""

    def change(conn: Connection) -> None:
        row = schema.token.c.id == name.removeprefix("tokens/")
        conn.execute(update(schema.token).where(row).values(expire_time_s=time.time() - 1))

    gateway._store.database.submit(change).result()


def test_streams_of_an_open_farm_end_with_its_first_token(anyone: Holder) -> None:
    caller = Caller(anyone.channel)
    job = caller.create(caller.shot(model="svd-xt")).name
    stream = watch(anyone.channel, (), job)
    next(stream)

    anyone.create("operate")

    with refused(UNAUTHENTICATED, "TOKEN_MISSING"):
        list(stream)


def test_workers_with_a_token_go_on_when_the_first_is_made(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", worker_token=WORKER_TOKEN) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
        running_worker(str(gateway.address), tmp_path, token=WORKER_TOKEN) as worker,
    ):
        eventually(lambda: worker.connected)
        before = worker._session
        operator = Holder(channel, Holder(channel).create("operate", "render").text)
        caller = Caller(channel)
        request = _job(caller, operator.metadata)
        job = caller.render.CreateJob(request, metadata=operator.metadata)
        *_, last = watch(channel, operator.metadata, job.name)
        assert last.job.succeeded_shot_count == 1  # type: ignore[attr-defined]
        assert worker._session is before


def test_a_worker_whose_token_is_refused_says_why(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", token=FARM_TOKEN) as gateway,
        running_worker(str(gateway.address), tmp_path, token="some-other-token") as worker,
    ):
        eventually(lambda: "does not know the token" in worker.problem)


EVERYWHERE = Address("0.0.0.0", 0)


@pytest.mark.parametrize(
    "addresses",
    [
        {"address": EVERYWHERE, "worker_address": LOOPBACK},
        {"worker_address": EVERYWHERE},
        {"http": EVERYWHERE},
    ],
)
def test_an_open_door_is_refused_at_the_start(
    tmp_path: Path, addresses: dict[str, Address]
) -> None:
    with (
        pytest.raises(ConfigInvalid, match=r"FARM_TOKEN .*token create .*--offline"),
        running_gateway(tmp_path / "data", plaintext=True, **addresses),  # type: ignore[arg-type]
    ):
        pass


def test_off_loopback_an_operators_token_in_the_table_is_enough(tmp_path: Path) -> None:
    addresses = {"address": EVERYWHERE, "worker_address": LOOPBACK}
    with running_gateway(tmp_path / "data") as gateway:
        kept = keep_token(gateway._store.database, Scope.OPERATE)
    with (
        running_gateway(tmp_path / "data", plaintext=True, **addresses) as gateway,  # type: ignore[arg-type]
        grpc.insecure_channel(f"127.0.0.1:{gateway.address.port}") as channel,
    ):
        operator = Holder(channel, kept)
        with refused(UNAUTHENTICATED, "TOKEN_MISSING"):
            Holder(channel).who()
        with refused(FAILED_PRECONDITION, "LAST_OPERATOR_TOKEN"):
            operator.revoke(operator.who().token.name)


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[URL]:
    with postgres.database() as url:
        yield url


def test_a_revocation_at_one_gateway_bites_at_another(
    url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.keyring._LOOK_EVERY_S", 600.0)  # it has to be told
    data = tmp_path / "data"
    with ExitStack() as farm:
        first, second = (
            farm.enter_context(running_gateway(data, database=url, token=FARM_TOKEN))
            for _ in range(2)
        )
        channels = [
            farm.enter_context(grpc.insecure_channel(str(g.address))) for g in (first, second)
        ]
        operator = Holder(channels[0], FARM_TOKEN)
        made = operator.create("render")
        there = Holder(channels[1], made.text)
        eventually(lambda: not _refused(there.who), timeout_s=5)
        operator.revoke(made.token.name)
        eventually(lambda: _refused(there.who), timeout_s=5)


def test_a_change_that_nobody_told_of_is_noticed(
    gateway: Gateway, operator: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.keyring._LOOK_EVERY_S", 0.05)
    made = operator.create("render")  # and has it look, as often as that from now on

    expire(gateway, made.token.name)

    eventually(lambda: _refused(Holder(operator.channel, made.text).who), timeout_s=5)


def test_nobody_is_let_in_by_what_was_known_long_ago(
    gateway: Gateway, operator: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.keyring._STALE_S", -1.0)
    with refused(grpc.StatusCode.UNAVAILABLE, "STORE_AWAY"):
        operator.who()
