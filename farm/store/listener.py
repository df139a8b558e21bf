"""Hears what other gateways change; while the database cannot tell, looks every second."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from farm.store.backend import Connect

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0


class Listener:
    """A thread, `store-listen`, that calls `tell` with the ids of jobs that others changed.

    None instead of ids: some changes may have gone by unheard, of any job.
    """

    def __init__(
        self, connect: Connect, own_name: str, tell: Callable[[frozenset[str] | None], None]
    ) -> None:
        self._connect = connect
        self._own_name = own_name
        self._tell = tell
        self._woken, self._wake = os.pipe()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-listen")
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and its connection."""
        self._closing.set()
        os.write(self._wake, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._woken)

    def _run(self) -> None:
        lost = False
        while not self._closing.is_set():
            try:
                with contextlib.closing(self._connect()) as connection:
                    if lost:
                        log.info("store.hears_again")
                    lost = False
                    self._listen(connection)
            except (psycopg.Error, OSError) as error:
                if not lost:
                    log.warning("store.hears_nothing", error=str(error))
                lost = True
                self._tell(None)
                self._closing.wait(_LOOK_EVERY_S)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        self._tell(None)  # what was committed before LISTEN took effect
        with selectors.DefaultSelector() as ready:
            ready.register(connection.fileno(), selectors.EVENT_READ)
            ready.register(self._woken, selectors.EVENT_READ)
            while not self._closing.is_set():
                ready.select()
                for message in connection.notifies(timeout=0):
                    sender, *jobs = message.payload.split()
                    if sender != self._own_name:
                        self._tell(frozenset(jobs))
