"""HTTP/1.1 with limits on how long a caller may take, and how many may come at once.

uvicorn limits the size of a header and the pause between requests, not how slowly one arrives.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from farm.gateway.http_gate import HEADERS

HEADER_LIMIT_BYTES = 16 * 1024
KEEP_ALIVE_S = 5  # that a caller may wait with its next request
CONNECTION_LIMIT = 500
_REQUEST_S = 10.0  # that a header may take to arrive, and each _PART_BYTES of a body
_PART_BYTES = 64 * 1024
_ANSWER_S = 60.0  # that a caller may leave what was sent unread
_UNFINISHED = (h11.IDLE, h11.SEND_BODY)


class LimitedProtocol(H11Protocol):
    """Cuts connections that take too long."""

    _deadline: asyncio.TimerHandle | None = None
    _part_bytes = 0  # of a body, since its time was last renewed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """uvicorn's hook."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTION_LIMIT:
            # One that asks for nothing makes room; without one, there is none.
            next(filter(_is_idle, self.connections - {self}), self).transport.abort()
        self._cut_in(_REQUEST_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn's hook."""
        self._let_be()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """uvicorn's hook. The time of a header is not renewed; a body's is, as it arrives."""
        if self.flow.write_paused:  # to read comes first
            super().data_received(data)
            return
        in_body = self.conn.their_state is h11.SEND_BODY
        self._part_bytes = self._part_bytes + len(data) if in_body else 0
        if self._deadline is None or self._part_bytes >= _PART_BYTES:
            self._part_bytes = 0
            self._cut_in(_REQUEST_S)
        super().data_received(data)
        if self.conn.their_state not in _UNFINISHED and not self.flow.write_paused:
            self._let_be()  # the farm has its time to answer

    def pause_writing(self) -> None:
        """asyncio's hook: what was sent waits to be read."""
        super().pause_writing()
        self._cut_in(_ANSWER_S)

    def resume_writing(self) -> None:
        """asyncio's hook: enough of it was."""
        super().resume_writing()
        self._let_be()

    def on_response_complete(self) -> None:
        """uvicorn's hook."""
        if self.conn.their_state not in _UNFINISHED:
            self._let_be()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """uvicorn's hook; what the caller does not read is not waited for."""
        super().timeout_keep_alive_handler()
        self._cut_in(_REQUEST_S)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's hook for what is no HTTP."""
        headers = [*HEADERS.items(), ("content-type", "text/plain"), ("connection", "close")]
        try:
            head = self.conn.send(h11.Response(status_code=400, headers=headers))
            body = self.conn.send(h11.Data(data=msg.encode() + b"\n"))
            self.transport.write((head or b"") + (body or b""))
        except h11.LocalProtocolError:  # an answer is under way
            pass
        self.transport.close()

    def _cut_in(self, time_s: float) -> None:
        self._let_be()
        self._deadline = self.loop.call_later(time_s, self._cut)

    def _cut(self) -> None:
        if self.flow.read_paused:  # its body waits for us
            self._cut_in(_REQUEST_S)
        else:
            self.transport.abort()

    def _let_be(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _is_idle(connection: Any) -> bool:
    """Whether no request of its caller's is under way, and it is not closing already."""
    at_rest = connection.cycle is None or connection.cycle.response_complete
    return at_rest and not connection.transport.is_closing()
