"""`farm backup`: a data folder copied while its gateway runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.exits import CommandFailed
from farm.cli.server_options import Data
from farm.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(backup)


def backup(
    to: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A new folder, or an earlier backup, which is brought up to date."
        ),
    ],
    data: Data = None,
) -> None:
    """Back up a farm on SQLite, on its own machine, while it runs: database, images and videos.

    A backup is a data folder: `farm gateway --data` of a copy of it restores it.
    """
    from farm.cli.server import data_folder
    from farm.store.backup import BackupRefused, back_up

    settings = Settings.load()
    if settings.find("database", None):
        raise CommandFailed(
            "FARM_DATABASE names a PostgreSQL: pg_dump backs it up, as docs/OPERATIONS.md says"
        )
    folder = data_folder(settings, data)
    try:
        made = back_up(folder, to)
    except BackupRefused as error:
        raise CommandFailed(str(error)) from error
    except sqlite3.Error as error:
        raise CommandFailed(f"the database of {folder} cannot be copied: {error}") from error
    print(  # noqa: T201
        f"{to}: a database of {made.database_bytes} bytes, {made.file_count} images and videos, "
        f"{made.new_file_count} of them new"
    )
    if bucket := settings.find("artifacts", None):
        print(f"images and videos of {bucket} are not in it: back up the bucket")  # noqa: T201
