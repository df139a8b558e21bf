"""The gateway's HTTP side. Today: is it alive?"""

from __future__ import annotations

import contextlib
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

    @property
    def port(self) -> int:
        """The port that it got."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port


def http_server(address: Address, serving: Callable[[], bool]) -> HttpServer:
    """Answers /healthz: 200 while `serving`, else 503."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n") if serving() else PlainTextResponse("stopping\n", 503)

    app = Starlette(routes=[Route("/healthz", healthz)])
    return HttpServer(
        uvicorn.Config(
            app, host=address.host, port=address.port, log_config=None, access_log=False, ws="none"
        )
    )
