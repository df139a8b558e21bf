"""Connections that mean harm, held for the length of a with block."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import grpc

from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc as pb_grpc
from tests.running import IMAGES

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DRIP_S = 0.5
_CHANNELS = 10

Attack = Callable[[str, str], AbstractContextManager[object]]  # with the gateway's gRPC and HTTP


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


@contextmanager
def dripping(address: str, count: int, start: bytes, drip: bytes) -> Iterator[None]:
    """Requests that never end: a few bytes now and then."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(address)) for _ in range(count)]
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(_DRIP_S):
                for connection in sockets:
                    with contextlib.suppress(OSError):
                        connection.sendall(drip)

        for connection in sockets:
            connection.sendall(start)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def noise(chance: random.Random) -> bytes:
    """What a connection of garbage says."""
    frames = b"".join(
        frame(
            chance.randrange(12),
            chance.randrange(256),
            chance.choice((0, 1, 3, 2**31 - 1)),
            chance.randbytes(chance.randrange(200)),
        )
        for _ in range(chance.randrange(1, 30))
    )
    settings = frame(4, 0, 0, b"")
    return chance.choice(
        (
            PREFACE + settings + frames,
            PREFACE + frames,
            frames,
            PREFACE[: chance.randrange(24)],
            PREFACE + settings + frame(6, 0, 0, bytes(8)) * 500,  # pings
            PREFACE + settings + frame(4, 0, 0, struct.pack(">HI", 3, 9)) * 500,
            PREFACE + settings + frame(3, 0, 1, bytes(4)) * 500,  # resets
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01" + chance.randbytes(300),  # TLS
            chance.randbytes(1000),
        )
    )


@contextmanager
def garbage(address: str, count: int, seed: int = 3) -> Iterator[None]:
    """So many connections, one after the other for as long as it takes, that say anything."""
    chance = random.Random(seed)
    ended = threading.Event()

    def run() -> None:
        for _ in range(count):
            if ended.is_set():
                return
            with contextlib.suppress(OSError), connect(address) as connection:
                connection.sendall(noise(chance))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
        thread.join()  # every one of them, whoever is honest meanwhile
    finally:
        ended.set()
        thread.join()


@contextmanager
def stalled_downloads(address: str, count: int) -> Iterator[None]:
    """Downloads of 15 MiB that nobody reads."""
    data = (IMAGES / "rocket.jpg").read_bytes()
    data += bytes(15 * 2**20 - len(data))
    with ExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            stack.enter_context(grpc.insecure_channel(address, options)) for _ in range(_CHANNELS)
        ]
        farms = [pb_grpc.RenderServiceStub(channel) for channel in channels]
        parts = (data[i : i + 2**18] for i in range(0, len(data), 2**18))
        image = farms[0].UploadImage(
            (pb.UploadImageRequest(data=part) for part in parts), timeout=60
        )
        request = pb.DownloadImageRequest(name=image.name)
        calls = [farms[i % _CHANNELS].DownloadImage(request) for i in range(count)]
        try:
            for call in calls:
                next(call)  # it is being sent
            yield
        finally:
            for call in calls:
                call.cancel()


ATTACKS: Mapping[str, Attack] = {
    "200 slow calls": lambda grpc_address, _: dripping(grpc_address, 200, PREFACE[:9], b""),
    "200 slow frames": lambda grpc_address, _: dripping(
        grpc_address, 200, PREFACE + frame(4, 0, 0, b"") + b"\0\xff\xff\1\4\0\0\0\1", b"\0"
    ),
    "200 slow requests to HTTP": lambda _, http_address: dripping(
        http_address, 200, b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n"
    ),
    "1,000 connections of garbage": lambda grpc_address, _: garbage(grpc_address, 1000),
    "200 stalled downloads": lambda grpc_address, _: stalled_downloads(grpc_address, 200),
}


@contextmanager
def attacked(name: str, grpc_address: str, http_address: str) -> Iterator[None]:
    """One of ATTACKS by a process of its own, under way; fails where it does not end well."""
    command = [sys.executable, "-m", "tests.hostile.connections", name, grpc_address, http_address]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as attacker:
        try:
            assert attacker.stdout is not None
            assert attacker.stdout.readline() == "attacking\n"
            yield
            attacker.communicate(timeout=60)
            assert attacker.returncode == 0
        finally:
            attacker.kill()


def main() -> None:
    """Attacks until its standard input closes."""
    name, grpc_address, http_address = sys.argv[1:]
    with ATTACKS[name](grpc_address, http_address):
        print("attacking", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
