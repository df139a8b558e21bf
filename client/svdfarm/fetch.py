"""Bytes behind http(s) and data URLs, within limits of size and time."""

from __future__ import annotations

import base64
import binascii
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import unquote_to_bytes

from svdfarm.errors import ImageRejected

LIMIT_BYTES = 16 * 2**20
SILENCE_LIMIT_S = 5.0  # a refusal must not take 8 s
TIME_LIMIT_S = 60.0
_CHUNK_BYTES = 64 * 2**10

# http and https only, redirects included: no file:, no ftp:.
_opener = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
):
    _opener.add_handler(_handler())


def http(url: str, *, time_limit_s: float = TIME_LIMIT_S) -> bytes:
    """What `url` answers, redirects followed. Raises ImageRejected."""
    told = shorten(url)
    fetched = _Fetch(url)
    # In a thread: a socket's own timeout starts anew with every byte that drips in.
    threading.Thread(target=fetched.run, name="fetch", daemon=True).start()
    if not fetched.answered.wait(min(SILENCE_LIMIT_S, time_limit_s)):
        fetched.given_up = True
        raise ImageRejected(f"{told} does not answer within {SILENCE_LIMIT_S:g} s")
    if not fetched.ended.wait(time_limit_s):
        fetched.given_up = True
        raise ImageRejected(f"{told} takes longer than {time_limit_s:g} s")
    match fetched.error:
        case None:
            return bytes(fetched.data)
        case ImageRejected():
            raise fetched.error
        case urllib.error.HTTPError():
            raise ImageRejected(
                f"{told} answers {fetched.error.code} {fetched.error.reason}"
            ) from fetched.error
        case urllib.error.URLError():
            reason = fetched.error.reason
            raise ImageRejected(f"{told} cannot be fetched: {reason}") from fetched.error
        case _:
            raise ImageRejected(f"{told} cannot be fetched: {fetched.error}") from fetched.error


class _Fetch:
    """One download on its way; what is asked of it waits for `ended`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.data = bytearray()
        self.error: Exception | None = None
        self.given_up = False  # nobody waits any more: it ends with the next bytes, or their lack
        self.answered = threading.Event()
        self.ended = threading.Event()

    def run(self) -> None:
        """Downloads; notes what went wrong."""
        try:
            self._download()
        except urllib.error.HTTPError as error:
            error.close()
            self.error = error
        except (OSError, HTTPException, ValueError, ImageRejected) as error:
            self.error = error
        finally:
            self.answered.set()
            self.ended.set()

    def _download(self) -> None:
        request = urllib.request.Request(self._url, headers={"User-Agent": "svdfarm"})  # noqa: S310
        with _opener.open(request, timeout=SILENCE_LIMIT_S) as response:
            self.answered.set()
            while chunk := response.read1(_CHUNK_BYTES):
                self.data += chunk
                if self.given_up:
                    return
                if len(self.data) > LIMIT_BYTES:
                    raise ImageRejected(
                        f"{shorten(self._url)} sends more than 16 MiB, the largest allowed"
                    )
            if response.length:
                raise ImageRejected(f"{shorten(self._url)} broke off after {len(self.data)} bytes")


def data_url(url: str) -> bytes:
    """The bytes in a data URL (RFC 2397). Raises ImageRejected."""
    head, comma, body = url.partition(",")
    if not comma:
        raise ImageRejected(f"{shorten(url)} has no comma; write data:image/png;base64,...")
    if len(body) > 3 * LIMIT_BYTES:
        raise ImageRejected("a data URL holds more than 16 MiB, the largest allowed")
    data = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error as error:
        raise ImageRejected(f"{shorten(url)} is not base64: {error}") from error


def shorten(url: str) -> str:
    """`url` for a message: no password, and not longer than a line."""
    head, at, tail = url.partition("@")
    scheme, slashes, user = head.partition("://")
    if at and slashes and "/" not in user:
        url = f"{scheme}://{tail}"
    return url if len(url) <= 60 else url[:57] + "..."
