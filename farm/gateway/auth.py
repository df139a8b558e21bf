"""Who may call: with a token set, only those who show it; else whoever reaches the loopback."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_status import rpc_status

from farm.gateway.calls import behave
from farm.gateway.wall import Refusal, to_status

# Load balancers and `grpc_health_probe` carry no token.
_OPEN = "/grpc.health.v1.Health/"


class TokenAuth(grpc.aio.ServerInterceptor):
    """Refuses every call without `authorization: Bearer TOKEN`, health checks apart."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """grpc.aio's hook: hands on the method's handler, or one that refuses."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(_OPEN) or self._knows(details):
            return handler
        return _refusing(handler)

    def _knows(self, details: grpc.HandlerCallDetails) -> bool:
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        raw = given.encode() if isinstance(given, str) else given
        return hmac.compare_digest(raw, self._expected)


def _refusing(handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
    status = rpc_status.to_status(
        to_status(
            Refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                "this farm wants a token: set FARM_TOKEN, or --token, to the one it was started "
                "with",
                "TOKEN_INVALID",
            )
        )
    )

    async def refuse(_: Any, context: Any) -> None:
        await context.abort_with_status(status)

    return behave(handler, refuse)
