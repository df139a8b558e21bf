"""POSTs to a URL that a user gave: to an address that was looked at, and within a time limit.

The host is resolved once, every address it has is checked, and the connection goes to one of those:
a name that resolves otherwise a moment later changes nothing. No redirect is followed, and of the
answer nothing but its status is looked at.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import h11

from farm.jobs.webhooks import Url, address_problem

TIMEOUT_S = 10.0  # for all of it
_RESOLVERS = 4  # of their own: a name server that hangs must not hold up anything else
_READ_BYTES = 4096


class NotAnswered(Exception):
    """No answer came; the message says why, for people."""


class Poster:
    """Sends POSTs."""

    def __init__(self, *, private: bool, timeout_s: float = TIMEOUT_S) -> None:
        self._private = private
        self._timeout_s = timeout_s
        self._tls = ssl.create_default_context()
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="webhook-resolve")

    async def post(self, url: Url, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises NotAnswered."""
        try:
            async with asyncio.timeout(self._timeout_s):
                addresses = await self._resolve(url)
                reader, writer = await self._connect(url, addresses)
                try:
                    return await _exchange(reader, writer, url, headers, body)
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise NotAnswered(f"no answer within {self._timeout_s:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise NotAnswered(f"its certificate is refused: {error.verify_message}") from error
        except socket.gaierror as error:
            raise NotAnswered(f"{url.host} cannot be resolved: {error.strerror}") from error
        except OSError as error:
            told = str(error)
            if error.errno and not isinstance(error, ssl.SSLError):
                told = os.strerror(error.errno)  # asyncio's own words are about a call
            raise NotAnswered(f"{url.host} cannot be reached: {told}") from error
        except h11.RemoteProtocolError as error:
            # Without its words, which quote the answer: that is nobody's to read.
            raise NotAnswered(f"{url.host} did not answer with whole HTTP/1.1") from error

    def close(self) -> None:
        """Waits for nobody."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, url: Url) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        )
        addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        for address in addresses:
            if not self._private and address_problem(address):
                # Without it: what names of this network resolve to is not for a caller to know.
                raise NotAnswered(
                    f"{url.host} is at no public address; "
                    "a gateway with --webhook-private allows it"
                )
        return addresses

    async def _connect(
        self, url: Url, addresses: Sequence[str]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        *others, last = addresses
        for address in others:
            try:
                return await self._dial(url, address)
            except ssl.SSLError:
                raise
            except OSError:  # it may be there at another one
                continue
        return await self._dial(url, last)

    async def _dial(
        self, url: Url, address: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not url.secure:
            return await asyncio.open_connection(address, url.port)
        return await asyncio.open_connection(
            address, url.port, ssl=self._tls, server_hostname=url.host
        )


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    url: Url,
    headers: Mapping[str, str],
    body: bytes,
) -> int:
    http = h11.Connection(h11.CLIENT)
    sent = {"Host": url.authority, **headers}
    sent |= {"Content-Length": str(len(body)), "Connection": "close"}
    request = h11.Request(method="POST", target=url.target, headers=list(sent.items()))
    for part in (request, h11.Data(body), h11.EndOfMessage()):
        writer.write(http.send(part) or b"")
    await writer.drain()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            return event.status_code
