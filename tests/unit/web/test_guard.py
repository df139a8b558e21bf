"""Heads of requests that no client of the farm sends."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from farm.web.guard import TOKEN_LIMIT, Guard


@pytest.fixture
def client() -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("in"))])
    return TestClient(Guard(app))


@pytest.mark.parametrize(
    ("path", "headers", "state"),
    [
        ("/signin", {"content-type": "multipart/form-data; boundary=X; charset=punycode"}, 415),
        ("/signin", {"content-type": 'text/plain; CHARSET = "idna"'}, 415),
        ("/v1/videos", {"content-type": "application/json; charset=utf-16"}, 415),
        ("/v1/videos", {"authorization": "Bearer a\tb"}, 401),
        ("/v1/videos", {"authorization": b"Bearer \xff\xfe"}, 401),
        ("/", {"authorization": "Bearer " + "a" * TOKEN_LIMIT}, 401),
        ("/jobs/a/shots/" + "9" * 5000, {}, 404),
        ("/v1/videos/a/content", {"range": "bytes=" + "1" * 5000 + "-"}, 416),
    ],
)
def test_a_head_that_no_client_sends_is_refused(
    client: TestClient, path: str, headers: dict[str, str], state: int
) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == state
    if path.startswith("/v1/"):
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json; charset=UTF-8"},
        {"content-type": "multipart/form-data; boundary=X"},
        {"authorization": "Bearer svdfarm_0123456789ab_" + "0" * 64},
        {"range": "bytes=0-65535"},
        {},
    ],
)
def test_what_clients_send_is_handed_on(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/v1/videos", headers=headers).text == "in"
