"""How many requests a tenant may make of this gateway, and how many streams it may hold open.

Every method that is not a worker's counts, whichever service it is of. Operators are not limited:
whoever changes a limit has to get in.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status

from farm.gateway.calls import behave, behaviour
from farm.gateway.wall import Refusal, to_status
from farm.jobs.access import caller
from farm.jobs.bucket import Bucket
from farm.jobs.tenants import Limits
from farm.store import tenants
from farm.store.store import Store

log = structlog.get_logger()

_LOOK_EVERY_S = 3.0  # also where no other gateway told of a change
_STREAM_PAUSE_S = 1.0  # nobody knows when a stream ends
_OF_WORKERS = "/svdfarm.v1.SessionService/"
_NO_LIMITS = Limits()


class Quotas:
    """What tenants take of this gateway now, and what they may. `run` is its task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limits: Mapping[str, Limits] = {}
        self._buckets: dict[str, Bucket] = {}
        self._streams: Counter[str] = Counter()
        self._look = asyncio.Event()

    def look(self) -> None:
        """Says that some gateway changed a tenant."""
        self._look.set()

    async def load(self) -> None:
        """Looks up what tenants may."""
        self._limits = await self._store.database.read(tenants.every_limit)
        for tenant in set(self._buckets) - set(self._limits):
            del self._buckets[tenant]

    async def run(self) -> None:
        """Keeps up with the table, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._look.wait()
            self._look.clear()
            try:
                await self.load()
            except Exception as error:  # a store that is away: what was known holds until then
                log.warning("quotas.not_read", exc_info=error)

    def take_request(self, tenant: str) -> None:
        """Counts a request. Raises Refusal."""
        limit = self._limits.get(tenant, _NO_LIMITS).max_requests_per_minute
        if limit is None:
            self._buckets.pop(tenant, None)
            return
        now_s = time.monotonic()
        bucket = self._buckets.setdefault(tenant, Bucket.full(limit, now_s))
        bucket.limit(limit)
        if wait_s := bucket.take(now_s):
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"tenant {tenant} has made its {limit} requests of this minute"
                + (f"; try again in {wait_s:.1f} s" if math.isfinite(wait_s) else ""),
                "QUOTA_REQUESTS",
                {"limit": str(limit), "used": str(limit)},
                retry_after_s=wait_s if math.isfinite(wait_s) else None,
            )

    @contextlib.contextmanager
    def stream(self, tenant: str) -> Iterator[None]:
        """Counts a stream for as long as it is open. Raises Refusal."""
        limit = self._limits.get(tenant, _NO_LIMITS).max_streams
        used = self._streams[tenant]
        if limit is not None and used >= limit:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"tenant {tenant} has {used} streams open, and may have {limit}: uploads, "
                "downloads and watches. Wait until one has ended",
                "QUOTA_STREAMS",
                {"limit": str(limit), "used": str(used)},
                retry_after_s=_STREAM_PAUSE_S if limit else None,
            )
        self._streams[tenant] += 1
        try:
            yield
        finally:
            self._streams[tenant] -= 1
            if not self._streams[tenant]:
                del self._streams[tenant]


class Limited(grpc.aio.ServerInterceptor):
    """Refuses calls above their tenants' quotas. It goes behind whatever tells who calls.

    A call with the metadata key `uncounted` is no request of its own; only a server that nobody
    else reaches may be given one.
    """

    def __init__(self, quotas: Quotas, uncounted: str | None = None) -> None:
        self._quotas = quotas
        self._uncounted = uncounted

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """grpc.aio's hook: hands on the method's handler, and counts."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(_OF_WORKERS):
            return handler
        streams = bool(handler.request_streaming or handler.response_streaming)
        counts = all(key != self._uncounted for key, _ in details.invocation_metadata or ())
        run = behaviour(handler)

        async def one(request: Any, context: Any) -> Any:
            with contextlib.ExitStack() as held:
                await self._admit(context, held, counts=counts, streams=streams)
                return await run(request, context)

        async def many(request: Any, context: Any) -> Any:
            with contextlib.ExitStack() as held:
                await self._admit(context, held, counts=counts, streams=streams)
                async with aclosing(run(request, context)) as responses:
                    async for response in responses:
                        yield response

        return behave(handler, many if inspect.isasyncgenfunction(run) else one)

    async def _admit(
        self, context: Any, held: contextlib.ExitStack, *, counts: bool, streams: bool
    ) -> None:
        admitted = caller.get(None)  # health has none: it is open to all
        tenant = admitted.sees if admitted else None
        if tenant is None:
            return
        try:
            if counts:
                self._quotas.take_request(tenant)
            if streams:
                held.enter_context(self._quotas.stream(tenant))
        except Refusal as refusal:
            await context.abort_with_status(rpc_status.to_status(to_status(refusal)))
