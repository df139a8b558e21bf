"""Whether a gateway lets workers in with their token, asked before anything is started for them."""

from __future__ import annotations

import grpc

from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc as pb_grpc

_ANSWER_S = 5.0
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class TokenRefused(Exception):
    """The gateway does not let workers in; the message says why and what to do."""


def check_token(gateway: str, token: str | None) -> None:
    """Raises TokenRefused; a gateway that does not answer may still come, and tells then."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(gateway) as channel:
        stub = pb_grpc.SessionServiceStub(channel)
        try:
            # Without a model it is refused as such, once its sender is known.
            stub.GetDemand(pb.GetDemandRequest(), timeout=_ANSWER_S, metadata=metadata)
        except grpc.RpcError as error:
            problem: Exception = error
            if isinstance(problem, grpc.Call) and problem.code() in _REFUSED:
                raise TokenRefused(
                    f"the gateway at {gateway} refuses these workers: {problem.details()}; workers "
                    "show FARM_WORKER_TOKEN, or else FARM_TOKEN or --token"
                ) from error
