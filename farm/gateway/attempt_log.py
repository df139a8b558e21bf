"""An attempt's log between the wire and its row."""

from __future__ import annotations

import json
from collections.abc import Sequence

from farm.store.records import storable
from farm.wire import bound_log
from svdfarm.v1 import resources_pb2 as pb

_END_OF_TIME_S = 253402300799.0  # the year 9999: what a Timestamp may hold at most


def to_stored(lines: Sequence[pb.LogLine]) -> str | None:
    """What is kept of the lines that a worker sent, as JSON; None where there are none."""
    if not lines:
        return None
    kept = [
        [
            min(max(line.time.seconds + line.time.nanos / 1e9, 0.0), _END_OF_TIME_S),
            storable(line.level),
            storable(line.event),
            {storable(name): storable(told) for name, told in sorted(line.fields.items())},
        ]
        for line in bound_log(lines)
    ]
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def from_stored(text: str | None) -> list[pb.LogLine]:
    """The lines of a row."""
    lines = []
    for time_s, level, event, fields in json.loads(text or "[]"):
        line = pb.LogLine(level=level, event=event, fields=fields)
        line.time.FromMicroseconds(round(time_s * 1e6))
        lines.append(line)
    return lines
