"""What differs between the databases, as one interface; all else in the store is one code path."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeAlias

import psycopg
from sqlalchemy import Connection, Engine

from farm.store.clock import Clock

Connect: TypeAlias = Callable[[], psycopg.Connection[Any]]


class Backend(Protocol):
    """A kind of database, and where it is. See `Sqlite` and `Postgres`."""

    def clock(self) -> Clock:
        """The clocks that leases and people go by."""
        ...

    def writer(self) -> Engine:
        """One connection, each of whose transactions sees what was committed when it got its lock.

        What it commits survives a power cut.
        """
        ...

    def reader(self, connection_count: int) -> Engine:
        """Connections that change nothing, each of whose transactions sees one snapshot."""
        ...

    def listener(self) -> Connect | None:
        """Makes connections that hear what `announce` says; None where nobody else can write."""
        ...

    def lock(self, conn: Connection) -> str | None:
        """Waits until this transaction is the only one of the farm that writes, and keeps it so.

        Called first in every writing transaction, migrations included. Returns the name by which
        `committed` knows the transaction; None where a commit's outcome is always heard.
        """
        ...

    def committed(self, conn: Connection, transaction: str) -> bool:
        """Whether a transaction, whose connection was lost, was committed. Asked under `lock`."""
        ...

    def arrive(self, conn: Connection) -> bool:
        """Notes that this gateway is here until `conn` is closed; True: no other one is here.

        Called under `lock`, once on each new connection of the writer.
        """
        ...

    def announce(self, conn: Connection, sender: str, jobs: Collection[str]) -> None:
        """Tells every listener, if this transaction is committed, which jobs it changed."""
        ...

    def is_open(self, conn: Connection) -> bool:
        """Whether the transaction goes on after an error; its savepoints undo what failed."""
        ...

    def is_away(self, error: BaseException) -> bool:
        """Whether `error` says that the database cannot be reached now, but may be later."""
        ...
