"""The HTTP side, put together."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.web.farm import Farm
from farm.web.guard import Guard
from farm.web.live.topic import Hub
from farm.web.pages.acts import Acts
from farm.web.pages.routes import Pages
from farm.web.refusals import ENDINGS
from farm.web.videos.openapi import openapi
from farm.web.videos.routes import Videos

_READING = ("GET", "HEAD", "OPTIONS")
_STATIC = Path(__file__).parent / "static"
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",  # an update of the farm is an update of its scripts
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Web:
    """The pages and the API over one farm."""

    def __init__(self, target: str, public_url: str | None = None) -> None:
        """`public_url` is where browsers find the pages, if not where the requests come to."""
        self._farm = Farm(target)
        self._hub = Hub()
        pages = Pages(self._farm, self._hub, public_url)
        self.app = Starlette(
            routes=[
                Mount("/v1", Videos(self._farm).app()),
                Route("/openapi.json", _openapi),
                Mount("/static", StaticFiles(directory=_STATIC)),
                *pages.routes(),
                *Acts(pages).routes(),
            ],
            middleware=[
                Middleware(Headers),
                Middleware(Guard),
                Middleware(SameOrigin, public_url=public_url),
            ],
            exception_handlers=dict.fromkeys(ENDINGS, pages.refuse),
        )

        self.app.router.redirect_slashes = False  # it would name the host that a proxy asks for

    def stop(self) -> None:
        """Ends the answers that would go on for ever."""
        self._hub.stop()

    async def close(self) -> None:
        """Ends every call."""
        await self._farm.close()


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi())


class Headers:
    """Tells browsers what a page of the farm may do: nothing with other sites."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, told)


class SameOrigin:
    """Refuses, with 403, what a page of another site has a browser change here.

    Browsers say which page a POST comes from; programs do not, and below /v1 a cookie is worth
    nothing. Ours are those of the very host that is asked, and of `public_url`: behind a proxy the
    farm may be asked by another name.
    """

    def __init__(self, app: ASGIApp, public_url: str | None) -> None:
        self._app = app
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] not in _READING:
            headers = Request(scope).headers
            origin = headers.get("origin")
            of_program = origin is None and scope["path"].startswith("/v1/")
            if not of_program and not self._is_ours(origin or "", headers.get("host")):
                refused = PlainTextResponse(
                    f"Origin is {(origin or '')[:100]!r}, and this farm is "
                    f"{self._public_url or headers.get('host', '')!r}: pages of other sites change "
                    "nothing here. Behind a proxy, --public-url says where the page is\n",
                    403,
                )
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, origin: str, host: str | None) -> bool:
        if origin and origin == self._public_url:
            return True
        try:
            return urlsplit(origin).netloc == host
        except ValueError:  # such as http://[
            return False
