"""OpenTelemetry spans of what this package asks of a farm, in programs that use OpenTelemetry.

It is looked for among the modules that are loaded already: a program without it loads nothing. A
submission is a span of its own, inside the program's or at the root of a trace; any other call is
one where the program is inside a span. The farm goes on with both: see docs/TRACES.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Metadata = tuple[tuple[str, str], ...]


def _api() -> Any:
    return sys.modules.get("opentelemetry.trace")


def headers() -> Metadata:
    """What a call carries that is made for whoever the span around this code is for."""
    api = _api()
    return () if api is None else _carried(api.get_current_span())


@contextmanager
def calling(method: object) -> Iterator[Metadata]:
    """The span of one call of a stub's method; what the call is to carry, and its error goes by."""
    api = _api()
    if api is None or not api.get_current_span().get_span_context().is_valid:
        yield ()
        return
    name = getattr(method, "_method", b"").decode().removeprefix("/")
    about = {"rpc.system.name": "grpc", "rpc.method": name}
    span = _tracer(api).start_span(name, kind=api.SpanKind.CLIENT, attributes=about)
    code = "OK"
    try:
        yield _carried(span)
    except BaseException as error:
        told = getattr(error, "code", None)  # of grpc.RpcError
        code = getattr(told(), "name", "UNKNOWN") if callable(told) else "CANCELLED"
        if code != "NOT_FOUND":  # which is an answer, such as of an image that is new
            span.set_attribute("error.type", code)
            span.set_status(api.StatusCode.ERROR)
        raise
    finally:
        span.set_attribute("rpc.response.status_code", code)
        span.end()


@contextmanager
def submitting(name: str) -> Iterator[None]:
    """A span for the length of a with block, and of the calls inside it."""
    api = _api()
    if api is None:
        yield
        return
    # What an exception says may hold names of files: only its type is told.
    with _tracer(api).start_as_current_span(
        name, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(api.StatusCode.ERROR)
            raise


def _tracer(api: Any) -> Any:
    return api.get_tracer("svdfarm")


def _carried(span: Any) -> Metadata:
    told = span.get_span_context()
    if not told.is_valid:
        return ()
    text = f"00-{told.trace_id:032x}-{told.span_id:016x}-{told.trace_flags:02x}"
    return (("traceparent", text),)
