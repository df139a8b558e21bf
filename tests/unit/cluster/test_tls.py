"""A worker and its gateway over TLS; no Ray."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from farm.cluster.demand import DemandWatch
from farm.gateway.tls_files import TlsFiles
from farm.jobs.demand import Demand
from svdfarm import Rejected
from svdfarm.tls import Tls
from svdfarm.v1.session_service_pb2 import GetDemandRequest
from tests.certificates import Authority
from tests.running import LOOPBACK, eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller

TOKEN = "a-token-of-this-test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def test_a_worker_with_a_certificate_renders_over_tls(authority: Authority, tmp_path: Path) -> None:
    pair, mine = authority.issue(), authority.issue("me", name="worker")
    files = TlsFiles(pair.cert, pair.key, authority.cert)
    tls = Tls(authority.cert, mine.cert, mine.key)
    with running_gateway(tmp_path / "data", tls=files, worker_address=LOOPBACK) as gateway:
        shown = [path.read_bytes() for path in (authority.cert, mine.key, mine.cert)]
        credentials = grpc.ssl_channel_credentials(*shown)
        with (
            grpc.secure_channel(str(gateway.address), credentials) as channel,
            running_worker(f"grpcs://{gateway.worker_address}", tmp_path, tls=tls),
        ):
            caller = Caller(channel)
            job = caller.create(caller.shot())
            assert caller.watch(job.name)[-1].job.succeeded_shot_count == 1


def test_a_worker_says_why_it_has_no_gateway(authority: Authority, tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", tls=authority.issue().files) as gateway:
        for address, told in (
            (str(gateway.address), f"speaks TLS: dial grpcs://{gateway.address}"),
            (f"grpcs://{gateway.address}", "is not trusted"),
        ):
            with running_worker(address, tmp_path) as worker:
                eventually(lambda worker=worker, told=told: told in worker.problem)


def test_a_worker_reads_its_files_again_when_it_dials_again(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue().files
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority(tmp_path / "other").cert.read_bytes())
    with (
        running_gateway(tmp_path / "data", tls=files) as gateway,
        running_worker(f"grpcs://{gateway.address}", tmp_path, tls=Tls(ca)) as worker,
    ):
        eventually(lambda: "is not trusted" in worker.problem)
        ca.write_text("no PEM\n")
        eventually(lambda: "holds no certificate" in worker.problem)
        ca.write_bytes(authority.cert.read_bytes())
        eventually(lambda: worker.connected)


def test_a_worker_sends_its_token_to_no_other_machine_in_plaintext(tmp_path: Path) -> None:
    with (
        pytest.raises(Rejected, match="the token is not sent"),
        running_worker("farm.example:50052", tmp_path, token=TOKEN),
    ):
        pass


def test_demand_is_asked_for_over_tls(authority: Authority, tmp_path: Path) -> None:
    request = GetDemandRequest(model="tiny", group="one", shot_limit=4)
    with running_gateway(tmp_path, tls=authority.issue().files, token=TOKEN) as gateway:
        address = f"grpcs://{gateway.address}"
        watch = DemandWatch(address, TOKEN, request, tls=Tls(authority.cert))
        try:
            eventually(lambda: watch.latest == Demand())
        finally:
            watch.stop()
