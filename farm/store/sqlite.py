"""A SQLite file, for a farm of one gateway; the store's folder lock keeps others out."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from farm.store.backend import Connect
from farm.store.clock import Clock

_BUSY_TIMEOUT_MS = 10_000


class Sqlite:
    """WAL, synchronous=FULL, and BEGIN IMMEDIATE, which is the lock of the only writer."""

    def __init__(self, path: Path) -> None:
        self._url = f"sqlite:///{path}"

    def clock(self) -> Clock:
        """The gateway's own: it is the only one."""
        return Clock()

    def writer(self) -> Engine:
        """See `Backend`."""
        return self._engine("BEGIN IMMEDIATE", 1)

    def reader(self, connection_count: int) -> Engine:
        """See `Backend`."""
        return self._engine("BEGIN", connection_count, read_only=True)

    def listener(self) -> Connect | None:
        """See `Backend`."""
        return None

    def lock(self, conn: Connection) -> str | None:
        """Nothing to do: BEGIN IMMEDIATE has it."""
        return None

    def committed(self, conn: Connection, transaction: str) -> bool:
        """Never asked, as `lock` names no transaction: COMMIT always answers here."""
        raise AssertionError(transaction)

    def arrive(self, conn: Connection) -> bool:
        """See `Backend`."""
        return True

    def announce(self, conn: Connection, sender: str, jobs: Collection[str]) -> None:
        """Nobody else listens."""

    def is_open(self, conn: Connection) -> bool:
        """SQLite rolls the whole transaction back on a full disk or an I/O error."""
        raw: Any = conn.connection.driver_connection
        return bool(raw.in_transaction)

    def is_away(self, error: BaseException) -> bool:
        """A file is there or not."""
        return False

    def _engine(self, begin: str, connection_count: int, *, read_only: bool = False) -> Engine:
        engine = create_engine(self._url, pool_size=connection_count, max_overflow=0)

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

        return engine
