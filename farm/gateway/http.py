"""The gateway's HTTP port: is it alive, what does it measure, and farm.web beside these."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.gateway.access import routes
from farm.gateway.config import Address, GatewayConfig
from farm.gateway.http_gate import Gate
from farm.gateway.http_protocol import HEADER_LIMIT_BYTES, KEEP_ALIVE_S, LimitedProtocol
from farm.gateway.keyring import Keyring
from farm.gateway.metrics import Metrics
from farm.gateway.scrape import Scraper
from farm.gateway.tls import HANDSHAKE_S
from farm.gateway.traced_calls import TracedRequests

_STOP_LIMIT_S = 3  # for answers under way: a page that watches would hold it for ever


class HttpServer(uvicorn.Server):
    """uvicorn within the gateway's own loop: it leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config, context: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._context = context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's hook, which would wait a minute for a handshake and keep its certificate."""
        if self._context is None:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        connect = functools.partial(
            protocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                connect, sock=sock, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
            for sock in sockets or ()
        ]
        self.started = True

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
    web: ASGIApp,
    context: ssl.SSLContext | None = None,
) -> HttpServer:
    """Answers /healthz, 200 while `serving`, else 503, and /metrics, to whom they are for;
    all else is `web`'s.

    With a `context` over TLS. Run it with `serve(sockets=[...])`.
    """
    table = routes(open_metrics=config.open_metrics)
    app = TracedRequests(http_app(serving, scraper, web))
    gate = Gate(app, keyring, table, address, config.limits, config.public_url)
    return HttpServer(
        uvicorn.Config(
            _Counted(gate, metrics, set(table)),
            http=LimitedProtocol,
            h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            # Who a caller says it is counts for nothing, but where a proxy of ours says so.
            proxy_headers=bool(config.trusted_proxies),
            forwarded_allow_ips=list(config.trusted_proxies),
            server_header=False,
            log_config=None,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=_STOP_LIMIT_S,
        ),
        context,
    )


def http_app(serving: Callable[[], bool], scraper: Scraper, web: ASGIApp) -> Starlette:
    """The routes, which `farm.gateway.access.ROUTES` says who may ask for, then those of `web`."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n") if serving() else PlainTextResponse("stopping\n", 503)

    async def tell_metrics(request: Request) -> Response:
        text, media_type = await scraper.scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": media_type})

    own = [Route("/healthz", healthz), Route("/metrics", tell_metrics)]
    return Starlette(routes=[*own, Mount("/", web)])


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
