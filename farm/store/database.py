"""The open database: one thread that writes in groups, others that read, one that listens.

Threads: the writer's and, where other gateways may write, the listener's, both started by
`Database.open` and ended by `close`; reads run in a small thread pool. Functions that take a
`Connection` run in one of them and never see asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import stamina
from sqlalchemy import Connection

from farm.store import together
from farm.store.backend import Backend
from farm.store.errors import StoreAway
from farm.store.listener import Listener
from farm.store.migrate import migrate
from farm.store.writer import PATIENCE_S, Writer, away_told

P = ParamSpec("P")
R = TypeVar("R")

_READERS = 4


class Database:
    """What the store reads and writes through."""

    def __init__(self, backend: Backend, first: Callable[[Connection], Any]) -> None:
        self._backend = backend
        self._closing = False
        # Called from the writer's thread after a commit, with the ids of the jobs it changed.
        self.on_commit: Callable[[set[str]], None] = lambda _: None
        # Called from the listener's thread with the ids of jobs that other gateways changed, or
        # with None where any job may have been changed.
        self.on_news: Callable[[frozenset[str] | None], None] = lambda _: None
        self.name = secrets.token_hex(8)  # of this gateway, among those of the farm
        self._reader = backend.reader(_READERS)
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._writer = Writer(
            backend, backend.writer(), self.name, first, lambda jobs: self.on_commit(jobs)
        )
        listening = backend.listener()
        self._listener = (
            None
            if listening is None
            else Listener(listening, self.name, lambda jobs: self.on_news(jobs))
        )

    @classmethod
    def open(
        cls, backend: Backend, first: Callable[[Connection], Any] = lambda _: None
    ) -> Database:
        """Opens or makes the database and brings its tables up to date.

        `first` runs before all else whenever no other gateway is connected: now, and after a time
        in which the database was away. Raises StoreTooNew, and StoreAway.
        """
        for attempt in stamina.retry_context(StoreAway, attempts=None, timeout=PATIENCE_S):
            with attempt, away_told(backend):
                migrate(backend)
        database = cls(backend, first)
        with contextlib.ExitStack() as undo:
            undo.callback(database.close)
            database.submit(lambda _: None).result()
            undo.pop_all()
        return database

    async def write(
        self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs `fn` in a transaction; returns when it is on disk. `fn`'s errors undo it alone.

        Where the connection is lost, `fn` may run again, when it is known that what it did was
        lost too. Raises StoreAway where the database stays away.
        """
        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def submit(
        self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:
        """As `write`, for callers that are not coroutines."""
        done: Future[R] = Future()
        many = together.many_of(fn)
        if many is None or kwargs:
            self._writer.put((lambda conn: fn(conn, *args, **kwargs), done))
        else:
            self._writer.put((together.One(many, args), done))
        return done

    async def read(
        self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs `fn` on a snapshot of what is committed. Raises StoreAway as `write` does."""

        def once() -> R:
            with away_told(self._backend), self._reader.begin() as conn:
                return fn(conn, *args, **kwargs)

        def run() -> R:
            try:
                return once()
            except StoreAway:
                return self._patiently(once)()

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def _patiently(self, run: Callable[[], R]) -> Callable[[], R]:
        return stamina.retry(
            on=lambda error: isinstance(error, StoreAway) and not self._closing,
            attempts=None,
            timeout=PATIENCE_S,
            wait_initial=0.05,
            wait_max=1.0,
            wait_jitter=0.1,
        )(run)

    def close(self) -> None:
        """Commits what was asked for, then closes every connection."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        self._writer.close()
        self._pool.shutdown()
        self._reader.dispose()
