"""The server fetches nothing, whatever is in a request; the client fetches within limits."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from svdfarm import fetch
from svdfarm.errors import ImageRejected
from tests.hostile.gateway import RealGateway
from tests.hostile.messages import methods

DEPTH_LIMIT = 4


class Listener:
    """A port that notes who connects, and does to them what it is told."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._serve = serve
        self.port = self._socket.getsockname()[1]
        self.visits = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.visits += 1
                with connection, contextlib.suppress(OSError):
                    self._serve(connection)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener(lambda _: None)
    yield made
    made.close()


def with_text(kind: Descriptor, text: str, depth: int = 0) -> Iterator[Message]:
    """A message for each text field in `kind`, however deep, that has `text` there alone."""
    for field in kind.fields:
        made = message_factory.GetMessageClass(kind)()
        there = getattr(made, field.name)
        if field.message_type is not None:
            if depth == DEPTH_LIMIT or field.message_type.GetOptions().map_entry:
                continue
            for inner in with_text(field.message_type, text, depth + 1):
                whole = message_factory.GetMessageClass(kind)()
                put = getattr(whole, field.name)
                (put.add() if field.is_repeated else put).CopyFrom(inner)
                yield whole
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            value = text if field.type == FieldDescriptor.TYPE_STRING else text.encode()
            if field.is_repeated:
                there.append(value)
            else:
                setattr(made, field.name, value)
            yield made


def test_no_url_in_any_field_of_any_request_is_fetched(
    own_gateway: RealGateway, listener: Listener
) -> None:
    with socket.create_connection(("127.0.0.1", listener.port)):
        pass  # it listens
    port, asked = listener.port, 0
    urls = [f"http://127.0.0.1:{port}/x.png", f"https://localhost:{port}/", f"//127.0.0.1:{port}/x"]
    urls += [f"ftp://127.0.0.1:{port}/x", f"s3://127.0.0.1:{port}/x", "file:///etc/passwd"]
    with grpc.insecure_channel(own_gateway.address) as channel:
        for method in methods():
            path = f"/{method.containing_service.full_name}/{method.name}"
            for url in urls:
                for message in with_text(method.input_type, url):
                    call = channel.stream_stream(path)
                    with contextlib.suppress(grpc.RpcError):
                        for _ in call(iter([message.SerializeToString()]), timeout=1):
                            pass
                    asked += 1

    assert asked > 300
    assert listener.visits == 1


def answer(parts: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
        parts(connection)

    return serve


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(bytes(2**16))


def dripping(connection: socket.socket) -> None:
    pause = threading.Event()
    while not pause.wait(0.05):
        connection.sendall(b"x")


@pytest.mark.parametrize(
    ("serve", "said"),
    [(answer(endless), "more than 16 MiB"), (answer(dripping), "takes longer than 1 s")],
)
def test_a_client_gives_up_on_what_never_ends(
    serve: Callable[[socket.socket], None], said: str
) -> None:
    listener = Listener(serve)
    started = time.monotonic()
    try:
        with pytest.raises(ImageRejected, match=said):
            fetch.http(
                f"http://127.0.0.1:{listener.port}/x.png", time_limit_s=1.0 if "1 s" in said else 60
            )
        assert time.monotonic() - started < 30
    finally:
        listener.close()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"])
def test_a_client_fetches_from_the_web_alone(url: str) -> None:
    with pytest.raises(ImageRejected):
        fetch.http(url)
