"""The farm at the address, told from what else may be there."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from farm import __version__
from farm.cli.doctor import gateway
from farm.cli.doctor.check import State
from farm.jobs.access import Scope
from svdfarm import Failure, Worker
from svdfarm.resources import WorkerState
from tests.hostile.conftest import keep_token
from tests.running import eventually, free_port, running_gateway, running_worker

LOCAL = "127.0.0.1"
TOKEN = "0123456789abcdef"
WORKER = Worker(
    name="workers/w1",
    state=WorkerState.ACTIVE,
    device="cuda:0",
    hostname="gpu-box",
    pid=1,
    shot="",
    models=(),
    version=__version__,
    connect_time=None,
    error=None,
)


def test_where_nobody_listens_a_farm_can_start() -> None:
    address = f"{LOCAL}:{free_port()}"

    (check,) = gateway.check_gateway(address, None)

    assert check.state is State.OK
    assert check.found == f"{address} is free: no farm runs there"


def test_a_farm_without_workers_is_told_how_to_get_some(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as running:
        (check,) = gateway.check_gateway(str(running.address), None)

    assert check.state is State.WARN
    assert "no worker is connected" in check.found
    assert f"farm worker --gateway {running.address}" in check.advice


def test_each_worker_has_a_line_with_its_model_and_state(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as running:
        address = str(running.address)
        with running_worker(address, tmp_path), running_worker(address, tmp_path):
            eventually(
                lambda: (
                    [worker.state for worker in gateway.ask(address, None).workers]
                    == [WorkerState.ACTIVE] * 2
                )
            )
            farm, *workers = gateway.check_gateway(address, None)

    assert farm.state is State.OK
    assert farm.found == f"a farm answers at {address}; 2 of 2 workers active"
    assert len(workers) == 2
    for worker in workers:
        assert "ACTIVE" in worker.found
        assert "tiny (test pattern), idle" in worker.found
        assert worker.state is State.WARN  # its version is `test`
        assert worker.found.endswith("svdfarm test")


@pytest.mark.parametrize("token", [None, "another-token-of-as-many-characters"])
def test_a_refused_token_is_said_and_not_shown(token: str | None, tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", token=TOKEN) as running:
        (check,) = gateway.check_gateway(str(running.address), token)

    assert check.state is State.FAIL
    assert "refuses the token" in check.found
    assert "FARM_TOKEN" in check.advice
    assert (token or TOKEN) not in check.found + check.advice


def test_the_right_token_lets_in(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", token=TOKEN) as running:
        (check,) = gateway.check_gateway(str(running.address), TOKEN)

    assert "a farm answers" in check.found


def test_a_token_that_may_not_see_the_workers_is_well(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", token=TOKEN) as running:
        token = keep_token(running._store.database, Scope.RENDER)
        eventually(lambda: running._keyring.token(token.split("_")[1]))
        (check,) = gateway.check_gateway(str(running.address), token)

    assert check.state is State.OK
    assert "its workers are for a token with scope operate" in check.found


def test_a_token_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as running:
        (check,) = gateway.check_gateway(str(running.address), "to\nken")

    assert check.state is State.FAIL
    assert "characters that no token has" in check.found


def test_a_port_that_something_else_holds_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_TIMEOUT_S", 0.3)
    with socket.create_server((LOCAL, 0)) as silent:
        port = silent.getsockname()[1]
        (check,) = gateway.check_gateway(f"{LOCAL}:{port}", None)

    assert check.state is State.FAIL
    assert "no farm answers" in check.found
    assert f"--address {LOCAL}:{port + 1}" in check.advice


def test_another_grpc_server_is_no_farm() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port(f"{LOCAL}:0")
        server.start()
        (check,) = gateway.check_gateway(f"{LOCAL}:{port}", None)
        server.stop(0).wait()

    assert check.state is State.FAIL
    assert "UNIMPLEMENTED" in check.found


def test_a_farm_elsewhere_that_does_not_answer_fails() -> None:
    (check,) = gateway.check_gateway("nobody.invalid:50051", None)

    assert check.state is State.FAIL
    assert "no farm answers at nobody.invalid:50051" in check.found


@pytest.mark.parametrize(
    ("worker", "state", "found"),
    [
        (WORKER, State.OK, "w1 ACTIVE, cuda:0, no model, idle"),
        (replace(WORKER, shot="jobs/j/shots/1"), State.OK, "no model, jobs/j/shots/1"),
        (replace(WORKER, state=WorkerState.DRAINING), State.OK, "DRAINING"),
        (
            replace(WORKER, state=WorkerState.FAILED, error=Failure("X", "the GPU fell off")),
            State.FAIL,
            "the GPU fell off",
        ),
        (replace(WORKER, state=WorkerState.FAILED), State.FAIL, "does not say why"),
        (replace(WORKER, version="0.0.1"), State.WARN, "svdfarm 0.0.1"),
    ],
)
def test_a_worker_is_judged_by_state_and_version(worker: Worker, state: State, found: str) -> None:
    check = gateway.judge_worker(worker)

    assert check.state is state
    assert found in check.found
    assert bool(check.advice) is (state is not State.OK)
