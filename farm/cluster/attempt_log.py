"""What a worker logs of one attempt: on its own stderr, and in the report to the gateway."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Collection
from typing import Any

import structlog

from farm.jobs import trace_context
from farm.wire import LOG_LINES, bound_log, timestamp
from svdfarm.v1 import resources_pb2
from svdfarm.v1 import session_service_pb2 as pb

log = structlog.get_logger()

_VALUE_LIMIT = 4000  # characters: of a traceback the end, where it broke
_SECRET = "[secret]"  # noqa: S105 - what is told in its place


class AttemptLog:
    """Takes lines from any thread; keeps the newest, without the attempt's and farm's secrets."""

    def __init__(self, lease: pb.Lease, worker: str, secrets: Collection[str]) -> None:
        self._ids = {"shot": lease.shot, "attempt": lease.attempt, "worker": worker}
        self._ids |= trace_context.ids(lease.traceparent)
        self._secrets = (lease.token, *secrets)
        self._lock = threading.Lock()  # of everything below
        self._lines: deque[resources_pb2.LogLine] = deque(maxlen=LOG_LINES)
        self._count = 0

    def hide(self, secret: str) -> None:
        """Keeps one more secret out of the lines to come."""
        self._secrets = (*self._secrets, secret)

    def info(self, event: str, **fields: Any) -> None:
        """Logs what happens as it should."""
        self._keep("info", event, fields)
        log.info(event, **self._ids, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Logs what somebody may want to look at."""
        self._keep("warning", event, fields)
        log.warning(event, **self._ids, **fields)

    def error(self, event: str, error: BaseException) -> None:
        """Logs what went wrong, with where it did; no local variables, as they hold secrets."""
        told = "".join(traceback.format_exception(error))
        self._keep("error", event, {"error": f"{type(error).__name__}: {error}", "where": told})
        log.error(event, **self._ids, exc_info=error)

    def lines(self) -> list[resources_pb2.LogLine]:
        """What goes to the gateway."""
        with self._lock:
            return bound_log(list(self._lines), self._count - len(self._lines))

    def _keep(self, level: str, event: str, fields: dict[str, Any]) -> None:
        told = {name: self._printable(value) for name, value in fields.items()}
        line = resources_pb2.LogLine(
            time=timestamp(time.time()), level=level, event=event, fields=told
        )
        with self._lock:
            self._lines.append(line)
            self._count += 1

    def _printable(self, value: object) -> str:
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        for secret in self._secrets:
            if secret:
                text = text.replace(secret, _SECRET)
        text = text.encode(errors="replace").decode()
        return text if len(text) <= _VALUE_LIMIT else f"… {text[-_VALUE_LIMIT:]}"
