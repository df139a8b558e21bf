"""A wire between a worker and the farm's gateways, as a load balancer makes it, that can fail."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

_PART_BYTES = 65536


class Wire:
    """Leads each connection to one of `gateways` (HOST:PORT), whichever the seed says."""

    def __init__(self, gateways: Callable[[], list[str]], seed: str) -> None:
        self._gateways = gateways
        self._rng = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
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
        with contextlib.suppress(OSError):
            while part := source.recv(_PART_BYTES):
                self._flows.wait()
                target.sendall(part)
        self._flows.wait()
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.discard(source)
        source.close()
