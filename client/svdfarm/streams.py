"""The streams of one connection: watches make way for others where a tenant may have few open.

A watch can go on later from where it was; an upload or a download that is refused cannot wait for
one that its own process holds open.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class _Call(Protocol):
    def cancel(self) -> object: ...


class Watch:
    """One watch, over all its calls."""

    def __init__(self) -> None:
        self.gave_way = False
        self._call: _Call | None = None

    def begin(self, call: _Call) -> None:
        """Its next call was made."""
        self.gave_way = False
        self._call = call

    def end(self) -> None:
        """That call has ended."""
        self._call = None

    def make_way(self) -> None:
        """Ends its call, if one is open; whoever reads it finds out that it gave way."""
        if self._call is not None:
            self.gave_way = True
            self._call.cancel()


class Streams:
    """What is open, or is wanted. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self._wanted_count = 0

    @property
    def others_wanted(self) -> bool:
        """Whether an upload or a download is under way, refused or not."""
        return self._wanted_count > 0

    @contextmanager
    def other(self) -> Iterator[None]:
        """An upload or a download, from its first try to its end."""
        with self._lock:
            self._wanted_count += 1
        try:
            yield
        finally:
            with self._lock:
                self._wanted_count -= 1

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """A watch, from its first call to its end."""
        watch = Watch()
        with self._lock:
            self._watches.add(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)

    def make_way(self) -> None:
        """Ends the calls of all watches: they go on when the others have ended."""
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.make_way()
