"""A PostgreSQL database (13 or later), which several gateways may share.

All of them write under one advisory lock, one transaction at a time, as SQLite's writers do. So
the numbers of the change log are committed in their order, no two transactions can deadlock, and
what holds for one gateway holds for many. Group commit shares the cost of the lock as of the fsync.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    Float,
    create_engine,
    event,
    literal_column,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from farm.store.backend import Connect
from farm.store.clock import Clock
from farm.store.errors import DatabaseUrlInvalid

CHANNEL = "svdfarm_changes"
_WRITE_LOCK = 0x737664_01  # "svd" 1
_PRESENCE_LOCK = 0x737664_02
_NAMES_PER_MESSAGE = 200  # NOTIFY carries at most 8000 bytes
# A gateway that freezes within a transaction holds every other one up for this long at most.
_IDLE_LIMIT_S = 5
# A peer that vanished without a word is noticed in 25 s; a URL may say otherwise.
_CONNECT = {
    "application_name": "svdfarm",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
# Of a connection that the server closes: 08 connection exception, 57P0x shutting down or starting,
# 25P03 idle for too long within a transaction. Without one: the server was not reached at all.
# 25006 read-only: what was the primary before a failover.
_READ_ONLY = "25006"
_AWAY_SQLSTATES = ("08", "57P0", "25P03", _READ_ONLY)


def read_url(given: str) -> URL:
    """A database URL as the farm opens it. Raises DatabaseUrlInvalid; never tells a password."""
    allowed = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise DatabaseUrlInvalid(f"the database's URL cannot be read; write {allowed}") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise DatabaseUrlInvalid(
            f"the database's URL begins with {url.drivername}://; allowed: {allowed}. Without "
            "one the farm keeps a SQLite file in its data folder"
        )
    if not url.database:
        raise DatabaseUrlInvalid(f"the database's URL names no database; write {allowed}")
    try:
        make_conninfo(**{k: v for k, v in url.query.items() if isinstance(v, str)})
    except psycopg.ProgrammingError as error:
        raise DatabaseUrlInvalid(f"the database's URL has an {error}") from None
    return url.set(drivername="postgresql+psycopg")


class Postgres:
    """A database of its own for one farm. Connect straight to it, or through a pool of sessions."""

    def __init__(self, url: URL, *, idle_limit_s: int = _IDLE_LIMIT_S) -> None:
        self._idle_limit_s = idle_limit_s
        missing = {key: value for key, value in _CONNECT.items() if key not in url.query}
        self._url = url.update_query_dict(missing)

    def clock(self) -> Clock:
        """Leases go by the database's clock: every gateway has the same."""
        now = literal_column("extract(epoch FROM clock_timestamp())::float8", Float)
        return Clock(steady_s=lambda: now)

    def writer(self) -> Engine:
        """See `Backend`."""
        # A statement of READ COMMITTED sees what was committed before it: the first one only waits
        # for the lock, so all others see everything that is behind it.
        return self._engine(1, psycopg.IsolationLevel.READ_COMMITTED)

    def reader(self, connection_count: int) -> Engine:
        """See `Backend`."""
        return self._engine(
            connection_count, psycopg.IsolationLevel.REPEATABLE_READ, read_only=True
        )

    def listener(self) -> Connect | None:
        """See `Backend`."""
        where, options = self._url.get_dialect()().create_connect_args(self._url)

        def connect() -> psycopg.Connection[Any]:
            connection = psycopg.connect(*where, **options, autocommit=True)
            connection.execute(f"LISTEN {CHANNEL}")
            return connection

        return connect

    def lock(self, conn: Connection) -> str | None:
        """See `Backend`; the name is the transaction's id, which outlives its connection."""
        query = text("SELECT pg_current_xact_id()::text, pg_advisory_xact_lock(:lock)")
        name: str = conn.execute(query, {"lock": _WRITE_LOCK}).one()[0]
        return name

    def committed(self, conn: Connection, transaction: str) -> bool:
        """See `Backend`. It held the lock until its end, so that it cannot be in progress."""
        query = text("SELECT pg_xact_status(CAST(:transaction AS xid8))")
        return bool(conn.execute(query, {"transaction": transaction}).scalar() == "committed")

    def arrive(self, conn: Connection) -> bool:
        """See `Backend`. Every gateway holds the lock of presence together with the others."""
        lock = {"lock": _PRESENCE_LOCK}
        alone = conn.execute(text("SELECT pg_try_advisory_lock(:lock)"), lock).scalar_one()
        conn.execute(text("SELECT pg_advisory_lock_shared(:lock)"), lock)
        if alone:
            conn.execute(text("SELECT pg_advisory_unlock(:lock)"), lock)
        return bool(alone)

    def announce(self, conn: Connection, sender: str, jobs: Collection[str]) -> None:
        """See `Backend`."""
        names = sorted(jobs)
        query = text("SELECT pg_notify(:channel, :message)")
        for start in range(0, len(names), _NAMES_PER_MESSAGE):
            message = " ".join([sender, *names[start : start + _NAMES_PER_MESSAGE]])
            conn.execute(query, {"channel": CHANNEL, "message": message})

    def is_open(self, conn: Connection) -> bool:
        """See `Backend`. An error is undone by its savepoint, however bad."""
        return not conn.invalidated

    def is_away(self, error: BaseException) -> bool:
        """See `Backend`."""
        if isinstance(error, DBAPIError):
            if error.connection_invalidated:
                return True
            error = error.orig or error
        if not isinstance(error, psycopg.Error):
            return False
        if error.sqlstate is None:
            return isinstance(error, psycopg.OperationalError)
        return error.sqlstate.startswith(_AWAY_SQLSTATES)

    def _engine(
        self, connection_count: int, isolation: psycopg.IsolationLevel, *, read_only: bool = False
    ) -> Engine:
        engine = create_engine(self._url, pool_size=connection_count, max_overflow=0)

        @event.listens_for(engine, "connect")
        def connect(connection: psycopg.Connection[Any], _: object) -> None:
            connection.execute(f"SET idle_in_transaction_session_timeout = '{self._idle_limit_s}s'")
            # A server that is set to lose what it acknowledged is not followed in that.
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') = 'off'"
            )
            connection.commit()
            connection.isolation_level = isolation
            # None is the server's own way: a standby refuses BEGIN READ WRITE as unsupported.
            connection.read_only = read_only or None

        @event.listens_for(engine, "handle_error")
        def leave(context: ExceptionContext) -> None:
            # The next connection may get to the primary.
            if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
                context.is_disconnect = True

        return engine
