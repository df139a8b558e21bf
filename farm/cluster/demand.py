"""What a gateway has to do for a group of workers, asked for again and again in a thread."""

from __future__ import annotations

import threading

import grpc
import structlog

from farm.cluster.session import why_broken
from farm.jobs.demand import Demand
from svdfarm.target import Target
from svdfarm.tls import Tls
from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

_ASK_EVERY_S = 1.0
_ANSWER_S = 5.0
_CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
]


class DemandWatch:
    """Knows the latest demand; its thread, `demand`, ends with `stop`."""

    def __init__(
        self,
        gateway: str,
        token: str | None,
        request: pb.GetDemandRequest,
        *,
        tls: Tls | None = None,
        plaintext: bool = False,
    ) -> None:
        """Raises svdfarm.Rejected for an address, or files of TLS, that cannot be used."""
        self.latest: Demand | None = None  # None: not known, or no longer
        self._target = Target.read(gateway, token, tls, plaintext=plaintext)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._request = request
        self._stopped = threading.Event()
        threading.Thread(target=self._ask_until_stopped, name="demand", daemon=True).start()

    def stop(self) -> None:
        """Asks no more."""
        self._stopped.set()

    def _ask_until_stopped(self) -> None:
        told = ""
        with self._target.channel(_CHANNEL_OPTIONS) as channel:
            stub = pb_grpc.SessionServiceStub(channel)
            while not self._stopped.is_set():
                problem = self._ask(stub)
                if problem != told:
                    told = problem
                    log.warning("demand.unknown" if problem else "demand.known", error=problem)
                self._stopped.wait(_ASK_EVERY_S)

    def _ask(self, stub: pb_grpc.SessionServiceStub) -> str:
        """Asks once; returns why there was no answer, or nothing."""
        try:
            found = stub.GetDemand(self._request, timeout=_ANSWER_S, metadata=self._metadata)
        except grpc.RpcError as error:
            self.latest = None
            return why_broken(error, self._target)
        self.latest = Demand(
            queued_shot_count=found.queued_shot_count,
            busy_worker_count=found.busy_worker_count,
            withdrawn_worker_count=found.withdrawn_worker_count,
        )
        return ""
