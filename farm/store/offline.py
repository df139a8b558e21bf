"""Changes of a farm's database by somebody else than a gateway."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import URL

from farm.store import tokens
from farm.store.migrate import migrate
from farm.store.postgres import Postgres
from farm.store.sqlite import Sqlite
from farm.store.store import lock_folder
from farm.store.tokens import NewToken, Token, WaysIn
from farm.store.writer import away_told


def create_token(
    folder: Path, database_url: URL | None, new: NewToken, now_s: float, ways_in: WaysIn
) -> Token:
    """Keeps a token in the database, which is made where there is none.

    Gateways on a PostgreSQL hear of it at once. Raises StoreLocked where a gateway has the SQLite
    file, StoreAway, StoreTooNew, and NoOperatorToken.
    """
    with ExitStack() as undo:
        if database_url is None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            undo.callback(os.close, lock_folder(folder))
        backend = Sqlite(folder / "farm.db") if database_url is None else Postgres(database_url)
        with away_told(backend):
            migrate(backend)
            engine = backend.writer()
            undo.callback(engine.dispose)
            with engine.begin() as conn:
                backend.lock(conn)
                made = tokens.create(conn, new, now_s, ways_in)
                backend.announce(conn, "offline", [tokens.TOKENS])
    return made
