"""grpc errors into errors of this package."""

from __future__ import annotations

from typing import cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from svdfarm import errors

_KINDS: dict[grpc.StatusCode, type[errors.SvdfarmError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.Unreachable,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.Unauthenticated,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.INVALID_ARGUMENT: errors.Rejected,
    grpc.StatusCode.ALREADY_EXISTS: errors.Rejected,
    grpc.StatusCode.FAILED_PRECONDITION: errors.Rejected,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
}
# A gateway that stops ends calls under way as CANCELLED; gRPC says this where the client did.
_OUR_OWN = ("Channel closed!", "Locally cancelled by application!")


def translate(error: grpc.RpcError, address: str) -> errors.SvdfarmError:
    """The error of this package that says what `error` says, its google.rpc details included."""
    details = _Details(error)
    kind = _KINDS.get(error.code(), errors.FarmFailed)
    message = details.message
    ours = any(words in message for words in _OUR_OWN)
    if error.code() is grpc.StatusCode.CANCELLED and not ours:
        kind = errors.Unreachable
    if kind is errors.Unreachable:
        # gRPC's text names every address it tried; its end says what happened.
        message = f"no farm answers at {address} ({message.rsplit(': ', 1)[-1].strip('[]()')})"
    elif kind is errors.DeadlineExceeded:
        message = f"no answer from {address} in time ({message})"
    elif kind is errors.FarmFailed:
        message = f"the farm at {address} failed: {error.code().name}: {message}"
    elif kind is errors.Rejected:
        of_shots = any(v.shot_index is not None for v in details.violations)
        return (errors.ShotRejected if of_shots else errors.Rejected)(
            message,
            violations=details.violations,
            reason=details.reason,
            metadata=details.metadata,
        )
    elif kind is errors.ResourceExhausted:
        return errors.ResourceExhausted(
            message,
            reason=details.reason,
            metadata=details.metadata,
            retry_after_s=details.retry_after_s,
        )
    return kind(message, reason=details.reason, metadata=details.metadata)


class _Details:
    """The message and google.rpc details of a failed call; empty where there are none."""

    def __init__(self, error: grpc.RpcError) -> None:
        self.message = error.details() or "no reason given"
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.violations: list[errors.Violation] = []
        self.retry_after_s: float | None = None
        try:
            # What a channel raises is a grpc.Call too, which its types do not say.
            state = rpc_status.from_call(cast(grpc.Call, error))
        except ValueError:  # code or message of the details contradict the call's own
            return
        for detail in state.details if state else ():
            info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(request):
                self.violations += [
                    errors.Violation(v.field, v.description) for v in request.field_violations
                ]
            elif detail.Unpack(retry):
                self.retry_after_s = max(0.0, retry.retry_delay.ToNanoseconds() / 1e9)
