"""The gateway's HTTP port: is it alive, what does it measure, and farm.web beside these."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.gateway.config import Address
from farm.gateway.metrics import Metrics
from farm.gateway.scrape import Scraper

_STOP_LIMIT_S = 3  # for answers under way: a page that watches would hold it for ever


class HttpServer(uvicorn.Server):
    """uvicorn within the gateway's own loop: it leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's hook; the gateway stops it through `should_exit`."""
        yield


def http_server(
    serving: Callable[[], bool], scraper: Scraper, metrics: Metrics, web: ASGIApp
) -> HttpServer:
    """Answers /healthz, 200 while `serving`, else 503, and /metrics; all else is `web`'s.

    Run it with `serve(sockets=[...])`.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n") if serving() else PlainTextResponse("stopping\n", 503)

    async def tell_metrics(request: Request) -> Response:
        text, media_type = await scraper.scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": media_type})

    own = [Route("/healthz", healthz), Route("/metrics", tell_metrics)]
    counted = _Counted(Starlette(routes=[*own, Mount("/", web)]), metrics, {"/healthz", "/metrics"})
    config = uvicorn.Config(
        counted,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=_STOP_LIMIT_S,
    )
    return HttpServer(config)


class _Counted:
    """Counts what `app` answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: set[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths  # all others are one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in self._paths else "other"
                self._metrics.http_requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, count)


def listen(address: Address) -> socket.socket:
    """A listening socket. Raises OSError where the port cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family)
