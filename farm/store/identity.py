"""Keeps a database and the images and videos of another farm apart; see docs/decisions/0019.

To a database that is not theirs all files are strays, which a prune deletes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from farm.store import schema
from farm.store.blobs import FARM_ID, Blobs
from farm.store.database import Database
from farm.store.errors import ArtifactsForeign
from farm.store.records import image_key

_SAMPLE = 20  # images: any, as they are named by their hashes


def check(database: Database, blobs: Blobs) -> None:
    """Compares the farm's id in the database with that beside the files; raises ArtifactsForeign.

    The first time, the database's is written there, if both are empty. Where only one has an id
    that counts, as the other is from before there were ids, most of what is named must be there.
    """
    farm = database.submit(_read).result()
    if farm.bound and blobs.farm_id() == farm.id:
        return
    images = database.submit(_some_images).result()
    known = sum(map(blobs.has, images)) * 2 > len(images)
    empty = not images and not blobs.is_used()
    database.submit(_bind, blobs, known=known, empty=empty).result()


def _bind(conn: Connection, blobs: Blobs, *, known: bool, empty: bool) -> None:
    # Under the writers' lock: of gateways that start at once with files in two places, one does.
    farm = _read(conn)
    found = blobs.farm_id()
    if found is None and (known or (empty and not farm.bound)):
        found = blobs.claim(farm.id)
    agreed = found == farm.id or (known and not farm.bound)
    if found is None or not agreed:
        raise ArtifactsForeign(_told(farm, blobs, found))
    conn.execute(update(schema.farm).values(id=found, bound=True))


def _read(conn: Connection) -> Row[Any, Any]:
    farm = schema.farm
    found: Row[Any, Any] = conn.execute(select(farm.c.id, farm.c.bound)).one()
    return found


def _some_images(conn: Connection) -> Sequence[str]:
    image = schema.image
    query = select(image.c.sha256).order_by(image.c.sha256).limit(_SAMPLE)
    return [image_key(sha256) for sha256 in conn.execute(query).scalars()]


def _told(farm: Row[Any, Any], blobs: Blobs, found: str | None) -> str:
    if found is not None:
        differs = f"{blobs} belongs to farm {found}, the database to farm {farm.id}"
    elif farm.bound:
        differs = (
            f"the database is that of farm {farm.id}, whose images and videos are elsewhere: "
            f"{blobs} has no {FARM_ID}"
        )
    else:
        differs = f"{blobs} and the database know nothing of each other, and one of them is in use"
    return (
        f"{differs}. Give --database the database of these files, or --data (with a bucket: "
        "--artifacts) the place that every gateway of this database uses. If they do belong "
        f"together, write {farm.id} into {FARM_ID} there; files that the database does not name "
        "can then be pruned"
    )
