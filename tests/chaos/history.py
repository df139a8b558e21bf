"""What happened in a run, as lines of JSON: who asked for what, what came of it, which faults.

A call is `invoke`, then `ok`, `fail` (it was not done) or `unknown` (it was done or not).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from svdfarm import DeadlineExceeded, FarmFailed, SvdfarmError, Unreachable

Event = dict[str, Any]


class History:
    """Appends to a file, from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def tell(self, what: str, **about: Any) -> None:
        """Notes one event, with the time."""
        line = json.dumps({"at": time.time(), "what": what, **about})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()

    @contextlib.contextmanager
    def call(self, op: str, **about: Any) -> Iterator[Event]:
        """Notes a call and how it ended; what is put into the value is noted with `ok`."""
        about |= {"op": op, "call": next(self._numbers)}
        self.tell("invoke", **about)
        told: Event = {}
        try:
            yield told
        except (Unreachable, DeadlineExceeded, FarmFailed) as error:
            self.tell("unknown", **about, error=f"{type(error).__name__}: {error}")
            raise
        except SvdfarmError as error:
            kind = type(error).__name__
            self.tell("fail", **about, error=f"{kind}: {error}", reason=error.reason, refused=kind)
            raise
        else:
            self.tell("ok", **about, **told)

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


def read(path: Path) -> list[Event]:
    """Every event of a file, in order; a line that a killed process left half is passed over."""
    events = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events
