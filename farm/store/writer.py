"""The one thread of this process that writes: in groups, and once, whatever the connection does."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import stamina
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from farm.store import together
from farm.store.backend import Backend
from farm.store.errors import StoreAway
from farm.store.moves import CHANGED_JOBS

Change = tuple[together.Run, "Future[Any]"]

PATIENCE_S = 10.0  # for a database that is away, before its callers are told
_GROUP_LIMIT = 256  # changes a commit
_ARRIVED = "farm.arrived"  # in Connection.info, for as long as the connection lasts


class Writer:
    """Commits what waits together in one transaction.

    Each caller hears of its change after the commit: one fsync serves many. Where a change fails,
    its group is run again with each change in a savepoint of its own, so that it fails alone. A
    group whose connection is lost is run again when the database is back, unless it turns out that
    its commit came through.
    """

    def __init__(
        self,
        backend: Backend,
        engine: Engine,
        name: str,
        first: Callable[[Connection], Any],
        tell: Callable[[set[str]], None],
    ) -> None:
        self._backend = backend
        self._engine = engine
        self._name = name
        self._first = first
        self._tell = tell
        self._queue: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._write_groups, name="store-write")
        self._thread.start()

    def put(self, change: Change) -> None:
        """Queues a change."""
        self._queue.put(change)

    def close(self) -> None:
        """Commits what was asked for; a database that is away is not waited for any more."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _write_groups(self) -> None:
        while (first := self._queue.get()) is not None:
            changes, last = [first], False
            while len(changes) < _GROUP_LIMIT and not self._queue.empty():
                change = self._queue.get()
                if change is None:
                    last = True
                    break
                changes.append(change)
            self._write_group([c for c in changes if c[1].set_running_or_notify_cancel()])
            if last:
                return

    def _write_group(self, changes: list[Change]) -> None:
        try:
            self._commit(_Group(changes))
        except _TransactionLost:
            for change in changes:  # nothing of the group was kept: each once more, alone
                try:
                    self._commit(_Group([change]))
                except _TransactionLost as lost:
                    change[1].set_exception(lost.cause)

    def _commit(self, group: _Group) -> None:
        try:
            self._commit_once(group)
        except _TransactionLost:
            raise
        except Exception as error:  # noqa: BLE001 - every caller hears why the commit failed
            for _, done in group.changes:
                done.set_exception(error)
            return
        for tell in group.outcomes:
            tell()
        if group.changed:
            self._tell(group.changed)

    def _commit_once(self, group: _Group) -> None:
        """Tries until the group is committed. Raises StoreAway where the database stays away.

        A group that may have been committed is not given up before that is known, or the end.
        """
        while True:
            try:
                self._try(group)
            except StoreAway:
                pass
            else:
                return
            try:
                for attempt in stamina.retry_context(
                    lambda error: isinstance(error, StoreAway) and not self._closing,
                    attempts=None,
                    timeout=PATIENCE_S,
                    wait_initial=0.05,
                    wait_max=1.0,
                    wait_jitter=0.1,
                ):
                    with attempt:
                        self._try(group)
            except StoreAway:
                if group.sent is None or self._closing:
                    raise
            else:
                return

    def _try(self, group: _Group) -> None:
        with away_told(self._backend), self._engine.connect() as conn:
            self._arrive(conn)
            with conn.begin():
                transaction = self._backend.lock(conn)
                if group.sent is not None and self._backend.committed(conn, group.sent):
                    return
                group.sent = None
                self._run(conn, group)
                self._backend.announce(conn, self._name, group.changed)
                group.sent = transaction

    def _arrive(self, conn: Connection) -> None:
        if _ARRIVED not in conn.info:
            with conn.begin():
                self._backend.lock(conn)
                if self._backend.arrive(conn):
                    self._first(conn)
            conn.info[_ARRIVED] = True

    def _run(self, conn: Connection, group: _Group) -> None:
        group.outcomes = self._run_together(conn, group) or [
            self._run_alone(conn, *change) for change in group.each
        ]
        group.changed = conn.info.get(CHANGED_JOBS, set())

    def _run_together(self, conn: Connection, group: _Group) -> list[Callable[[], None]]:
        """Runs all changes; returns how to tell their callers after the commit.

        Returns nothing, and keeps nothing, where one of them failed. Raises as `_run_alone`.
        """
        conn.info.pop(CHANGED_JOBS, None)
        try:
            with _savepoint(conn):
                return [partial(done.set_result, fn(conn)) for fn, done in group.changes]
        except Exception as error:  # noqa: BLE001 - whose it is turns out when each runs alone
            self._check_open(conn, error)
            conn.info.pop(CHANGED_JOBS, None)
            return []

    def _run_alone(
        self, conn: Connection, fn: Callable[[Connection], Any], done: Future[Any]
    ) -> Callable[[], None]:
        """Runs one change; returns how to tell its caller after the commit.

        Raises _TransactionLost where its failure took the changes before it along: the savepoint
        is gone then, and what came after it would be committed piece by piece.
        """
        try:
            with _savepoint(conn):
                return partial(done.set_result, fn(conn))
        except Exception as error:  # noqa: BLE001 - its caller hears of it
            self._check_open(conn, error)
            return partial(done.set_exception, error)

    def _check_open(self, conn: Connection, error: Exception) -> None:
        if self._backend.is_away(error) or conn.invalidated:
            raise StoreAway.because(error) from error
        if not self._backend.is_open(conn):
            raise _TransactionLost(error) from error


@contextlib.contextmanager
def _savepoint(conn: Connection) -> Iterator[None]:
    """As Connection.begin_nested, which costs as much as the change itself.

    What cannot be rolled back is gone with its transaction: the caller looks at that.
    """
    conn.exec_driver_sql("SAVEPOINT farm_change")
    try:
        yield
    except Exception:
        with contextlib.suppress(SQLAlchemyError):
            conn.exec_driver_sql("ROLLBACK TO SAVEPOINT farm_change")
        raise
    conn.exec_driver_sql("RELEASE SAVEPOINT farm_change")


@dataclass
class _Group:
    """Changes that are committed together, and what came of them."""

    each: list[Change]
    changes: list[tuple[together.Run, together.Told]] = field(init=False)  # those of a kind as one
    outcomes: list[Callable[[], None]] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    # The transaction whose COMMIT was sent; what is still here afterwards was not answered.
    sent: str | None = None

    def __post_init__(self) -> None:
        self.changes = together.join(self.each)


class _TransactionLost(Exception):
    """The database rolled the whole transaction back, as SQLite does on a full disk."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextlib.contextmanager
def away_told(backend: Backend) -> Iterator[None]:
    """Raises StoreAway for errors that say that the database cannot be reached."""
    try:
        yield
    except Exception as error:
        if backend.is_away(error):
            raise StoreAway.because(error) from error
        raise
