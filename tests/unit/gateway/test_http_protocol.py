"""How long a caller over HTTP may take: as long as it goes on, and no longer."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from farm.gateway.config import Address
from farm.gateway.http import HttpServer, listen
from farm.gateway.http_protocol import LimitedProtocol

PART = bytes(64 * 1024)


async def long(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with 128 MB, as fast as they are read; or with one part, and nothing for an hour."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(2000):
        await send({"type": "http.response.body", "body": PART, "more_body": True})
        if scope["path"] == "/quiet":
            await asyncio.sleep(3600)


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads a body, then says how long it was."""
    size, more = 0, scope["type"] == "http"
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})


@contextmanager
def connected(app: object) -> Iterator[socket.socket]:
    """A connection to a server of its own."""
    listener = listen(Address("127.0.0.1", 0))
    config = uvicorn.Config(app, http=LimitedProtocol, log_config=None, ws="none", lifespan="off")  # type: ignore[arg-type]
    config.timeout_graceful_shutdown = 1
    server = HttpServer(config, None)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=20) as connection:
            yield connection
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def is_cut(connection: socket.socket) -> bool:
    """Whether the other side ends a connection whose answer is read no further."""
    try:
        while connection.recv(2**20):
            continue
    except ConnectionResetError:
        pass
    return True


def test_an_answer_that_nobody_reads_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol._ANSWER_S", 0.3)
    with connected(long) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        threading.Event().wait(1.5)  # and reads nothing: what was sent fills the system's buffers
        assert is_cut(connection)


def test_an_answer_that_is_read_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol._ANSWER_S", 0.5)
    with connected(long) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        read = 0
        while read < 200 * len(PART):  # long after the first half second
            read += len(connection.recv(2**20))
            threading.Event().wait(0.01)


def test_an_answer_that_has_nothing_new_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol._ANSWER_S", 0.2)
    monkeypatch.setattr("farm.gateway.http_protocol._REQUEST_S", 0.2)
    with connected(long) as connection:
        connection.sendall(b"GET /quiet HTTP/1.1\r\nHost: x\r\n\r\n")
        read = 0
        while read < len(PART):
            read += len(connection.recv(2**20))
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):  # neither an end nor a reset
            connection.recv(1024)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_body_has_time_while_it_arrives(arrives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.gateway.http_protocol._REQUEST_S", 0.5)
    size = 12 * len(PART)
    with connected(swallow) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(12 if arrives else 1):
            connection.sendall(PART)
            threading.Event().wait(0.1)
        try:
            answer = connection.recv(4096)
        except ConnectionResetError:
            answer = b""
    assert answer.startswith(b"HTTP/1.1 200") is arrives
