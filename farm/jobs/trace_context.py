"""W3C Trace Context, as a shot carries it: `00-TRACE-SPAN-FLAGS`, 55 characters, all of them hex.

The spans of a shot are told piece by piece, by whichever gateway is there when a piece has ended,
and those inside an attempt by its worker meanwhile. So that they find their parents, the ids of the
spans above are computed from the call that queued the shot and from the shot's own name.
"""

from __future__ import annotations

import hashlib
import re

# Of one call's shots: a job of ten thousand would be a trace that no backend takes or shows.
TRACED_SHOTS = 100

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def read(given: str) -> str:
    """What a caller or a worker sent, if it can be used, else "". A later version is not read."""
    return given if _TRACEPARENT.fullmatch(given) else ""


def is_sampled(traceparent: str) -> bool:
    """Whether anybody wants its spans."""
    return bool(traceparent) and int(traceparent[-2:], 16) & 1 == 1


def trace_id(traceparent: str) -> str:
    """The trace: 32 hex digits, or "" where there is none."""
    return traceparent[3:35]


def ids(traceparent: str) -> dict[str, str]:
    """What a line of a log says of it."""
    return {"trace": trace_id(traceparent)} if traceparent else {}


def span_id(traceparent: str) -> str:
    """The span: 16 hex digits, or "" where there is none."""
    return traceparent[36:52]


def inside(traceparent: str, name: str) -> str:
    """The span called `name`, such as a shot's, inside another one; "" where there is none."""
    if not traceparent:
        return ""
    digest = hashlib.blake2b(f"{traceparent} {name}".encode(), digest_size=8).hexdigest()
    return f"{traceparent[:36]}{digest}{traceparent[52:]}"
