"""Calls as a tenant, without tokens: a header says whose they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from farm.jobs import access
from farm.jobs.access import LOCAL_OPERATOR, Scope
from tests.unit.gateway.conftest import Caller

_HEADER = "x-tenant"


class _ByHeader(grpc.aio.ServerInterceptor):
    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        tenant = dict(details.invocation_metadata or ()).get(_HEADER)
        scopes = frozenset({Scope.RENDER})
        named = access.Caller(str(tenant), scopes) if tenant else LOCAL_OPERATOR
        access.caller.set(named)
        return await continuation(details)


def recognise_tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every gateway that starts from now on believe the header."""
    make = grpc.aio.server

    def server(*, interceptors: list[grpc.aio.ServerInterceptor], **given: Any) -> grpc.aio.Server:
        first, *others = interceptors
        return make(interceptors=[first, _ByHeader(), *others], **given)

    monkeypatch.setattr(grpc.aio, "server", server)


class _Header(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    def __init__(self, tenant: str) -> None:
        self._tenant = tenant

    def _go_on(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=[(_HEADER, self._tenant)]), request)

    intercept_unary_unary = _go_on
    intercept_unary_stream = _go_on
    intercept_stream_unary = _go_on


def as_tenant(channel: grpc.Channel, tenant: str) -> Caller:
    """A caller with nothing but this tenant's rights."""
    return Caller(grpc.intercept_channel(channel, _Header(tenant)))
