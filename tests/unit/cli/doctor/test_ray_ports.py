"""Ray's ports: open to other machines, guarded, or not Ray's at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from farm.cli.doctor import ray_ports
from farm.cli.doctor.check import State
from farm.cli.doctor.listening import Listener
from farm.cli.doctor.ray_ports import Answer
from tests.unit.cli.doctor.test_ports import LOCAL, answering

# What Ray 2.60 said, started by hand with RAY_AUTH_MODE=disabled and =token.
OPEN_DASHBOARD = (200, '{"version": "4", "ray_version": "2.60.0", "ray_commit": "b7f4259"}')
GUARDED_DASHBOARD = (401, "Unauthorized: Missing authentication token")


@contextmanager
def refusing(code: grpc.StatusCode) -> Iterator[int]:
    """The port of a gRPC server that ends every call with `code`."""

    class Refuse(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
                if code is not grpc.StatusCode.OK:
                    context.abort(code, "no")
                return b""

            return grpc.unary_unary_rpc_method_handler(refuse)

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=[Refuse()])
        port = server.add_insecure_port(f"{LOCAL}:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (OPEN_DASHBOARD, Answer.OPEN),
        (GUARDED_DASHBOARD, Answer.GUARDED),
        ((200, "<html>hello</html>"), Answer.UNKNOWN),
        ((404, "ray_version"), Answer.UNKNOWN),
        (None, Answer.UNKNOWN),
    ],
)
def test_a_dashboard_tells_whether_it_is_guarded(
    answer: tuple[int, str] | None, meaning: Answer
) -> None:
    assert ray_ports.judge_http(answer) is meaning


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (grpc.StatusCode.OK, Answer.OPEN),
        (grpc.StatusCode.NOT_FOUND, Answer.OPEN),
        (grpc.StatusCode.UNAUTHENTICATED, Answer.GUARDED),
        (grpc.StatusCode.UNIMPLEMENTED, Answer.UNKNOWN),
    ],
)
@pytest.mark.parametrize("ray_port", [6379, 10001])
def test_a_grpc_port_is_asked_over_the_network(
    code: grpc.StatusCode, meaning: Answer, ray_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing(code) as port:
        monkeypatch.setattr(ray_ports, "_METHODS", {port: ray_ports._METHODS[ray_port]})

        assert ray_ports.ask(Listener(LOCAL, port)) is meaning


def test_the_dashboard_is_asked_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(OPEN_DASHBOARD[0], OPEN_DASHBOARD[1].encode()) as port:
        monkeypatch.setattr(ray_ports, "_DASHBOARD", port)

        assert ray_ports.ask(Listener("0.0.0.0", port)) is Answer.OPEN


def test_what_is_not_grpc_is_not_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_ports, "_TIMEOUT_S", 0.3)
    with socket.create_server((LOCAL, 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(ray_ports, "_METHODS", {port: ray_ports._METHODS[6379]})

        assert ray_ports.ask(Listener(LOCAL, port)) is Answer.UNKNOWN


def test_an_open_port_fails_a_guarded_one_warns_and_none_is_fine() -> None:
    found = [
        (Listener("0.0.0.0", 6379, "gcs_server, pid 7"), Answer.OPEN),
        (Listener("10.0.0.7", 8265), Answer.GUARDED),
        (Listener("::", 10001), Answer.UNKNOWN),
    ]

    opened, guarded, unknown = ray_ports.judge_ray(found)
    (none,) = ray_ports.judge_ray([])

    assert opened.state is State.FAIL
    assert opened.found.startswith("port 6379 is open on every address (gcs_server, pid 7)")
    assert "CVE-2023-48022" in opened.found
    assert "RAY_AUTH_MODE=token" in opened.advice
    assert guarded.state is State.WARN
    assert guarded.found.startswith("port 8265 is open on 10.0.0.7: Ray's dashboard, guarded")
    assert unknown.state is State.WARN
    assert none.state is State.OK


def test_loopback_and_doubles_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server((LOCAL, 0)) as near,
        socket.create_server(("0.0.0.0", 0)) as far,
        socket.create_server(("::", far.getsockname()[1]), family=socket.AF_INET6) as far6,
    ):
        numbers = [sock.getsockname()[1] for sock in (near, far, far6)]
        monkeypatch.setattr(ray_ports, "WHAT", dict.fromkeys(numbers, "Ray"))
        monkeypatch.setattr(ray_ports, "ask", lambda _: Answer.OPEN)

        (check,) = ray_ports.check_ray()

    assert check.found.startswith(f"port {numbers[1]} is open on every address")
