"""Structured logs: one JSON line an event, on stderr."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, WrappedLogger


def configure_logs(*, level: int = logging.INFO) -> None:
    """Sets up this process; called once, where the program is put together."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_job,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without local variables: they hold tokens.
            ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def name_job(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Says of what job a line is that says of what shot: one field finds all of a job's lines."""
    job, shots, _ = str(line.get("shot", "")).partition("/shots/")
    if shots:
        line.setdefault("job", job)
    return line
