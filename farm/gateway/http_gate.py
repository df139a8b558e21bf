"""What every HTTP request has to pass, and what every response carries."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

import grpc
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.gateway.access import Route
from farm.gateway.config import Address, Limits
from farm.gateway.keyring import Keyring
from farm.gateway.wall import Refusal
from farm.jobs.access import caller

log = structlog.get_logger()

# A route may set its own in their place, as a page with scripts has to.
HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_SAFE = ("GET", "HEAD")
_STATES = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class Gate:
    """Lets requests through to `app` that may be made.

    A path that is not in `routes` is the web side's, which looks after Origins, methods and tokens
    itself: whatever it does for its caller is a call of gRPC's, with its caller's own token.
    """

    def __init__(
        self,
        app: ASGIApp,
        keyring: Keyring,
        routes: Mapping[str, Route],
        address: Address,
        limits: Limits,
        public_url: str | None = None,
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._routes = routes
        self._address = address
        self._public_host = urlsplit(public_url).hostname if public_url else None
        self._rate = Rate(limits.http_requests_per_s, limits.http_burst)
        self._answer_limit = limits.http_answers
        self._answers = 0  # under way, but for those to probes and scrapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: answers a request that may not be made, hands on another one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        counts = scope["path"] not in self._routes
        self._answers += counts
        try:
            refused = self._refuse(scope)
            await (refused or self._app)(scope, receive, send_with_headers)
        except Exception as error:  # the wall: its caller is told nothing of it
            log.error("http.failed", path=_known(scope["path"], self._routes), exc_info=error)
            if not begun:
                answer = PlainTextResponse("an error inside the farm; its log has more\n", 500)
                await answer(scope, receive, send_with_headers)
        finally:
            self._answers -= counts

    def _refuse(self, scope: Scope) -> Response | None:
        """The answer to a request that may not be made; None: it may."""
        headers = Headers(scope=scope)
        client = scope.get("client")
        known = self._routes.get(scope["path"])
        is_open = known is not None and known.access.open  # probes share addresses with callers
        if known is None and self._answers > self._answer_limit:
            busy = {"retry-after": "1", "connection": "close"}
            return _told(503, "the farm has as many answers under way as it gives at a time", busy)
        if not is_open and not self._rate.allows(client[0] if client else ""):
            return _told(429, "too many requests from your address: ask less often")
        host = headers.get("host", "")
        named = _host_name(host)
        is_ours = _is_here(named, self._address) or named == self._public_host
        if self._address.is_loopback and not is_ours:
            # A page elsewhere may have had its own name lead here.
            return _told(421, "the Host of this request is not the farm's address")
        if known is None:
            return None
        if scope["method"] not in known.methods:
            allowed = ", ".join(known.methods)
            return _told(405, f"allowed: {allowed}", {"allow": allowed})
        if scope["method"] not in _SAFE and not _is_same_origin(headers.getlist("origin"), host):
            return _told(403, "the Origin of this request is another site, or is not told")
        if is_open:
            return None
        try:
            authorization = headers.getlist("authorization")
            caller.set(self._keyring.admit(authorization, known.access, scope["path"]))
        except Refusal as refusal:
            state = _STATES[refusal.code]
            wanted = {"www-authenticate": "Bearer"} if state == 401 else {}
            return _told(state, f"{refusal.reason}: {refusal.message}", wanted)
        return None


class Rate:
    """A number of requests a second for each address, and some more at once."""

    def __init__(
        self,
        per_s: float,
        burst: float,
        now_s: Callable[[], float] = time.monotonic,
        address_limit: int = 10_000,
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._now_s = now_s
        self._address_limit = address_limit
        # What is left, and when it was looked at; those that asked last come last.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Whether this address may make one more request now."""
        who = _network(address)
        now_s = self._now_s()
        left, since_s = self._left.pop(who, (self._burst, now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_s)
        allowed = left >= 1
        self._left[who] = (left - 1 if allowed else left, now_s)
        if len(self._left) > self._address_limit:
            self._left.popitem(last=False)
        return allowed


def _network(address: str) -> str:
    """The address; of IPv6 its /64, which one caller has whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def _host_name(host: str) -> str:
    """Of a Host header, the name or address in it; empty where it is neither."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_here(name: str, bound: Address) -> bool:
    """Whether a host is this machine's loopback."""
    if name in ("localhost", bound.host.lower()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_same_origin(origins: Iterable[str], host: str) -> bool:
    """Whether a request comes from a page of the very site that it is sent to."""
    return list(origins) in ([f"http://{host}"], [f"https://{host}"]) and bool(host)


def _told(state: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{words}\n", state, headers=dict(headers or {}))


def _known(path: str, routes: Iterable[str]) -> str:
    return path if path in routes else "other"
