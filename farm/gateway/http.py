"""The gateway's HTTP side: is it alive, and what does it measure?"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.gateway.access import routes
from farm.gateway.config import Address, GatewayConfig
from farm.gateway.http_gate import Gate
from farm.gateway.http_protocol import HEADER_LIMIT_BYTES, KEEP_ALIVE_S, LimitedProtocol
from farm.gateway.keyring import Keyring
from farm.gateway.metrics import Metrics
from farm.gateway.scrape import Scraper


class HttpServer(uvicorn.Server):
    """uvicorn within the gateway's own loop: it leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's hook; the gateway stops it through `should_exit`."""
        yield


def http_server(
    serving: Callable[[], bool],
    scraper: Scraper,
    metrics: Metrics,
    keyring: Keyring,
    address: Address,
    config: GatewayConfig,
) -> HttpServer:
    """Answers /healthz, 200 while `serving`, else 503, and /metrics, to whom they are for.

    Run it with `serve(sockets=[...])`.
    """
    table = routes(open_metrics=config.open_metrics)
    gate = Gate(http_app(serving, scraper), keyring, table, address, config.limits)
    return HttpServer(
        uvicorn.Config(
            _Counted(gate, metrics, set(table)),
            http=LimitedProtocol,
            h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            proxy_headers=False,  # who a caller says it is counts for nothing
            server_header=False,
            log_config=None,
            access_log=False,
            ws="none",
        )
    )


def http_app(serving: Callable[[], bool], scraper: Scraper) -> Starlette:
    """The routes, which `farm.gateway.access.ROUTES` says who may ask for."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n") if serving() else PlainTextResponse("stopping\n", 503)

    async def tell_metrics(request: Request) -> Response:
        text, media_type = await scraper.scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": media_type})

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", tell_metrics)])


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
