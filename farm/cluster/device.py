"""What a worker measures of its device, for its heartbeats."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from farm.render.renderer import DeviceMemory, Renderer
from farm.wire import duration
from svdfarm.v1 import session_service_pb2 as pb

_LOOK_EVERY_S = 1.0


class DeviceMeter:
    """Looks in the thread that renders; the heartbeat tells what was seen last.

    A driver that hangs may hold up a clip, but never the heartbeats that renew its lease.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of everything below
        self._busy_s = 0.0  # of the clips that are done
        self._busy_since_s: float | None = None
        self._looked_s = float("-inf")
        self._memory: DeviceMemory | None = None

    @contextmanager
    def busy(self, renderer: Renderer) -> Iterator[None]:
        """A clip is on the device for the length of a with block."""
        with self._lock:
            self._busy_since_s = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._busy_s = self._busy_so_far_s()
                self._busy_since_s = None
                self._looked_s = float("-inf")  # what the clip took is given back
            self.look(renderer)

    def look(self, renderer: Renderer) -> None:
        """Asks the device, now and then."""
        with self._lock:
            if time.monotonic() < self._looked_s + _LOOK_EVERY_S:
                return
            self._looked_s = time.monotonic()
        try:
            memory = renderer.device_memory()
        except RuntimeError:  # a broken device: the clip itself will say so
            memory = None
        with self._lock:
            self._memory = memory

    def heartbeat(self) -> pb.Heartbeat:
        """What was seen last."""
        with self._lock:
            told = pb.Heartbeat(busy_duration=duration(self._busy_so_far_s()))
            if self._memory is not None:
                told.memory_used_bytes = self._memory.used_bytes
                told.memory_total_bytes = self._memory.total_bytes
        return told

    def _busy_so_far_s(self) -> float:
        since_s = self._busy_since_s
        return self._busy_s + (0.0 if since_s is None else time.monotonic() - since_s)
