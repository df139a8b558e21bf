"""Refuses requests whose heads no client of the farm sends, before anything reads them further."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_LIMIT = 1000
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^"';\s]*)""", re.IGNORECASE)
_TOKEN = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)?", re.ASCII)  # a scheme, and what it is for
_TOO_MANY_DIGITS = re.compile(r"\d{19}")  # no number of ours is as long


class Guard:
    """Hands on what may be read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        refused = _refuse(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)


def _refuse(scope: Scope) -> Response | None:
    headers, path = Headers(scope=scope), scope["path"]
    # Codecs such as punycode take hours for a megabyte.
    charset = _CHARSET.search(headers.get("content-type", ""))
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8"):
        return _told(path, 415, f"charset is {charset[1][:50]!r}; allowed: utf-8")
    for token in headers.getlist("authorization"):
        if len(token) > TOKEN_LIMIT or not _TOKEN.fullmatch(token):
            return _told(path, 401, "the token is none of a farm's: was it copied whole?")
    if _TOO_MANY_DIGITS.search(path):
        return _told(path, 404, "there is nothing of this number")
    if _TOO_MANY_DIGITS.search(headers.get("range", "")):
        return _told(path, 416, "no video is as long as this Range")
    return None


def _told(path: str, state: int, words: str) -> Response:
    if not path.startswith("/v1/"):
        return PlainTextResponse(f"{words}\n", state)
    kind, code = "invalid_request_error", None
    if state == 401:
        kind, code = "authentication_error", "token_invalid"
    error = {"message": words, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, state)
