"""Requests whose bytes are no message, refused as others are: gRPC would call it our own error."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from farm.gateway.calls import behave, behaviour
from farm.gateway.wall import Refusal, abort


class _Undecodable:
    """What stands for a request that could not be decoded."""


class DecodedRequests(grpc.aio.ServerInterceptor):
    """Hands on requests that could be decoded, and refuses the others with INVALID_ARGUMENT."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """grpc.aio's hook."""
        handler = await continuation(details)
        if handler is None or handler.request_deserializer is None:
            return handler
        method = details.method.removeprefix("/")
        decode: Callable[[bytes], Any] = handler.request_deserializer
        run = behaviour(handler)

        def decoded(data: bytes) -> Any:
            try:
                return decode(data)
            except DecodeError:
                return _Undecodable()

        async def checked(request: Any, context: Any) -> Any:
            if handler.request_streaming:
                return _each(request)
            if isinstance(request, _Undecodable):
                await abort(context, method, _refusal())
            return request

        async def one(request: Any, context: Any) -> Any:
            return await run(await checked(request, context), context)

        async def many(request: Any, context: Any) -> Any:
            async with aclosing(run(await checked(request, context), context)) as responses:
                async for response in responses:
                    yield response

        return behave(handler, many if inspect.isasyncgenfunction(run) else one, decoded)


async def _each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, _Undecodable):
            raise _refusal()
        yield request


def _refusal() -> Refusal:
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        "the request is no message of this method; allowed: protobuf as proto/svdfarm/v1 says. "
        "Make the client's code anew",
        "UNDECODABLE",
    )
