"""A reverse proxy as people put before a farm: it ends TLS, and asks by the farm's own address."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator

from farm.gateway.config import Address
from tests.certificates import Authority

_READ_BYTES = 64 * 1024


@contextlib.contextmanager
def running_proxy(port: int, upstream: Address, authority: Authority) -> Iterator[str]:
    """Where it is, as in https://localhost:PORT, on a port that nobody has."""
    pair = authority.issue("localhost", name="proxy")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    loop = asyncio.new_event_loop()
    up, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: _one(reader, writer, upstream), "127.0.0.1", port, ssl=context
        )
        up.set()
        async with server:
            await stop.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="proxy")
    thread.start()
    try:
        assert up.wait(10)
        yield f"https://localhost:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Address
) -> None:
    """Hands one request on, with the headers that nginx sets when it is told to proxy."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.ExitStack() as stack:
        stack.callback(writer.transport.abort)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        names = ("host:", "connection:", "x-forwarded-for:")
        told = next((x.split(":", 1)[1] for x in lines if x.lower().startswith(names[2])), "")
        peer = writer.get_extra_info("peername")[0]
        kept = [line for line in lines if not line.lower().startswith(names)]
        kept += [f"Host: {upstream}", "Connection: close"]
        kept += [f"X-Forwarded-For: {told}, {peer}" if told else f"X-Forwarded-For: {peer}"]
        up_reader, up_writer = await asyncio.open_connection(upstream.host, upstream.port)
        stack.callback(up_writer.transport.abort)
        up_writer.write("\r\n".join([first, *kept, "", ""]).encode("latin-1"))
        body = asyncio.ensure_future(_pipe(reader, up_writer))
        stack.callback(body.cancel)
        await _pipe(up_reader, writer)
        writer.close()
        await writer.wait_closed()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(_READ_BYTES):
            writer.write(part)
            await writer.drain()
