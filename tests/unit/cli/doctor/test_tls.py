"""A farm that speaks TLS is a farm: it is never told to be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.cli.connecting import as_arguments
from farm.cli.doctor import gateway, ports
from farm.cli.doctor.check import State
from svdfarm.tls import Tls
from tests.certificates import Authority
from tests.running import LOOPBACK, running_gateway


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def test_a_farm_with_tls_says_so_and_how_workers_reach_it(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue().files
    secured = as_arguments(Tls(authority.cert), plaintext=False)
    with running_gateway(tmp_path / "data", tls=files, worker_address=LOOPBACK) as running:
        address, workers = f"grpcs://{running.address}", str(running.worker_address)
        (check,) = gateway.check_gateway(address, None, secured, workers)
        (http,) = ports.check_http(str(running.http), address)
    assert check.found == f"a farm answers at {running.address}, with TLS; no worker is connected"
    assert f"farm worker --gateway grpcs://{workers}." in check.advice
    assert http.state is State.OK
    assert http.found == f"{running.http} answers /healthz, with TLS: ok"


def test_workers_of_every_address_dial_this_machine_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.node", lambda: "farm-host")
    address = gateway.Address("127.0.0.1", 50051)
    told = gateway.for_workers("127.0.0.1:50051", address, "0.0.0.0:50052")
    assert told == "farm-host:50052"
    assert gateway.for_workers("grpcs://a:1", address, None) == "grpcs://127.0.0.1:50051"


def test_a_farm_that_does_not_fit_is_told_and_not_stopped(
    authority: Authority, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "data", tls=authority.issue().files) as running:
        for address, words in (
            (str(running.address), f"speaks TLS: dial grpcs://{running.address}"),
            (f"grpcs://{running.address}", "is not trusted"),
        ):
            (check,) = gateway.check_gateway(address, None)
            assert check.state is State.FAIL
            assert words in check.found
            assert "Stop" not in check.advice
            assert "FARM_TLS_CA" in check.advice
