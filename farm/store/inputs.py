"""What jobs refer to: uploaded images, and the models that workers serve.

An image's bytes are there once; each tenant that uploads them owns them, as if nobody else had.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, insert, select, update

from farm.jobs.access import DEFAULT_TENANT
from farm.jobs.params import ModelInfo
from farm.store import quotas, schema
from farm.store.errors import NotFound
from farm.store.records import Image
from farm.store.scope import owned, owns_image

_PART = 500  # below every database's limit of parameters


def put_image(
    conn: Connection, image: Image, now_s: float, *, tenant: str = DEFAULT_TENANT
) -> None:
    """Records an image that a tenant has uploaded; one that it owns already was asked for.

    Raises QuotaExceeded.
    """
    table = schema.image
    noted = update(table).where(table.c.sha256 == image.sha256).values(want_time_s=now_s)
    if not conn.execute(noted).rowcount:
        conn.execute(
            insert(table).values(
                sha256=image.sha256,
                size_bytes=image.size_bytes,
                width_px=image.width_px,
                height_px=image.height_px,
                create_time_s=now_s,
            )
        )
    owner = schema.image_owner
    own = update(owner).where(owner.c.sha256 == image.sha256, owner.c.tenant == tenant)
    if not conn.execute(own.values(want_time_s=now_s)).rowcount:
        quotas.check_bytes(conn, tenant, image.size_bytes)
        _own(conn, {image.sha256}, tenant, now_s)


def want_image(conn: Connection, sha256: str, now_s: float, *, sees: str | None = None) -> bool:
    """Notes that somebody asked for an image, as before a job; False: it is not here."""
    table, owner = schema.image, schema.image_owner
    wanted = update(table).where(table.c.sha256 == sha256, owns_image(sees))
    if not conn.execute(wanted.values(want_time_s=now_s)).rowcount:
        return False
    owning = owned(update(owner).where(owner.c.sha256 == sha256), owner, sees)
    conn.execute(owning.values(want_time_s=now_s))
    return True


def is_wanted_since(
    conn: Connection, sha256: str, since_s: float, *, sees: str | None = None
) -> bool:
    """Whether an image was uploaded or asked for since then, as far as it was noted."""
    table = schema.image if sees is None else schema.image_owner
    wanted_s = func.coalesce(table.c.want_time_s, table.c.create_time_s)
    query = select(table.c.sha256).where(table.c.sha256 == sha256, wanted_s >= since_s)
    if sees is not None:
        query = owned(query, table, sees)
    return conn.execute(query).one_or_none() is not None


def get_image(conn: Connection, sha256: str, *, sees: str | None = None) -> Image:
    """One image. Raises NotFound."""
    table = schema.image
    query = select(table).where(table.c.sha256 == sha256, owns_image(sees))
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFound("image", f"images/{sha256}")
    return Image(row.sha256, row.size_bytes, row.width_px, row.height_px)


def owns(conn: Connection, sha256: str, tenant: str) -> bool:
    """Whether a tenant has uploaded an image before, and it is here."""
    image = schema.image
    query = select(image.c.sha256).where(image.c.sha256 == sha256, owns_image(tenant))
    return conn.execute(query).one_or_none() is not None


def require_images(
    conn: Connection, wanted: set[str], tenant: str, now_s: float, *, sees: str | None = None
) -> None:
    """Checks the images of a tenant's new job. Raises NotFound.

    What an operator takes of another tenant's is its own tenant's as well from now on.
    """
    missing, names = set(wanted), sorted(wanted)
    for start in range(0, len(names), _PART):
        part = names[start : start + _PART]
        table = schema.image
        found = select(table.c.sha256).where(table.c.sha256.in_(part), owns_image(sees))
        missing -= set(conn.execute(found).scalars())
    if missing:
        raise NotFound("image", f"images/{min(missing)}")
    if sees is None:
        for start in range(0, len(names), _PART):
            _own(conn, names[start : start + _PART], tenant, now_s)


def _own(conn: Connection, sha256s: Collection[str], tenant: str, now_s: float) -> None:
    """Makes a tenant an owner of images that are here."""
    owner = schema.image_owner
    query = select(owner.c.sha256).where(owner.c.sha256.in_(sha256s), owner.c.tenant == tenant)
    new = set(sha256s) - set(conn.execute(query).scalars())
    if new:
        rows = [{"tenant": tenant, "sha256": sha256, "create_time_s": now_s} for sha256 in new]
        conn.execute(insert(owner), rows)


def put_models(conn: Connection, models: list[ModelInfo]) -> None:
    """Remembers what workers serve; the newest word on a name counts."""
    for model in models:
        conn.execute(delete(schema.model).where(schema.model.c.name == model.name))
        conn.execute(
            insert(schema.model).values(
                name=model.name,
                width_px=model.width_px,
                height_px=model.height_px,
                frame_count=model.frame_count,
                step_count=model.step_count,
                identity=model.identity or None,
            )
        )


def list_models(conn: Connection) -> dict[str, ModelInfo]:
    """Every model that a worker of this farm ever served, by name."""
    rows = conn.execute(select(schema.model).order_by(schema.model.c.name))
    return {
        row.name: ModelInfo(
            row.name,
            row.width_px,
            row.height_px,
            row.frame_count,
            row.step_count,
            row.identity or "",
        )
        for row in rows
    }
