"""Brings the tables up to date with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from farm.store.errors import StoreTooNew


def migrate(engine: Engine) -> None:
    """Upgrades the database to this version's tables.

    Raises StoreTooNew where a newer version of the farm has upgraded it already.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.begin() as conn:
        current = MigrationContext.configure(conn).get_current_revision()
        if current is not None and current not in known:
            raise StoreTooNew(
                f"the database is at revision {current}, which this version of the farm does not "
                "know: start the version that made it, or restore a backup from before"
            )
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
