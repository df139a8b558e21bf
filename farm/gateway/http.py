"""The gateway's HTTP side. Today: is it alive?"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from farm.gateway.config import Address


class HttpServer(uvicorn.Server):
    """uvicorn within the gateway's own loop: it leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's hook; the gateway stops it through `should_exit`."""
        yield


def http_server(serving: Callable[[], bool]) -> HttpServer:
    """Answers /healthz: 200 while `serving`, else 503. Run it with `serve(sockets=[...])`."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n") if serving() else PlainTextResponse("stopping\n", 503)

    app = Starlette(routes=[Route("/healthz", healthz)])
    return HttpServer(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))


def listen(address: Address) -> socket.socket:
    """A listening socket. Raises OSError where the port cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family)
