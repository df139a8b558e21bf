"""Lets calls through that may be made, before anything of them is read, and ends open ones."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from grpc_status import rpc_status

from farm.gateway.access import METHODS
from farm.gateway.calls import behave, behaviour
from farm.gateway.keyring import Keyring, OpenCall
from farm.gateway.wall import Refusal, to_status
from farm.jobs.access import Caller, caller


class Auth(grpc.aio.ServerInterceptor):
    """Tells each handler its caller; refuses all that `METHODS` does not allow."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """grpc.aio's hook: hands on the method's handler, or one that refuses."""
        handler = await continuation(details)
        if handler is None:
            return None
        access = METHODS.get(details.method)
        what = details.method.removeprefix("/")
        if access is None:
            told = f"{what} is in no table of who may call it: an error of the farm's own"
            return _refusing(Refusal(grpc.StatusCode.UNIMPLEMENTED, told, "METHOD_UNKNOWN"))
        if access.open:
            return handler
        metadata = details.invocation_metadata or ()
        authorization = tuple(value for key, value in metadata if key == "authorization")
        try:
            found = self._keyring.admit(authorization, access, what)
        except Refusal as refusal:
            return _refusing(refusal)
        run = behaviour(handler)
        if not (handler.request_streaming or handler.response_streaming):
            return behave(handler, _told(found, run))

        async def watched(request: Any, context: Any) -> Any:
            refused: list[Refusal] = []
            try:
                async with asyncio.timeout(None) as limit:

                    def end(refusal: Refusal) -> None:
                        if not refused:  # once: it may take a while to end
                            refused.append(refusal)
                            limit.reschedule(asyncio.get_running_loop().time())

                    with self._keyring.open_call(OpenCall(authorization, access, what, end)):
                        return await _told(found, run)(request, context)
            except TimeoutError:
                if not refused:
                    raise
                await _refuse(context, refused[0])

        return behave(handler, watched)


def _told(found: Caller, run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Awaitable[Any]]:
    """A handler as a coroutine, whatever it was, that knows its caller."""

    async def told(request: Any, context: Any) -> Any:
        caller.set(found)
        if not inspect.isasyncgenfunction(run):
            return await run(request, context)
        async with aclosing(run(request, context)) as responses:
            async for response in responses:
                await context.write(response)
        return None

    return told


def _refusing(refusal: Refusal) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler that refuses, whatever kind the method is, and reads nothing of the request."""

    async def refuse(_: Any, context: Any) -> None:
        await _refuse(context, refusal)

    return grpc.stream_stream_rpc_method_handler(refuse)


async def _refuse(context: Any, refusal: Refusal) -> None:
    await context.abort_with_status(rpc_status.to_status(to_status(refusal)))
