"""Refusals, as HTTP tells them: from the farm's gRPC errors, or from a check before it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

_CODE = grpc.StatusCode
_HTTP: Mapping[grpc.StatusCode, int] = {
    _CODE.INVALID_ARGUMENT: 400,
    _CODE.OUT_OF_RANGE: 400,
    _CODE.UNAUTHENTICATED: 401,
    _CODE.PERMISSION_DENIED: 403,
    _CODE.NOT_FOUND: 404,
    _CODE.ALREADY_EXISTS: 409,
    _CODE.FAILED_PRECONDITION: 409,
    _CODE.RESOURCE_EXHAUSTED: 429,
    _CODE.CANCELLED: 503,  # the gateway stops
    _CODE.UNAVAILABLE: 503,
    _CODE.DEADLINE_EXCEEDED: 504,
}
# What HTTP calls otherwise than the wire does.
PARAMS: Mapping[str, str] = {
    "image": "input_reference",
    "width_px": "size",
    "height_px": "size",
    "frame_count": "num_frames",
    "step_count": "num_inference_steps",
    "request_id": "Idempotency-Key",
}


@dataclass
class Refused(Exception):
    """A request that is refused: an HTTP status, words, and the same for programs."""

    http_status: int
    message: str
    code: str
    param: str | None = None


def invalid(param: str, description: str, code: str = "invalid_value") -> Refused:
    """400 for one parameter, as in 'is 7; allowed: ...'."""
    return Refused(400, f"{param} {description}", code, param)


def unknown(kind: str, name: str) -> Refused:
    """404 for something that is not there."""
    return Refused(404, f"there is no {kind} {name[:100]!r} here", "not_found")


def refused_by(error: Exception) -> Refused:
    """What each error that a route may end with says, in HTTP's words."""
    match error:
        case Refused():
            return error
        case grpc.aio.AioRpcError():
            return of_farm(error)
        case HTTPException():
            return Refused(error.status_code, error.detail, error.detail.lower().replace(" ", "_"))
        case ClientDisconnect():  # nobody reads the answer; 499 is nginx's word in logs and metrics
            return Refused(499, "the caller left before its body had come", "client_left")
        case _:
            raise error


# What a route may end with, besides an answer.
ENDINGS: Sequence[type[Exception]] = (
    Refused,
    grpc.aio.AioRpcError,
    HTTPException,
    ClientDisconnect,
)


def of_farm(error: grpc.aio.AioRpcError) -> Refused:
    """What a failed call says, in HTTP's words."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    state = None
    with contextlib.suppress(ValueError):  # the details contradict the call's own code or message
        # What an asyncio channel raises has all that a grpc.Call has here.
        state = rpc_status.from_call(cast(grpc.Call, error))
    for detail in state.details if state else ():
        detail.Unpack(info)
        detail.Unpack(bad)
    http_status = _HTTP.get(error.code(), 500)
    code = (info.reason or error.code().name).lower()
    message = error.details() or "no reason given"
    if not bad.field_violations:
        return Refused(http_status, message, code)
    told = [_violation(v.field, v.description) for v in bad.field_violations]
    message = "; ".join(words for _, words in told)
    return Refused(http_status, message, code, told[0][0])


def _violation(field: str, description: str) -> tuple[str, str]:
    name = field.rpartition(".")[2]
    param = PARAMS.get(name, name)
    subject = name if param == name else f"{param}: {name}"
    return param, f"{subject} {description}"
