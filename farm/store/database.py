"""Opens the database: one connection that writes in groups, others that read.

Threads: one writer, started by `Database.open` and ended by `close`; reads run in a small
thread pool. Functions that take a `Connection` run in one of them and never see asyncio.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event

from farm.store.migrate import migrate
from farm.store.moves import CHANGED_JOBS

P = ParamSpec("P")
R = TypeVar("R")

_GROUP_LIMIT = 256  # changes a commit
_READERS = 4
_BUSY_TIMEOUT_MS = 10_000

_Job = tuple[Callable[[Connection], Any], "Future[Any]"]


class Database:
    """A SQLite file, written durably: WAL, synchronous=FULL, BEGIN IMMEDIATE.

    Changes that wait together are committed together, each in a savepoint of its own, and each
    caller hears of its change only after the commit: one fsync serves many.
    """

    def __init__(self, writer: Engine, reader: Engine) -> None:
        self._writer = writer
        self._reader = reader
        # Called from the writer's thread after a commit, with the ids of the jobs it changed.
        self.on_commit: Callable[[set[str]], None] = lambda _: None
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._thread = threading.Thread(target=self._write_groups, name="store-write")
        self._thread.start()

    @classmethod
    def open(cls, path: Path) -> Database:
        """Opens or makes the file and brings its tables up to date. Raises StoreTooNew."""
        url = f"sqlite:///{path}"
        writer = create_engine(url, pool_size=1, max_overflow=0)
        _prepare(writer, begin="BEGIN IMMEDIATE")
        reader = create_engine(url, pool_size=_READERS, max_overflow=0)
        _prepare(reader, begin="BEGIN", read_only=True)
        migrate(writer)
        return cls(writer, reader)

    async def write(
        self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs `fn` in a transaction; returns when it is on disk. `fn`'s errors undo it alone."""
        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def submit(
        self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:
        """As `write`, for callers that are not coroutines."""
        done: Future[R] = Future()
        self._queue.put((lambda conn: fn(conn, *args, **kwargs), done))
        return done

    async def read(
        self, fn: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs `fn` on a snapshot of what is committed."""

        def run() -> R:
            with self._reader.begin() as conn:
                return fn(conn, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def close(self) -> None:
        """Commits what was asked for, then closes every connection."""
        self._queue.put(None)
        self._thread.join()
        self._pool.shutdown()
        self._reader.dispose()
        self._writer.dispose()

    def _write_groups(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = [first], False
            while len(group) < _GROUP_LIMIT and not self._queue.empty():
                job = self._queue.get()
                if job is None:
                    last = True
                    break
                group.append(job)
            self._write_group(group)
            if last:
                return

    def _write_group(self, group: list[_Job]) -> None:
        wanted = [(fn, done) for fn, done in group if done.set_running_or_notify_cancel()]
        try:
            self._commit(wanted)
        except _TransactionLost:
            for job in wanted:  # nothing of the group was kept: each once more, alone
                try:
                    self._commit([job])
                except _TransactionLost as lost:
                    job[1].set_exception(lost.cause)

    def _commit(self, wanted: list[_Job]) -> None:
        outcomes: list[Callable[[], None]] = []
        try:
            with self._writer.begin() as conn:
                conn.info.pop(CHANGED_JOBS, None)
                for fn, done in wanted:
                    outcomes.append(_run(conn, fn, done))
                changed: set[str] = conn.info.get(CHANGED_JOBS, set())
        except _TransactionLost:
            raise
        except Exception as error:  # noqa: BLE001 - every caller hears why the commit failed
            for _, done in wanted:
                done.set_exception(error)
            return
        for tell in outcomes:
            tell()
        if changed:
            self.on_commit(changed)


class _TransactionLost(Exception):
    """SQLite rolled the whole transaction back, as it does on a full disk or an I/O error."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _run(
    conn: Connection, fn: Callable[[Connection], Any], done: Future[Any]
) -> Callable[[], None]:
    """Runs one change in a savepoint; returns how to tell its caller after the commit.

    Raises _TransactionLost where its failure took the changes before it along: the savepoint is
    gone then, and what came after it would be committed piece by piece.
    """
    try:
        with conn.begin_nested():
            result = fn(conn)
    except Exception as error:
        raw: Any = conn.connection.driver_connection
        if not raw.in_transaction:
            raise _TransactionLost(error) from error
        failed = error
        return lambda: done.set_exception(failed)
    return lambda: done.set_result(result)


def _prepare(engine: Engine, *, begin: str, read_only: bool = False) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(conn: Connection) -> None:
        conn.exec_driver_sql(begin)
