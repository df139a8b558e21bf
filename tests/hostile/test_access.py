"""Every method of the gateway with every kind of token: exact codes and reasons."""

from __future__ import annotations

import hmac

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from farm.gateway.access import METHODS, Access
from farm.gateway.wall import Refusal
from farm.jobs.access import Scope
from svdfarm.v1 import (
    render_service_pb2,
    session_service_pb2,
    tenant_service_pb2,
    token_service_pb2,
    worker_service_pb2,
)
from tests.hostile.conftest import FARM_TOKEN, WORKER_TOKEN, Guarded
from tests.unit.gateway.conftest import reason

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
GUARDED = [method for method, access in METHODS.items() if not access.open]
NO_MESSAGE = b"\xff"  # no protobuf: a field of number 15 with an unknown type


def ends(farm: Guarded, method: str, token: str | None, request: bytes = b"") -> tuple[str, str]:
    """The code and the reason with which a call ends."""
    metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
    call = farm.channel.stream_stream(method)
    stream = call(iter([request]), metadata=metadata, timeout=30)
    try:
        next(stream, None)
    except grpc.RpcError as error:
        try:
            return error.code().name, reason(error)
        except (AssertionError, IndexError):
            return error.code().name, ""
    finally:
        stream.cancel()
    return "OK", ""


def test_the_table_has_exactly_the_methods_that_are_served(guarded: Guarded) -> None:
    bearer = f"Bearer {FARM_TOKEN}"

    class WithToken(grpc.StreamStreamClientInterceptor):
        def intercept_stream_stream(self, continuation, details, requests):  # type: ignore[no-untyped-def]
            return continuation(details._replace(metadata=(("authorization", bearer),)), requests)

    served = set()
    channel = grpc.intercept_channel(guarded.channel, WithToken())
    for service in ProtoReflectionDescriptorDatabase(channel).get_services():
        served |= methods_of(DescriptorPool(ProtoReflectionDescriptorDatabase(channel)), service)

    assert served == set(METHODS)


def methods_of(pool: DescriptorPool, service: str) -> set[str]:
    found: ServiceDescriptor = pool.FindServiceByName(service)
    return {f"/{service}/{method.name}" for method in found.methods}


def test_the_table_has_exactly_the_methods_of_our_descriptors() -> None:
    files = (
        render_service_pb2,
        session_service_pb2,
        tenant_service_pb2,
        token_service_pb2,
        worker_service_pb2,
        health_pb2,
        reflection_pb2,
    )
    declared = {
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert declared == set(METHODS)


@pytest.mark.parametrize("method", GUARDED)
def test_a_token_that_is_none_is_refused_before_anything_is_read(
    guarded: Guarded, method: str
) -> None:
    kept = guarded.tokens
    refused = {
        kind: ends(guarded, method, token, NO_MESSAGE)
        for kind, token in {
            "no token": None,
            "empty": "",
            "malformed": kept.malformed,
            "unknown": kept.unknown,
            "wrong secret": kept.wrong_secret,
            "expired": kept.expired,
            "revoked": kept.revoked,
        }.items()
    }
    assert refused == {
        "no token": ("UNAUTHENTICATED", "TOKEN_MISSING"),
        "empty": ("UNAUTHENTICATED", "TOKEN_INVALID"),
        "malformed": ("UNAUTHENTICATED", "TOKEN_INVALID"),
        "unknown": ("UNAUTHENTICATED", "TOKEN_INVALID"),
        "wrong secret": ("UNAUTHENTICATED", "TOKEN_INVALID"),
        "expired": ("UNAUTHENTICATED", "TOKEN_EXPIRED"),
        "revoked": ("UNAUTHENTICATED", "TOKEN_REVOKED"),
    }


@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.parametrize("scope", Scope)
def test_a_method_is_for_its_scopes_alone(guarded: Guarded, method: str, scope: Scope) -> None:
    access = METHODS[method]
    code, told = ends(guarded, method, guarded.tokens.of_scope[scope], NO_MESSAGE)

    if access.scopes and scope not in access.scopes:
        assert (code, told) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    else:
        assert_let_in(method, access, code)


@pytest.mark.parametrize("method", GUARDED)
def test_the_farms_own_token_is_good_for_everything(guarded: Guarded, method: str) -> None:
    code, _ = ends(guarded, method, FARM_TOKEN, NO_MESSAGE)
    assert_let_in(method, METHODS[method], code)


@pytest.mark.parametrize("method", GUARDED)
def test_the_workers_own_token_is_good_for_workers_alone(guarded: Guarded, method: str) -> None:
    code, told = ends(guarded, method, WORKER_TOKEN, NO_MESSAGE)
    access = METHODS[method]
    if Scope.WORK in access.scopes or not access.scopes:
        assert_let_in(method, access, code)
    else:
        assert (code, told) == ("PERMISSION_DENIED", "SCOPE_MISSING")


def assert_let_in(method: str, access: Access, code: str) -> None:
    # Read, and found to be no message: in gRPC's words UNKNOWN or INTERNAL, or OK from a stream
    # that waits for more.
    assert code not in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"), method


def test_a_missing_scope_is_named(guarded: Guarded) -> None:
    stub = guarded.channel.unary_unary("/svdfarm.v1.RenderService/GetJob")
    token = guarded.tokens.of_scope[Scope.WORK]
    with pytest.raises(grpc.RpcError) as refused:
        stub(b"", metadata=(("authorization", f"Bearer {token}"),))
    told = refused.value.details()
    assert "svdfarm.v1.RenderService/GetJob wants a token with scope render" in told
    assert "this one has work" in told
    assert token.rpartition("_")[2] not in told


@pytest.mark.parametrize("method", [method for method, access in METHODS.items() if access.open])
def test_health_needs_no_token(guarded: Guarded, method: str) -> None:
    answered = "UNIMPLEMENTED" if method.endswith("/List") else "OK"  # by grpcio's own servicer
    assert ends(guarded, method, None)[0] == answered
    assert ends(guarded, method, guarded.tokens.malformed)[0] == answered


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer  {token}")],
        [("authorization", "Basic {token}")],
        [("authorization", "{token}")],
        [("authorization", "Bearer {token}"), ("authorization", "Bearer {token}")],
        [("authorization-bin", b"Bearer {token}")],
        [("cookie", "authorization={token}")],
    ],
)
def test_a_token_elsewhere_than_in_one_bearer_header_is_none(
    guarded: Guarded, headers: list[tuple[str, str | bytes]]
) -> None:
    metadata = [
        (key, value if isinstance(value, bytes) else value.format(token=FARM_TOKEN))
        for key, value in headers
    ]
    stub = guarded.channel.unary_unary("/svdfarm.v1.RenderService/ListJobs")
    with pytest.raises(grpc.RpcError) as refused:
        stub(b"", metadata=metadata)
    assert refused.value.code() == UNAUTHENTICATED


def test_every_wrong_token_is_compared_with_as_much(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def compare(a: str, b: str) -> bool:
        compared.append(len(a) + len(b))
        return hmac_compare(a, b)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr("farm.gateway.keyring.hmac.compare_digest", compare)
    access = METHODS["/svdfarm.v1.RenderService/ListJobs"]
    kept = guarded.tokens
    seen = []
    for token in ("", kept.malformed, kept.unknown, kept.wrong_secret):
        compared.clear()
        with pytest.raises(Refusal) as refused:
            guarded.gateway._keyring.admit((f"Bearer {token}",), access, "x")
        seen.append((refused.value.message, tuple(compared)))
    assert len(set(seen)) == 1
    assert seen[0][1] == (128, 128, 128)
