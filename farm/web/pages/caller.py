"""Who looks at a page: the token of its cookie, and how it comes there."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from farm.web.guard import TOKEN_LIMIT

COOKIE = "svdfarm_token"


def token_of(request: Request) -> str | None:
    """What the sign-in page has put there, or None."""
    return readable(request.cookies.get(COOKIE, ""))


def readable(token: str) -> str | None:
    """A token that can go into gRPC's metadata, or None."""
    token = token.strip()
    fits = 0 < len(token) <= TOKEN_LIMIT and token.isascii() and token.isprintable()
    return token if fits else None


def sign_in(response: Response, request: Request, token: str) -> None:
    """Keeps the token where no script reads it, and no page of another site sends it.

    The Origin, which is ours by now, tells how the browser came: a proxy may have ended its TLS.
    """
    response.set_cookie(
        COOKIE,
        token,
        path="/",
        secure=request.headers.get("origin", "").startswith("https://"),
        httponly=True,
        samesite="strict",
    )


def sign_out(response: Response) -> None:
    """Forgets it."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
