"""A wire between a worker and the farm's gateways, as a load balancer makes it, that can fail.

It ends one TCP connection and begins another, so what it delays is delayed for both.
"""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

_PART_BYTES = 65536
_PARTS = 64  # that are on their way at once, at most


class Wire:
    """Leads each connection to one of `gateways` (HOST:PORT), whichever the seed says."""

    def __init__(
        self, gateways: Callable[[], list[str]], seed: str, host: str = "127.0.0.1"
    ) -> None:
        self._gateways = gateways
        self._rng = random.Random(seed)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"{host}:{self.port}"
        self.delay_s = 0.0  # of everything, either way
        self._flows = threading.Event()
        self._flows.set()
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    def cut(self) -> None:
        """Breaks every connection; new ones can be made at once."""
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Carries nothing for the length of a with block; then all of it, late."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    def close(self) -> None:
        """Ends it."""
        self._flows.set()
        with contextlib.suppress(OSError):  # wakes `accept`, which a close alone does not
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                host, _, port = self._rng.choice(self._gateways()).rpartition(":")
                try:
                    far = socket.create_connection((host, int(port)), timeout=5)
                except OSError:  # that gateway is away
                    near.close()
                    continue
                far.settimeout(None)
                for source, target in ((near, far), (far, near)):
                    self._ends.add(source)
                    threading.Thread(target=self._pump, args=[source, target], daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        parts: queue.Queue[tuple[float, bytes]] = queue.Queue(_PARTS)
        deliver = threading.Thread(target=self._deliver, args=[parts, target], daemon=True)
        deliver.start()
        part = b"-"
        while part:
            try:
                part = source.recv(_PART_BYTES)
            except OSError:
                part = b""
            parts.put((time.monotonic() + self.delay_s, part))
        deliver.join()
        self._flows.wait()
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.discard(source)
        source.close()

    def _deliver(self, parts: queue.Queue[tuple[float, bytes]], target: socket.socket) -> None:
        while True:
            due, part = parts.get()
            if not part:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            self._flows.wait()
            with contextlib.suppress(OSError):  # nobody is there any more; the rest is dropped
                target.sendall(part)
