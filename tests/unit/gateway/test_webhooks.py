"""Webhooks from the ending of a job to a real HTTP server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import grpc
import pytest
from sqlalchemy import Connection, update

from farm.cli import as_json
from farm.gateway.server import Gateway
from farm.jobs.webhooks import Webhooks
from farm.store import schema
from farm.store.deliveries import DELIVERIES
from farm.store.moves import wake_watchers
from svdfarm import Client
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Delivery, Job, Shot
from tests.postgres import PostgresServer
from tests.receiver import SECRET, Receiver, receiving
from tests.running import eventually, free_port, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller

WEBHOOKS = Webhooks.read(SECRET, private=True)


@pytest.fixture(autouse=True)
def _only_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway looks by itself too late for any test: it has to be told of what is due."""
    monkeypatch.setattr("farm.gateway.notifier._LOOK_S", 3600.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that tells webhooks on this machine."""
    with running_gateway(tmp_path / "data", webhooks=WEBHOOKS) as gateway:
        yield gateway


def create(caller: Caller, webhook: str, *shots: Shot) -> Job:
    job = Job(display_name="a job", webhook=webhook)
    return caller.render.CreateJob(pb.CreateJobRequest(job=job, shots=shots or [caller.shot()]))


def cancelled(caller: Caller, webhook: str) -> Job:
    job = create(caller, webhook)
    return caller.render.CancelJob(pb.CancelJobRequest(name=job.name))


def delivery(caller: Caller, job: Job) -> Delivery:
    return caller.job(job.name).delivery


def make_due(gateway: Gateway) -> None:
    """Lets the pauses between attempts be over."""
    delivery = schema.delivery

    def write(conn: Connection) -> None:
        waiting = update(delivery).where(delivery.c.next_time_s.is_not(None))
        conn.execute(waiting.values(next_time_s=0.0))
        wake_watchers(conn, DELIVERIES)

    gateway._store.database.submit(write).result()


def test_a_rendered_job_is_told_signed_and_as_json_shows_it(
    gateway: Gateway, caller: Caller, receiver: Receiver, tmp_path: Path
) -> None:
    job = create(caller, receiver.url, caller.shot("a"), caller.shot("b"))
    assert job.webhook == receiver.url
    assert not caller.job(job.name).HasField("delivery")
    with running_worker(str(gateway.address), tmp_path):
        caller.watch(job.name)
    eventually(lambda: delivery(caller, job).state == Delivery.DELIVERED)
    (received,) = receiver.received
    told = received.verified()
    with Client(str(gateway.address)) as client:
        shown = as_json.job(client.job(job.name).get())
    assert told["type"] == "job.succeeded"
    assert told["timestamp"] == told["data"]["end_time"]
    for name in ("create_time", "start_time", "end_time"):
        told["data"][name] = datetime.fromisoformat(told["data"][name])
    assert told["data"] == {k: v for k, v in shown.items() if k not in ("webhook", "delivery")}
    assert received.target == "/hook?of=farm"
    assert received.headers["host"] == f"localhost:{receiver.port}"
    assert received.headers["content-type"] == "application/json"
    assert received.id == delivery(caller, job).id
    assert received.verified(SECRET)
    with pytest.raises(Exception, match="No matching signature"):
        received.verified("whsec_" + "A" * 32)


def test_a_message_that_nobody_took_is_sent_again_as_it_was(
    gateway: Gateway, caller: Caller, receiver: Receiver
) -> None:
    receiver.answers += [500, f"http://localhost:{receiver.port}/elsewhere"]
    job = cancelled(caller, receiver.url)
    for count, told in enumerate(("it answered 500", "it answered 307: redirects are"), start=1):
        eventually(lambda count=count: delivery(caller, job).attempt_count == count)
        found = delivery(caller, job)
        assert found.state == Delivery.PENDING
        assert told in found.message
        assert found.next_time.ToSeconds() > caller.job(job.name).end_time.ToSeconds()
        make_due(gateway)
    eventually(lambda: delivery(caller, job).state == Delivery.DELIVERED)
    assert delivery(caller, job).attempt_count == 3
    assert delivery(caller, job).message == ""
    assert {received.target for received in receiver.received} == {"/hook?of=farm"}
    assert len({(received.id, received.body) for received in receiver.received}) == 1
    assert [received.verified()["type"] for received in receiver.received] == ["job.cancelled"] * 3


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(
    gateway: Gateway, caller: Caller, receiver: Receiver
) -> None:
    receiver.answers.append(410)
    job = cancelled(caller, receiver.url)
    eventually(lambda: delivery(caller, job).state == Delivery.GIVEN_UP)
    assert delivery(caller, job).message == "it answered 410"
    assert len(receiver.received) == 1


def test_a_requeued_job_tells_of_each_ending(
    gateway: Gateway, caller: Caller, receiver: Receiver, tmp_path: Path
) -> None:
    job = cancelled(caller, receiver.url)
    eventually(lambda: len(receiver.received) == 1)
    caller.render.RequeueJob(pb.RequeueJobRequest(name=job.name, states=[Shot.CANCELLED]))
    with running_worker(str(gateway.address), tmp_path):
        eventually(lambda: len(receiver.received) == 2)
    told = [received.verified()["type"] for received in receiver.received]
    assert told == ["job.cancelled", "job.succeeded"]
    assert len({received.id for received in receiver.received}) == 2


def test_a_receiver_that_hangs_holds_up_no_other_job(
    gateway: Gateway, caller: Caller, receiver: Receiver
) -> None:
    receiver.answers.append(None)
    hanging = cancelled(caller, receiver.url)
    eventually(lambda: len(receiver.received) == 1)
    other = cancelled(caller, receiver.url)
    eventually(lambda: delivery(caller, other).state == Delivery.DELIVERED)
    assert delivery(caller, hanging).state == Delivery.PENDING


def test_a_gateway_that_is_killed_while_it_tells_tells_again(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers.append(None)
    port, data = free_port(), tmp_path / "data"
    command = [sys.executable, "-m", "farm", "gateway", "--address", f"127.0.0.1:{port}"]
    command += ["--http", "127.0.0.1:0", "--data", str(data), "--webhook-private"]
    environment = {**os.environ, "FARM_WEBHOOK_SECRET": SECRET}
    with (
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        try:
            grpc.channel_ready_future(channel).result(60)
            job = cancelled(Caller(channel), receiver.url)
            eventually(lambda: len(receiver.received) == 1)
        finally:
            process.send_signal(signal.SIGKILL)
    with running_gateway(data, webhooks=WEBHOOKS) as gateway:
        eventually(lambda: len(receiver.received) == 2)
        with grpc.insecure_channel(str(gateway.address)) as channel:
            caller = Caller(channel)
            eventually(lambda: delivery(caller, job).state == Delivery.DELIVERED)
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)


def test_several_gateways_tell_each_ending_once(
    postgres: PostgresServer, receiver: Receiver, tmp_path: Path
) -> None:
    with ExitStack() as running:
        url = running.enter_context(postgres.database())
        callers = []
        for _ in range(2):
            gateway = running.enter_context(
                running_gateway(tmp_path / "data", database=url, webhooks=WEBHOOKS)
            )
            channel = running.enter_context(grpc.insecure_channel(str(gateway.address)))
            callers.append(Caller(channel))
        jobs = [cancelled(callers[n % 2], receiver.url) for n in range(20)]
        for job in jobs:
            eventually(lambda job=job: delivery(callers[0], job).state == Delivery.DELIVERED)
    counted = Counter(received.verified()["data"]["name"] for received in receiver.received)
    assert counted == dict.fromkeys((job.name for job in jobs), 1)


def refused(caller: Caller, webhook: str) -> str:
    with pytest.raises(grpc.RpcError) as error:
        create(caller, webhook)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return str(error.value.details())


def test_a_farm_without_a_secret_refuses_a_job_with_a_webhook(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", webhooks=Webhooks(private=True)) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        told = refused(Caller(channel), "https://example.com")
        assert "job.webhook is set" in told
        assert "FARM_WEBHOOK_SECRET" in told


def test_a_gateway_that_does_not_allow_it_tells_no_private_address(
    receiver: Receiver, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with (
        running_gateway(data, webhooks=Webhooks.read(SECRET, private=False)) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        assert refused(caller, receiver.url).startswith("job.webhook begins with http://")
        told = refused(caller, f"https://127.0.0.1:{receiver.port}/")
        assert told.startswith("job.webhook is at 127.0.0.1, which is no public address")
        # What its name resolves to is looked at when it is told.
        job = cancelled(caller, f"https://localhost:{receiver.port}/")
        eventually(lambda: delivery(caller, job).attempt_count == 1)
        message = delivery(caller, job).message
        assert message.startswith("localhost is at no public address")
        assert "127.0.0.1" not in message
        assert "::1" not in message
    assert receiver.received == []


def test_a_private_webhook_is_refused_where_it_is_allowed_no_longer(
    receiver: Receiver, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with (
        running_gateway(data, webhooks=WEBHOOKS) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        job = create(Caller(channel), receiver.url)
    with (
        running_gateway(data, webhooks=Webhooks.read(SECRET, private=False)) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        caller.render.CancelJob(pb.CancelJobRequest(name=job.name))
        eventually(lambda: delivery(caller, job).attempt_count == 1)
        assert delivery(caller, job).message == "it begins with http://; allowed: https://"
    assert receiver.received == []
