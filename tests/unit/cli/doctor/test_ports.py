"""The farm's own ports: free, a farm's, or held by something else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from farm.cli.doctor import listening, ports
from farm.cli.doctor.check import State
from farm.cli.doctor.listening import Listener
from farm.cli.doctor.ports import Bound
from farm.gateway.config import Address
from farm.gateway.server import Gateway
from tests.running import free_port

LOCAL = "127.0.0.1"
NOT_OURS = "192.0.2.1"  # RFC 5737: nobody's


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """The port of an HTTP server that always says the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((LOCAL, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_port_is_free_taken_or_elsewhere() -> None:
    with socket.create_server((LOCAL, 0)) as listener:
        taken = listener.getsockname()[1]

        assert ports.probe_port(Address(LOCAL, taken)) is Bound.TAKEN
    assert ports.probe_port(Address(LOCAL, taken)) is Bound.FREE
    assert ports.probe_port(Address(NOT_OURS, 50051)) is Bound.ELSEWHERE
    assert ports.probe_port(Address("nobody.invalid", 50051)) is Bound.ELSEWHERE


def test_looking_at_a_port_leaves_it_free() -> None:
    port = free_port()

    assert ports.probe_port(Address(LOCAL, port)) is Bound.FREE

    socket.create_server((LOCAL, port)).close()


def test_a_free_port_is_fine() -> None:
    address = f"{LOCAL}:{free_port()}"

    (check,) = ports.check_http(address, address)

    assert check.state is State.OK
    assert check.found == f"{address} is free"


def test_a_farm_is_known_by_its_healthz(gateway: Gateway) -> None:
    (check,) = ports.check_http(str(gateway.http), str(gateway.address))

    assert check.state is State.OK
    assert check.found == f"{gateway.http} answers /healthz: ok"


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, b"ok\n", State.OK),
        (503, b"stopping\n", State.WARN),
        (200, b"<html>", State.FAIL),
        (404, b"ok\n", State.FAIL),
    ],
)
def test_another_http_server_is_no_farm(status: int, body: bytes, state: State) -> None:
    with answering(status, body) as port:
        (check,) = ports.check_http(f"{LOCAL}:{port}", f"{LOCAL}:{free_port()}")

    assert check.state is state
    if state is State.FAIL:
        assert f"pid {os.getpid()}" in check.found
        assert f"--http {LOCAL}:{port + 1}" in check.advice


def test_a_server_that_says_nothing_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_TIMEOUT_S", 0.2)
    with socket.create_server((LOCAL, 0)) as silent:
        assert ports.get(LOCAL, silent.getsockname()[1], "/") is None


def test_the_http_port_of_another_machines_farm_is_not_looked_for() -> None:
    assert ports.check_http(f"{LOCAL}:{free_port()}", f"{NOT_OURS}:50051") == []


@pytest.mark.parametrize("text", ["", "nowhere", "host:99999"])
def test_an_address_that_is_none_is_told(text: str) -> None:
    (check,) = ports.check_http(text, text)

    assert check.state is State.FAIL
    assert "HOST:PORT" in check.found


def test_an_address_that_may_not_be_bound_is_told() -> None:
    check = ports.judge_http(Address(LOCAL, 80), Bound.FORBIDDEN, None)

    assert check.state is State.FAIL
    assert "permission denied" in check.found


def test_the_highest_port_is_followed_by_any() -> None:
    check = ports.judge_http(Address(LOCAL, 65535), Bound.TAKEN, None)

    assert f"{LOCAL}:0" in check.advice


@pytest.mark.parametrize(
    ("host", "is_loopback", "is_everywhere"),
    [
        ("127.0.0.1", True, False),
        ("127.0.0.53", True, False),
        ("::1", True, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("10.0.0.7", False, False),
        ("fe80::1%eth0", False, False),
    ],
)
def test_who_can_reach_a_listener(host: str, is_loopback: bool, is_everywhere: bool) -> None:
    listener = Listener(host, 6379)

    assert listener.is_loopback is is_loopback
    assert listener.is_everywhere is is_everywhere


def test_listeners_have_address_and_process(tmp_path: Path) -> None:
    with socket.create_server((LOCAL, 0)) as listener:
        port = listener.getsockname()[1]
        found = [one for one in listening.listeners() if one.port == port]

    assert [(one.host, one.is_loopback) for one in found] == [(LOCAL, True)]
    assert found[0].process.endswith(f"pid {os.getpid()}")


def test_an_ipv4_address_of_an_ipv6_socket_is_shown_as_ipv4() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind(("::ffff:127.0.0.1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        sock.listen()
        port = sock.getsockname()[1]
        (found,) = [one for one in listening.listeners() if one.port == port]

    assert found.is_loopback
