"""A farm's first token, made without a gateway: one that other machines reach starts with it."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from farm.cli.exits import CommandFailed
from farm.cli.server import data_folder
from farm.gateway.token_service import new_token
from farm.gateway.wall import Refusal
from farm.jobs.token_text import TokenText
from farm.settings import Settings
from farm.store import offline
from farm.store.errors import StoreError, StoreLocked
from farm.store.postgres import read_url
from farm.store.tokens import WaysIn
from svdfarm import NewToken, Token


def create_token(
    name: str,
    scopes: list[str],
    tenant: str,
    ttl_s: float | None,
    data: Path | None,
    database: str | None,
) -> NewToken:
    """As `Client.create_token`, in the database that flags, variables or farm.toml name.

    Raises CommandFailed.
    """
    settings = Settings.load()
    given_url = settings.find("database", database)
    folder = data_folder(settings, data)
    ways_in = WaysIn()  # a client's FARM_TOKEN may stand here: no gateway is known to have it
    text, now_s = TokenText.make(), time.time()
    try:
        url = read_url(given_url) if given_url else None
        is_new = url is None and not (folder / "farm.db").exists()
        new = new_token(text, name, tenant, scopes, ttl_s, now_s)
        made = offline.create_token(folder, url, new, now_s, ways_in)
    except Refusal as error:
        raise CommandFailed(error.message) from error
    except StoreLocked as error:
        raise CommandFailed(f"a gateway is using {folder}: ask it, without --offline") from error
    except StoreError as error:
        raise CommandFailed(str(error)) from error
    if is_new:  # which a folder that was mistyped is, too
        print(f"a new farm was made in {folder.resolve()}", file=sys.stderr)  # noqa: T201
    expire_time = None if ttl_s is None else datetime.fromtimestamp(now_s + ttl_s, UTC)
    kept = Token(
        name=f"tokens/{made.id}",
        display_name=made.display_name,
        tenant=made.tenant,
        scopes=tuple(sorted(made.scopes)),
        create_time=datetime.fromtimestamp(now_s, UTC),
        expire_time=expire_time,
        revoke_time=None,
        use_time=None,
    )
    return NewToken(kept, str(text))
