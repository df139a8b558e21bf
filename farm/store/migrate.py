"""Brings the tables up to date with Alembic.

A migration only adds (expand): the version before it goes on beside the new one, on the new tables.
What nothing uses any more is dropped one version later (contract), by a migration that raises
`schema.compatibility`: the oldest revision whose farm may still use the database.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select

from farm.store import schema
from farm.store.backend import Backend
from farm.store.errors import StoreTooNew


def migrate(backend: Backend) -> None:
    """Upgrades the database to this version's tables; one gateway at a time does.

    Leaves alone what a newer version has upgraded. Raises StoreTooNew where that version says
    that this one cannot use it.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    engine = backend.writer()
    try:
        with engine.begin() as conn:
            backend.lock(conn)
            current = MigrationContext.configure(conn).get_current_revision()
            if current is None or current in known:
                config.attributes["connection"] = conn
                command.upgrade(config, "head")
            else:
                _check_compatible(conn, current, scripts.get_current_head() or "")
    finally:
        engine.dispose()


def _check_compatible(conn: Connection, current: str, own: str) -> None:
    oldest = current
    if inspect(conn).has_table(schema.compatibility.name):
        oldest = conn.execute(select(schema.compatibility.c.oldest_revision)).scalar_one()
    if own < oldest:
        raise StoreTooNew(
            f"the database is at revision {current}, which asks for revision {oldest} or newer; "
            f"this version of the farm has {own}: start a newer version, or restore a backup "
            "from before"
        )
