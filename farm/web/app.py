"""The HTTP side, put together."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from farm.web.farm import Farm
from farm.web.videos.openapi import openapi
from farm.web.videos.routes import Videos

_READING = ("GET", "HEAD", "OPTIONS")


def web_app(farm: Farm) -> Starlette:
    """Everything that is served over HTTP but the gateway's own health and metrics."""
    return Starlette(
        routes=[
            Mount("/v1", Videos(farm).app()),
            Route("/openapi.json", _openapi),
        ],
        middleware=[Middleware(SameOrigin)],
    )


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi())


class SameOrigin:
    """Refuses, with 403, what a page of another site has a browser change here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] not in _READING:
            headers = Request(scope).headers
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                refused = PlainTextResponse(
                    f"Origin is {origin[:100]!r}, and this farm is {headers.get('host', '')!r}: "
                    "pages of other sites change nothing here\n",
                    403,
                )
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)
