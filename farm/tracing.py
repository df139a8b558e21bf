"""OpenTelemetry, where it is wanted and installed: else every function here does nothing.

`configure_traces` is called once, where a program is put together. Spans that happened are told
with `tell`: all of a shot's are known when they have ended, and some only to the database.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from farm.jobs import trace_context
from farm.settings import otlp_protocol, otlp_timeout_s, traces_wanted

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

Attributes = Mapping[str, str | int | float]

_EXPORTERS = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
}


class _Telling:
    """What `configure_traces` set up in this process."""

    tracer: Tracer | None = None
    api: Any = None  # opentelemetry.trace
    provider: Any = None
    chosen = threading.local()  # the id of the span that this thread starts


def configure_traces(service: str, version: str) -> str:
    """Has this process tell its spans, where OTEL_* variables of its environment ask for it.

    Returns why it cannot, "" where it can or nobody asks: work goes on without.
    """
    if not traces_wanted() or _Telling.tracer is not None:
        return ""
    protocol = otlp_protocol()
    if protocol not in _EXPORTERS:
        return f"traces are off: the protocol is {protocol!r}; allowed: {' or '.join(_EXPORTERS)}"
    try:
        exporter = importlib.import_module(_EXPORTERS[protocol])
        _Telling.api = importlib.import_module("opentelemetry.trace")
        _Telling.provider = _provider(exporter, service, version)
    except ImportError as error:
        return f"traces are off: {error}; pip install 'svdfarm[otel]'"
    _Telling.api.set_tracer_provider(_Telling.provider)
    _Telling.tracer = _Telling.provider.get_tracer("svdfarm", version)
    return ""


def _provider(exporter: ModuleType, service: str, version: str) -> object:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_span_id(self) -> int:
            return getattr(_Telling.chosen, "id", None) or super().generate_span_id()

    ours = {"service.name": service, "service.version": version}
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, id_generator=Ids())
    provider.add_span_processor(
        BatchSpanProcessor(exporter.OTLPSpanExporter(timeout=otlp_timeout_s()))
    )
    return provider


def is_on() -> bool:
    """Whether this process tells spans."""
    return _Telling.tracer is not None


def flush() -> None:
    """Sends what was told; blocks, for some seconds where nobody takes it."""
    if _Telling.provider is not None:
        _Telling.provider.force_flush()


def tell(
    parent: str,
    name: str,
    start_s: float,
    end_s: float,
    attributes: Attributes | None = None,
    *,
    error: str = "",
    span: str = "",
) -> str:
    """Tells a span that has ended, from and to a Unix time; returns it, for those inside it.

    `parent` and `span` are traceparents: of the span around it, and of itself, where others know it
    already. `error` is why it failed: a name, no message, as that may quote files or secrets.
    """
    tracer, api = _Telling.tracer, _Telling.api
    if tracer is None or not trace_context.is_sampled(parent):
        return span
    _Telling.chosen.id = int(trace_context.span_id(span) or "0", 16)
    try:
        told = tracer.start_span(
            name,
            around(parent),
            attributes=attributes,
            start_time=round(start_s * 1e9),
        )
    finally:
        _Telling.chosen.id = None
    if error:
        told.set_attribute("error.type", error)
        told.set_status(api.StatusCode.ERROR)
    told.end(round(max(start_s, end_s) * 1e9))
    return traceparent(told)


@contextmanager
def span(
    name: str, kind: str, parent: str, attributes: Attributes, *, inside: bool = True
) -> Iterator[dict[str, str | int]]:
    """A span for the length of a with block: `kind` is SERVER, for one, and `parent` may be "".

    What the block puts into the dict are attributes too; an `error.type` says that it failed. With
    `inside` the block's code is inside the span: not for generators, whose callers would be too.
    """
    ended: dict[str, str | int] = {}
    if _Telling.tracer is None:
        yield ended
        return
    from opentelemetry import context

    api = _Telling.api
    begun = _Telling.tracer.start_span(
        name, around(parent), kind=api.SpanKind[kind], attributes=attributes
    )
    token = context.attach(api.set_span_in_context(begun)) if inside else None
    try:
        yield ended
    finally:
        if token is not None:
            context.detach(token)
        begun.set_attributes(ended)
        if "error.type" in ended:
            begun.set_status(api.StatusCode.ERROR)
        begun.end()


def around(parent: str) -> Any:
    """OpenTelemetry's context inside the span `parent`; with "" that around this code."""
    if not parent:
        return None
    api = _Telling.api
    flags = api.TraceFlags(int(parent[-2:], 16))
    ids = (int(trace_context.trace_id(parent), 16), int(trace_context.span_id(parent), 16))
    return api.set_span_in_context(
        api.NonRecordingSpan(api.SpanContext(*ids, is_remote=True, trace_flags=flags))
    )


def traceparent(span: Any) -> str:
    """A span of OpenTelemetry's, as it is carried."""
    told = span.get_span_context()
    return f"00-{told.trace_id:032x}-{told.span_id:016x}-{told.trace_flags:02x}"


def current() -> str:
    """The traceparent of the span around this code, if anybody wants its spans, else ""."""
    if _Telling.api is None:
        return ""
    span = _Telling.api.get_current_span()
    return traceparent(span) if span.get_span_context().trace_flags & 1 else ""
