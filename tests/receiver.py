"""A real HTTP server that gets webhooks, and misbehaves as it is told to."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: dict[str, str]
    target: str
    body: bytes

    @property
    def id(self) -> str:
        """Of the message; the same again in each attempt."""
        return self.headers["webhook-id"]

    def verified(self, secret: str = SECRET) -> dict[str, Any]:
        """What it tells, if its signature is right by the specification's own library."""
        told: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        assert told == json.loads(self.body)
        return told


@dataclass
class Receiver:
    """Where it is, what it got, and what it answers; made by `receiving`."""

    url: str
    port: int
    # Answers of the next requests, then 204: a status, a redirect's place, or None: it hangs.
    answers: list[int | str | None] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = receiver.answers.pop(0) if receiver.answers else 204
            receiver.received.append(Received(headers, self.path, body))
            if answer is None:
                receiver.closing.wait(60)
                return
            self.send_response(answer if isinstance(answer, int) else 307)
            if isinstance(answer, str):
                self.send_header("location", answer)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if tls is not None:
        listener.socket = tls.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
        scheme = "https"
    port = int(listener.server_address[1])
    receiver = Receiver(f"{scheme}://localhost:{port}/hook?of=farm", port)
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), name="receiver")
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        listener.shutdown()
        thread.join()
        listener.server_close()
