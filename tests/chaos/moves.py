"""Every move of every shot, noted by the database itself: the farm's own code has no part in it.

A trigger writes each change of a shot's state, in the transaction that makes it, into a table that
outlives the shot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection, create_engine, text

_COLUMNS = "at, job_id, number, attempt, before, after, worker, sha256, render_s, reason"
_MOVED = (
    "job_id, NEW.number, NEW.attempt_count, OLD.state, NEW.state, NEW.worker, NEW.video_sha256, "
    "NEW.render_duration_s, NEW.error_reason"
)
_GONE = (
    "job_id, OLD.number, OLD.attempt_count, OLD.state, 'DELETED', OLD.worker, OLD.video_sha256, "
    "NULL, NULL"
)
_TABLE = (
    "CREATE TABLE chaos_move (seq {serial}, at DOUBLE PRECISION, job_id TEXT, number INTEGER, "
    "attempt INTEGER, before TEXT, after TEXT, worker TEXT, sha256 TEXT, "
    "render_s DOUBLE PRECISION, reason TEXT)"
)
_SQLITE_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_SQLITE = [_TABLE.format(serial="INTEGER PRIMARY KEY AUTOINCREMENT")]
_SQLITE += [
    f"CREATE TRIGGER chaos_{name} AFTER {what} ON shot {when} "
    f"BEGIN INSERT INTO chaos_move ({_COLUMNS}) VALUES ({_SQLITE_NOW}, {row}); END"
    for name, what, when, row in (
        (
            "moved",
            "UPDATE",
            "WHEN OLD.state IS NOT NEW.state OR OLD.video_key IS NOT NEW.video_key",
            f"NEW.{_MOVED}",
        ),
        ("gone", "DELETE", "", f"OLD.{_GONE}"),
    )
]
_PG_NOW = "extract(epoch FROM clock_timestamp())::float8"
_PG_NOTE = f"""
    CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO chaos_move ({_COLUMNS}) VALUES ({_PG_NOW}, OLD.{_GONE});
        ELSIF (OLD.state, OLD.video_key) IS DISTINCT FROM (NEW.state, NEW.video_key) THEN
            INSERT INTO chaos_move ({_COLUMNS}) VALUES ({_PG_NOW}, NEW.{_MOVED});
        END IF;
        RETURN NULL;
    END $$"""
_POSTGRES = [_TABLE.format(serial="BIGSERIAL PRIMARY KEY"), _PG_NOTE]
_POSTGRES.append(
    "CREATE TRIGGER chaos_noted AFTER UPDATE OR DELETE ON shot "
    "FOR EACH ROW EXECUTE FUNCTION chaos_note()"
)


@dataclass(frozen=True)
class Move:
    """A shot went from one state to another; DELETED is after the last."""

    at: float
    job_id: str
    number: int
    attempt: int
    before: str
    after: str
    worker: str | None
    sha256: str | None
    render_s: float | None
    reason: str | None

    @property
    def shot(self) -> tuple[str, int]:
        """Whose move it is."""
        return self.job_id, self.number


def watch(url: URL) -> None:
    """Has the database note every move from now on."""
    with create_engine(url).begin() as conn:
        for statement in _SQLITE if conn.dialect.name == "sqlite" else _POSTGRES:
            conn.exec_driver_sql(statement)


def read(conn: Connection) -> list[Move]:
    """Every move, in the order of the commits."""
    rows: Any = conn.execute(text(f"SELECT {_COLUMNS} FROM chaos_move ORDER BY seq"))
    return [Move(**row) for row in rows.mappings()]
