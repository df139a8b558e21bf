"""How long a farm may be away, and the pauses until it is tried again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable

import grpc

from svdfarm.errors import (
    DeadlineExceeded,
    ResourceExhausted,
    SvdfarmError,
    TlsFailed,
    Unreachable,
)
from svdfarm.streams import Streams
from svdfarm.translate import translate

_RETRY_FIRST_S = 0.1
_RETRY_LONGEST_S = 1.0

# Called once when waiting begins, for a farm that is away or for a quota: why, and for how long at
# most, which may be math.inf.
OnWaiting = Callable[[str, float], None]


class Patience:
    """Bears UNAVAILABLE for `limit_s` after the last good answer.

    A quota that frees itself, as the farm says with RetryInfo, is waited for until `deadline`; no
    other error is borne.
    """

    def __init__(
        self,
        address: str,
        limit_s: float,
        sleep: Callable[[float], Awaitable[None]],
        insecure: Callable[[], Awaitable[str]],
        deadline: float | None = None,
        on_waiting: OnWaiting | None = None,
        streams: Streams | None = None,
    ) -> None:
        self._address = address
        self._limit_s = limit_s
        self._sleep = sleep
        self._insecure = (
            insecure  # tells whether TLS is why the farm is away, and nothing where not
        )
        self._asked = ""  # what gRPC said when that was last asked
        self._deadline = deadline  # of the monotonic clock
        self._on_waiting = on_waiting
        self._streams = streams or Streams()
        self._pause_s = _RETRY_FIRST_S
        self._since: float | None = None

    def renew(self) -> None:
        """The farm answered."""
        self._pause_s, self._since = _RETRY_FIRST_S, None

    async def bear(self, error: grpc.RpcError) -> None:
        """Waits a moment, or raises `error` as one of this package where waiting is over."""
        told = translate(error, self._address)
        if isinstance(told, ResourceExhausted) and told.retry_after_s is not None:
            try:
                await self._wait_turn(told, told.retry_after_s)
            except SvdfarmError as over:
                raise over from error
            return
        if not isinstance(told, Unreachable):
            raise told from error
        if str(told) != self._asked:
            self._asked = str(told)
            if problem := await self._insecure():
                raise TlsFailed(problem) from error
        try:
            await self.pause(told)
        except SvdfarmError as over:
            raise over from error

    async def pause(self, reason: SvdfarmError) -> None:
        """Waits a moment, each time longer, or raises `reason` where waiting is over."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            if self._on_waiting is not None and self._limit_s > 0:
                self._on_waiting(str(reason), self._limit_s)
        left_s = self._since + self._limit_s - now
        if left_s <= 0:
            raise reason
        left_s = min(left_s, self._left_s(reason))
        await self._sleep(min(left_s, self._pause_s * random.uniform(0.5, 1)))  # noqa: S311
        self._pause_s = min(self._pause_s * 2, _RETRY_LONGEST_S)

    async def _wait_turn(self, refusal: ResourceExhausted, retry_after_s: float) -> None:
        """Waits for a request of the next minute, or for one of the streams that are open.

        Our own watches make way. Raises DeadlineExceeded.
        """
        left_s = self._left_s(refusal)
        if self._since is None:
            self._since = time.monotonic()
            if self._on_waiting is not None:
                self._on_waiting(str(refusal), left_s)
        # Many are refused together, and are not to come back together.
        pause_s = retry_after_s * random.uniform(1, 1.5)  # noqa: S311
        if refusal.reason == "QUOTA_STREAMS":
            self._streams.make_way()
            pause_s = min(pause_s, self._pause_s)
            self._pause_s *= 2
        await self._sleep(min(left_s, pause_s))

    def _left_s(self, reason: SvdfarmError) -> float:
        if self._deadline is None:
            return math.inf
        if (left_s := self._deadline - time.monotonic()) <= 0:
            raise DeadlineExceeded(f"time is up, and {reason}")
        return left_s
