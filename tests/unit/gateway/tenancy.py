"""Calls as a tenant: by tokens that are in the farm's table."""

from __future__ import annotations

import time
from typing import Any

import grpc

from farm.gateway.server import Gateway
from farm.jobs.access import Scope
from farm.jobs.tenants import Tenant
from farm.jobs.token_text import TokenText
from farm.store import tenants, tokens
from farm.store.tokens import NewToken, WaysIn
from tests.running import eventually
from tests.unit.gateway.conftest import Caller

FARM_TOKEN = "the-farms-own-token-of-a-test"


def add_tenant(gateway: Gateway, name: str) -> str:
    """A new tenant's token, once the gateway knows it; `default` is there already."""
    database = gateway._store.database
    if not database.submit(tenants.exists, name).result():
        database.submit(tenants.create, Tenant(name), 0.0).result()
    text = TokenText.make()
    scopes = frozenset({Scope.RENDER})
    new = NewToken(text.id, text.secret_sha256, "of a test", name, scopes, None)
    database.submit(tokens.create, new, time.time(), WaysIn(farm_token=True)).result()
    eventually(lambda: gateway._keyring.token(text.id))
    return str(text)


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    def __init__(self, token: str) -> None:
        self._token = token

    def _go_on(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = [("authorization", f"Bearer {self._token}")]
        return continuation(details._replace(metadata=metadata), request)

    intercept_unary_unary = _go_on
    intercept_unary_stream = _go_on
    intercept_stream_unary = _go_on


def by_token(channel: grpc.Channel, token: str) -> Caller:
    """A caller with this token's rights."""
    return Caller(grpc.intercept_channel(channel, _Bearer(token)))
