"""The spans of calls, gRPC and HTTP: inside their callers', where those bring a `traceparent`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm import tracing
from farm.gateway.calls import behave, behaviour
from farm.jobs import trace_context

# Calls that begin a trace where their caller brought none: those that queue shots. Others, such as
# a page that asks each second, are of interest to whoever traces them.
_BEGINNINGS = {"/svdfarm.v1.RenderService/CreateJob", "/svdfarm.v1.RenderService/RequeueJob"}


class TracedCalls(grpc.aio.ServerInterceptor):
    """Tells a span of each call that its caller traces, or that queues shots."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """grpc.aio's hook."""
        handler = await continuation(details)
        if handler is None or not tracing.is_on():
            return handler
        metadata = details.invocation_metadata or ()
        given = next((str(value) for key, value in metadata if key == "traceparent"), "")
        parent = trace_context.read(given)
        if not parent and details.method not in _BEGINNINGS:
            return handler
        name = details.method.removeprefix("/")
        run = behaviour(handler)

        async def one(request: Any, context: Any) -> Any:
            with _told(name, parent, context):
                return await run(request, context)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            with _told(name, parent, context, inside=False):
                async with aclosing(run(request, context)) as responses:
                    async for response in responses:
                        yield response

        return behave(handler, many if inspect.isasyncgenfunction(run) else one)


# Codes that are the farm's fault: all others are an answer to what the caller did.
_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


@contextmanager
def _told(method: str, parent: str, context: Any, *, inside: bool = True) -> Iterator[None]:
    about = {"rpc.system.name": "grpc", "rpc.method": method}
    with tracing.span(method, "SERVER", parent, about, inside=inside) as ended:
        code = "OK"
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except BaseException:
            code = (context.code() or grpc.StatusCode.UNKNOWN).name
            raise
        finally:
            ended["rpc.response.status_code"] = code
            if code in _FAULTS:
                ended["error.type"] = code


class TracedRequests:
    """Tells a span of each HTTP request that its caller traces; no path, which has names in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's hook."""
        given = dict(scope.get("headers", ())).get(b"traceparent", b"").decode("latin-1")
        parent = trace_context.read(given)
        if not parent or not tracing.is_on():
            await self._app(scope, receive, send)
            return
        about = {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
        with tracing.span(scope["method"], "SERVER", parent, about) as ended:

            async def note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    ended["http.response.status_code"] = message["status"]
                    if message["status"] >= 500:
                        ended["error.type"] = str(message["status"])
                await send(message)

            await self._app(scope, receive, note)
