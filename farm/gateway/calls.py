"""Counts the calls that end, by method and code."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from prometheus_client import Counter

_CLEAN_UP_LIMIT_S = 10.0
_KINDS: dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def behaviour(handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    """What a method's handler does, of whichever kind it is."""
    return (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )


def behave(
    handler: grpc.RpcMethodHandler[Any, Any],
    behaviour: Callable[[Any, Any], Any],
    decode: Callable[[bytes], Any] | None = None,
) -> grpc.RpcMethodHandler[Any, Any]:
    """A method's handler that does something else."""
    make = _KINDS[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(
        behaviour,
        request_deserializer=decode or handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


class CountedCalls(grpc.aio.ServerInterceptor):
    """Counts every call of a method that there is; it goes first, before those that refuse."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._running: set[asyncio.Task[Any]] = set()

    async def ended(self) -> None:
        """Waits for the calls under way, which the server has cancelled, to clean up."""
        if self._running:
            await asyncio.wait(self._running, timeout=_CLEAN_UP_LIMIT_S)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """grpc.aio's hook: hands on the method's handler, and looks how it ends."""
        handler = await continuation(details)
        if handler is None:  # its name is the caller's own
            return None
        method = details.method.removeprefix("/")
        run = behaviour(handler)

        async def one(request: Any, context: Any) -> Any:
            with self._counted(method, context):
                return await run(request, context)

        async def many(request: Any, context: Any) -> Any:
            with self._counted(method, context):
                async with aclosing(run(request, context)) as responses:
                    async for response in responses:
                        yield response

        return behave(handler, many if inspect.isasyncgenfunction(run) else one)

    @contextmanager
    def _counted(self, method: str, context: Any) -> Iterator[None]:
        code = "OK"
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"  # by its caller, or its deadline
            raise
        except BaseException:
            code = (context.code() or grpc.StatusCode.UNKNOWN).name
            raise
        finally:
            self._counter.labels(method, code).inc()
