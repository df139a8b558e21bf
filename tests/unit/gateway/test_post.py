"""POSTs to places that users name: to addresses that were looked at, and never for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from farm.gateway.post import NotAnswered, Poster
from farm.jobs.webhooks import read_url
from tests.receiver import receiving

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names:
    """A name server: what it says to each question, the last answer again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, port: int, **_: object) -> list[object]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Names]:
    def says(*answers: list[str]) -> Names:
        names = Names(*answers)
        monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
        return names

    return says


async def post(url: str, *, private: bool = True, timeout_s: float = 10.0) -> int:
    poster = Poster(private=private, timeout_s=timeout_s)
    try:
        return await poster.post(read_url(url, private=private), {"X-Test": "1"}, b"{}")
    finally:
        poster.close()


@contextlib.asynccontextmanager
async def serving(handle: Handle) -> AsyncIterator[str]:
    """A server that answers as `handle` does, once the request is there."""

    answered = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n{}")
            await handle(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        answered.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await answered.wait()


def sends(data: bytes) -> Handle:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return handle


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 X\r\n\r\n", 204),
        (b"HTTP/1.0 500 Oh\r\n\r\n", 500),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n", 302),
    ],
)
async def test_the_status_is_what_counts(data: bytes, status: int) -> None:
    async with serving(sends(data)) as url:
        assert await post(url) == status


async def test_a_body_without_an_end_is_not_waited_for() -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(2**16))
            await writer.drain()

    async with serving(endless) as url:
        assert await post(url) == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nSSH secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 10**6,
    ],
)
async def test_what_is_no_http_is_no_answer(data: bytes) -> None:
    async with serving(sends(data)) as url:
        with pytest.raises(NotAnswered, match=r"did not answer with whole HTTP/1\.1") as told:
            await post(url)
        assert "SSH" not in str(told.value)


async def test_an_answer_that_drips_ends_with_the_time_limit() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(drip) as url:
        with pytest.raises(NotAnswered, match=r"no answer within 0\.5 s"):
            await post(url, timeout_s=0.5)


async def test_who_does_not_listen_is_told_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(NotAnswered, match=r"^127\.0\.0\.1 cannot be reached: Connection ref"):
            await post(f"http://127.0.0.1:{port}")


async def test_a_name_that_has_no_address_is_told_so() -> None:
    with pytest.raises(NotAnswered, match=r"nowhere\.invalid cannot be resolved"):
        await post("http://nowhere.invalid/")


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"]],
)
async def test_a_name_with_any_private_address_is_refused(
    addresses: list[str], says: Callable[..., Names]
) -> None:
    says(addresses)
    with pytest.raises(NotAnswered, match=r"hook\.example is at no public address"):
        await post("https://hook.example/", private=False)


async def test_a_name_is_resolved_once_and_its_first_address_that_answers_taken(
    says: Callable[..., Names],
) -> None:
    names = says(["127.0.0.2", "127.0.0.1"], ["127.0.0.3"])
    with receiving() as receiver:
        assert await post(f"http://hook.example:{receiver.port}/a") == 204
        assert names.asked == ["hook.example"]
        (received,) = receiver.received
        assert received.headers["host"] == f"hook.example:{receiver.port}"
        assert received.headers["x-test"] == "1"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Whom this machine trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def certified(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


async def test_the_certificate_has_to_be_the_hosts_though_an_address_is_dialled(
    authority: trustme.CA, says: Callable[..., Names]
) -> None:
    says(["127.0.0.1"])
    with receiving(certified(authority, "hook.example")) as receiver:
        assert await post(f"https://hook.example:{receiver.port}/") == 204
        with pytest.raises(NotAnswered, match=r"certificate is refused: Hostname mismatch"):
            await post(f"https://other.example:{receiver.port}/")
        assert len(receiver.received) == 1


async def test_a_certificate_of_an_authority_that_nobody_knows_is_refused(
    authority: trustme.CA, says: Callable[..., Names]
) -> None:
    says(["127.0.0.1"])
    with receiving(certified(trustme.CA(), "hook.example")) as receiver:
        with pytest.raises(NotAnswered, match="certificate is refused"):
            await post(f"https://hook.example:{receiver.port}/")
        assert receiver.received == []


async def test_https_to_a_server_without_it_is_told_so() -> None:
    with receiving() as receiver:
        with pytest.raises(NotAnswered, match=r"127\.0\.0\.1 cannot be reached: .*SSL"):
            await post(f"https://127.0.0.1:{receiver.port}/")
        assert receiver.received == []
