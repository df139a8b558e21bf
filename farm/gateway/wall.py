"""The wall between handlers and the wire: every error becomes a status with google.rpc details.

What a handler raises on purpose (Refusal, StoreError) is told to the caller; anything else is
logged with its traceback and told as INTERNAL without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import structlog
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from farm.store import errors as store_errors

log = structlog.get_logger()

ERROR_DOMAIN = "svdfarm"
VIOLATION_LIMIT = 20
# In bytes: a status travels in HTTP/2 headers, of which clients take 8 KiB.
_MESSAGE_LIMIT = 600
_VALUE_LIMIT = 200
_VIOLATIONS_LIMIT = 3000

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Violation:
    """One field of a request that cannot be accepted."""

    field: str
    description: str


@dataclass
class Refusal(Exception):
    """A call that is refused: a code, words, and the same for programs."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None  # before that it would be refused again


def invalid(field: str, description: str) -> Refusal:
    """INVALID_ARGUMENT for one field."""
    return invalid_fields((Violation(field, description),))


def invalid_fields(violations: tuple[Violation, ...]) -> Refusal:
    """INVALID_ARGUMENT for several fields; the message tells the first."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{first.field} {first.description}{more}",
        "INVALID_FIELD",
        {"field": first.field},
        violations[:VIOLATION_LIMIT],
    )


def unary(
    handler: Callable[[Any, Any, Context], Awaitable[T]],
) -> Callable[[Any, Any, Context], Awaitable[T]]:
    """Wraps a handler with one response."""

    @functools.wraps(handler)
    async def walled(self: Any, request: Any, context: Context) -> T:
        try:
            remaining = context.time_remaining()
            limit = self.limits.unary_timeout_s
            async with asyncio.timeout(limit if remaining is None else min(remaining, limit)):
                return await handler(self, request, context)
        except Exception as error:
            await abort(context, handler.__qualname__, error)
            raise AssertionError("abort raises") from error

    return walled


def streaming(
    handler: Callable[[Any, Any, Context], AsyncGenerator[T, None]],
) -> Callable[[Any, Any, Context], AsyncGenerator[T, None]]:
    """Wraps a handler with a stream of responses."""

    @functools.wraps(handler)
    async def walled(self: Any, request: Any, context: Context) -> AsyncGenerator[T, None]:
        try:
            async with contextlib.aclosing(handler(self, request, context)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:  # noqa: BLE001 - the wall
            await abort(context, handler.__qualname__, error)

    return walled


async def abort(context: Context, method: str, error: Exception) -> None:
    """Ends the call with what `error` means to its caller; logs what it must not know."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    refusal = _as_refusal(error)
    if refusal is None:
        log.error("rpc.failed", method=method, exc_info=error)
        refusal = Refusal(
            grpc.StatusCode.INTERNAL, "an error inside the farm; its log has more", "INTERNAL"
        )
    await context.abort_with_status(rpc_status.to_status(to_status(refusal)))


def to_status(refusal: Refusal) -> status_pb2.Status:
    """The refusal as google.rpc.Status with ErrorInfo, BadRequest and RetryInfo details."""
    details = [any_pb2.Any()]
    details[0].Pack(
        error_details_pb2.ErrorInfo(
            reason=refusal.reason,
            domain=ERROR_DOMAIN,
            metadata={key: _cut(value, _VALUE_LIMIT) for key, value in refusal.metadata.items()},
        )
    )
    if refusal.violations:
        bad = error_details_pb2.BadRequest()
        for violation in refusal.violations:
            bad.field_violations.add(
                field=_cut(violation.field, _VALUE_LIMIT),
                description=_cut(violation.description, _MESSAGE_LIMIT),
            )
            if bad.ByteSize() > _VIOLATIONS_LIMIT:
                break
        details.append(any_pb2.Any())
        details[1].Pack(bad)
    if refusal.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(math.ceil(refusal.retry_after_s * 1e9))
        details.append(any_pb2.Any())
        details[-1].Pack(retry)
    code: Any = refusal.code.value[0]
    return status_pb2.Status(
        code=code or code_pb2.UNKNOWN,
        message=_cut(refusal.message, _MESSAGE_LIMIT),
        details=details,
    )


def _cut(text: str, limit_bytes: int) -> str:
    data = text.encode(errors="replace")
    if len(data) <= limit_bytes:
        return text
    return data[:limit_bytes].decode(errors="ignore") + "..."


def _as_refusal(error: Exception) -> Refusal | None:
    code = grpc.StatusCode
    match error:
        case Refusal():
            return error
        case store_errors.NotFound():
            metadata = {"kind": error.kind, "name": error.name}
            return Refusal(code.NOT_FOUND, str(error), "NOT_FOUND", metadata)
        case store_errors.RequestConflict():
            return Refusal(code.ALREADY_EXISTS, str(error), "REQUEST_ID_REUSED")
        case store_errors.JobNotEnded():
            return Refusal(code.FAILED_PRECONDITION, str(error), "JOB_NOT_ENDED")
        case store_errors.JobCancelling():
            return Refusal(code.FAILED_PRECONDITION, str(error), "JOB_CANCELLING")
        case store_errors.ShotNotRequeued():
            return Refusal(code.FAILED_PRECONDITION, str(error), "SHOT_NOT_REQUEUED")
        case store_errors.NoOperatorToken():
            return Refusal(code.FAILED_PRECONDITION, str(error), "NO_OPERATOR_TOKEN")
        case store_errors.LastOperatorToken():
            return Refusal(code.FAILED_PRECONDITION, str(error), "LAST_OPERATOR_TOKEN")
        case store_errors.TenantExists():
            return Refusal(code.ALREADY_EXISTS, str(error), "TENANT_EXISTS")
        case store_errors.QuotaExceeded():
            numbers = {"limit": f"{error.limit:.15g}", "used": f"{error.used:.15g}"}
            return Refusal(code.RESOURCE_EXHAUSTED, str(error), error.reason, numbers)
        case TimeoutError():
            return Refusal(code.DEADLINE_EXCEEDED, "the call took too long", "DEADLINE_EXCEEDED")
        case store_errors.StoreAway():
            return Refusal(
                code.UNAVAILABLE,
                "the farm's store cannot be reached just now; ask again",
                "STORE_AWAY",
            )
        case _ if store_errors.is_disk_full(error):
            return Refusal(
                code.RESOURCE_EXHAUSTED,
                "the farm's disk is full: free space in its data folder",
                "DISK_FULL",
            )
        case _:
            return None
