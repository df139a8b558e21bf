"""Every HTTP route with every kind of token, and requests that nobody should make."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route as AppRoute
from starlette.testclient import TestClient

from farm.gateway.access import METHODS, ROUTES, Access, Route
from farm.gateway.config import Address, Limits
from farm.gateway.http import http_app
from farm.gateway.http_gate import HEADERS, Gate, Rate
from farm.gateway.server import Gateway
from farm.jobs.access import Scope
from tests.hostile.conftest import FARM_TOKEN, WORKER_TOKEN, Guarded, keep_token
from tests.running import LOOPBACK, eventually, running_gateway

Answer = tuple[int, str, Mapping[str, str]]


def ask(
    gateway: Gateway,
    path: str,
    token: str | None = None,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.http.port, timeout=20)
    bearer = {"Authorization": f"Bearer {token}"} if token is not None else {}
    try:
        connection.request(method, path, headers={**bearer, **(headers or {})})
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, answer.read().decode(), told
    finally:
        connection.close()


def test_the_table_has_exactly_the_routes_that_are_served(guarded: Guarded) -> None:
    app = http_app(lambda: True, guarded.gateway._scraper, guarded.gateway._web.app)
    paths = {route.path for route in app.routes if isinstance(route, AppRoute)}
    assert paths == set(ROUTES)
    assert len(app.routes) == len(ROUTES) + 1  # and the web side, whose calls are gRPC's


CLOSED = [path for path, route in ROUTES.items() if not route.access.open]


@pytest.mark.parametrize("path", CLOSED)
def test_a_token_that_is_none_is_refused(guarded: Guarded, path: str) -> None:
    kept = guarded.tokens
    refused = {}
    for kind, token in {
        "no token": None,
        "malformed": kept.malformed,
        "unknown": kept.unknown,
        "wrong secret": kept.wrong_secret,
        "expired": kept.expired,
        "revoked": kept.revoked,
    }.items():
        state, body, headers = ask(guarded.gateway, path, token)
        assert headers["www-authenticate"] == "Bearer"
        refused[kind] = (state, body.partition(":")[0])
    assert refused == {
        "no token": (401, "TOKEN_MISSING"),
        "malformed": (401, "TOKEN_INVALID"),
        "unknown": (401, "TOKEN_INVALID"),
        "wrong secret": (401, "TOKEN_INVALID"),
        "expired": (401, "TOKEN_EXPIRED"),
        "revoked": (401, "TOKEN_REVOKED"),
    }


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("scope", Scope)
def test_a_route_is_for_its_scopes_alone(guarded: Guarded, path: str, scope: Scope) -> None:
    state, body, _ = ask(guarded.gateway, path, guarded.tokens.of_scope[scope])
    if scope in ROUTES[path].access.scopes:
        assert state == 200
    else:
        assert (state, body.partition(":")[0]) == (403, "SCOPE_MISSING")


def test_the_farms_own_tokens(guarded: Guarded) -> None:
    assert ask(guarded.gateway, "/metrics", FARM_TOKEN)[0] == 200
    assert ask(guarded.gateway, "/metrics", WORKER_TOKEN)[0] == 403
    assert ask(guarded.gateway, "/metrics", headers={"Cookie": f"token={FARM_TOKEN}"})[0] == 401
    assert ask(guarded.gateway, f"/metrics?token={FARM_TOKEN}")[0] == 401


def test_health_needs_no_token(guarded: Guarded) -> None:
    assert ask(guarded.gateway, "/healthz")[:2] == (200, "ok\n")


def test_metrics_are_open_where_an_operator_says_so(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", token=FARM_TOKEN, open_metrics=True) as gateway:
        assert ask(gateway, "/metrics")[0] == 200


def test_metrics_are_open_until_there_is_a_token(gateway: Gateway) -> None:
    assert ask(gateway, "/metrics")[0] == 200
    keep_token(gateway._store.database, Scope.OPERATE)
    eventually(lambda: ask(gateway, "/metrics")[0] == 401)


@pytest.mark.parametrize(
    ("path", "method", "state"),
    [("/healthz", "GET", 200), ("/metrics", "GET", 401), ("/healthz", "PUT", 405)],
)
def test_every_answer_is_for_nobody_else_to_use(
    guarded: Guarded, path: str, method: str, state: int
) -> None:
    found, _, headers = ask(
        guarded.gateway, path, method=method, headers={"Origin": "https://elsewhere.example"}
    )
    assert found == state
    assert HEADERS.items() <= headers.items()
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(("method", "state"), [("GET", 404), ("PUT", 403)])
def test_the_web_sides_answers_are_for_no_other_site_either(
    guarded: Guarded, method: str, state: int
) -> None:
    found, _, headers = ask(
        guarded.gateway, "/x", method=method, headers={"Origin": "https://elsewhere.example"}
    )
    assert found == state
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FARM"])
@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_other_methods_are_refused(guarded: Guarded, path: str, method: str) -> None:
    state, _, headers = ask(guarded.gateway, path, FARM_TOKEN, method=method)
    assert (state, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_head_is_answered_without_a_body(guarded: Guarded, path: str) -> None:
    state, body, _ = ask(guarded.gateway, path, FARM_TOKEN, method="HEAD")
    assert (state, body) == (200, "")


@pytest.mark.parametrize("path", ["//metrics", "/metrics/", "/METRICS", "/%6detrics", "/./metrics"])
def test_another_spelling_of_a_path_is_no_way_in(guarded: Guarded, path: str) -> None:
    assert ask(guarded.gateway, path)[0] in (307, 401, 404)
    assert "svdfarm_" not in ask(guarded.gateway, path)[1]


@pytest.mark.parametrize(
    ("host", "state"),
    [
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1@evil.example", 421),
        ("10.0.0.1", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_a_loopback_gateway_answers_to_its_own_names_alone(
    guarded: Guarded, host: str, state: int
) -> None:
    assert ask(guarded.gateway, "/healthz", headers={"Host": host})[0] == state


def test_a_gateway_for_other_machines_answers_to_any_name(tmp_path: Path) -> None:
    everywhere = Address("0.0.0.0", 0)
    settings = {"http": everywhere, "token": FARM_TOKEN, "plaintext": True}
    with running_gateway(tmp_path / "data", **settings) as gateway:  # type: ignore[arg-type]
        assert ask(gateway, "/healthz", headers={"Host": "farm.example"})[0] == 200


# What is no whole request


@pytest.fixture
def raw(guarded: Guarded) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", guarded.gateway.http.port), timeout=20) as sock:
        yield sock


def received(sock: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


SLOW = {
    "nothing": b"",
    "half a line": b"GET /heal",
    "half a header": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ",
    "half a body": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_request_that_does_not_end_is_cut(
    raw: socket.socket, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol._REQUEST_S", 0.5)
    with socket.create_connection(raw.getpeername(), timeout=20) as sock:
        sock.sendall(SLOW[kind])
        started_s = time.monotonic()
        received(sock)
        assert time.monotonic() - started_s < 5


def test_a_header_that_comes_byte_by_byte_is_cut(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol._REQUEST_S", 0.5)
    address = ("127.0.0.1", guarded.gateway.http.port)
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        sock.settimeout(0.05)

        def cut() -> bool:
            try:
                sock.sendall(b"a")
                return sock.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        eventually(cut, timeout_s=5)


def test_two_requests_on_one_connection_are_answered(guarded: Guarded) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded.gateway.http.port, timeout=20)
    for _ in range(2):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
    connection.close()


def test_a_header_that_is_too_large_is_refused(raw: socket.socket) -> None:
    raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000)
    answer = received(raw)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"content-security-policy: default-src 'none'" in answer


def test_what_is_no_http_is_refused(raw: socket.socket) -> None:
    raw.sendall(b"\x16\x03\x01\x00\x00 svdfarm_secret\r\n\r\n")
    answer = received(raw)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"secret" not in answer


def test_too_many_connections_are_cut(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol.CONNECTION_LIMIT", 0)
    address = ("127.0.0.1", guarded.gateway.http.port)
    with socket.create_connection(address, timeout=20) as sock:
        assert received(sock) == b""


# How often


def test_an_address_that_asks_too_often_is_told_so(tmp_path: Path) -> None:
    limits = Limits(http_requests_per_s=0.001, http_burst=3)
    with running_gateway(tmp_path / "data", limits=limits) as gateway:
        states = [ask(gateway, "/metrics")[0] for _ in range(5)]
        _, told, headers = ask(gateway, "/metrics")
        assert ask(gateway, "/healthz")[0] == 200  # probes are not counted
    assert states == [200, 200, 200, 429, 429]
    assert "ask less often" in told
    assert HEADERS.items() <= headers.items()


def test_each_address_has_its_own_rate() -> None:
    now_s = 0.0
    rate = Rate(2.0, 4.0, lambda: now_s)

    def allowed(address: str, count: int = 10) -> int:
        return sum(rate.allows(address) for _ in range(count))

    assert allowed("10.0.0.1") == 4
    assert allowed("10.0.0.2") == 4
    assert allowed("2001:db8::1") == 4
    assert allowed("2001:db8::2") == 0  # of the same network
    assert allowed("2001:db8:0:1::1") == 4
    now_s = 1.5
    assert allowed("10.0.0.1") == 3
    now_s = 100.0
    assert allowed("10.0.0.1") == 4


def test_addresses_that_are_remembered_are_bounded() -> None:
    rate = Rate(1.0, 1.0, lambda: 0.0, address_limit=3)
    for number in range(100):
        assert rate.allows(f"10.0.0.{number}")
    assert len(rate._left) == 3


# What the coming pages need


@pytest.fixture
def page(guarded: Guarded) -> TestClient:
    """A route that changes something, behind the gate."""

    async def change(_: Any) -> PlainTextResponse:
        return PlainTextResponse("changed", headers={"content-security-policy": "its own"})

    async def fail(_: Any) -> PlainTextResponse:
        raise RuntimeError("svdfarm_secret")

    from starlette.applications import Starlette

    app = Starlette(routes=[AppRoute("/change", change, methods=["POST"]), AppRoute("/fail", fail)])
    access = Access(METHODS["/svdfarm.v1.WorkerService/DrainWorker"].tenancy, (Scope.OPERATE,))
    table = {"/change": Route(access, ("POST",)), "/fail": Route(access)}
    gate = Gate(app, guarded.gateway._keyring, table, LOOPBACK, Limits())
    bearer = {"authorization": f"Bearer {FARM_TOKEN}"}
    return TestClient(gate, "http://localhost:8080", headers=bearer, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("origin", "state"),
    [
        ("http://localhost:8080", 200),
        ("https://localhost:8080", 200),
        (None, 403),
        ("null", 403),
        ("", 403),
        ("http://localhost", 403),
        ("http://localhost:8081", 403),
        ("http://evil.example", 403),
        ("http://localhost:8080.evil.example", 403),
        ("ftp://localhost:8080", 403),
    ],
)
def test_what_changes_something_has_to_come_from_the_farms_own_pages(
    page: TestClient, origin: str | None, state: int
) -> None:
    headers = {"origin": origin} if origin is not None else {}
    answer = page.post("/change", headers=headers)
    assert answer.status_code == state
    if state == 200:
        assert answer.headers["content-security-policy"] == "its own"
    assert page.get("/change").status_code == 405


def test_a_page_that_changes_something_still_needs_a_token(page: TestClient) -> None:
    page.headers.pop("authorization")
    answer = page.post("/change", headers={"origin": "http://localhost:8080"})
    assert answer.status_code == 401


def test_an_error_inside_tells_nothing(page: TestClient) -> None:
    answer = page.get("/fail")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert HEADERS.items() <= dict(answer.headers).items()
