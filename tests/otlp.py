"""An OpenTelemetry collector as far as tests need one: keeps what comes over gRPC or HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

ERROR = 2  # Status.StatusCode


@dataclass(frozen=True)
class Span:
    """One span as it came."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    service: str
    start_s: float
    end_s: float
    attributes: dict[str, Any]
    error: bool


class Collector:
    """What came so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self.raw = b""  # every byte of every request

    def take(self, request: pb.ExportTraceServiceRequest) -> None:
        found = [
            Span(
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.name,
                span.kind,
                str(_values(of.resource.attributes).get("service.name")),
                span.start_time_unix_nano / 1e9,
                span.end_time_unix_nano / 1e9,
                _values(span.attributes),
                span.status.code == ERROR,
            )
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans += found
            self.raw += request.SerializeToString()

    @property
    def spans(self) -> list[Span]:
        """In the order of their beginnings."""
        with self._lock:
            return sorted(self._spans, key=lambda span: span.start_s)


def _values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@contextmanager
def grpc_collector() -> Iterator[tuple[Collector, str]]:
    """With its endpoint."""
    collector = Collector()

    class Service(pb_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
            collector.take(request)
            return pb.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_TraceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def http_collector() -> Iterator[tuple[Collector, str]]:
    """With its endpoint, to which a client adds /v1/traces."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(pb.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
