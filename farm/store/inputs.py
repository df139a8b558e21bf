"""What jobs refer to: uploaded images, and the models that workers serve."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, update

from farm.jobs.params import ModelInfo
from farm.store import schema
from farm.store.errors import NotFound
from farm.store.records import Image


def put_image(conn: Connection, image: Image, now_s: float) -> None:
    """Records an uploaded image; one that is known was asked for."""
    if not want_image(conn, image.sha256, now_s):
        conn.execute(
            insert(schema.image).values(
                sha256=image.sha256,
                size_bytes=image.size_bytes,
                width_px=image.width_px,
                height_px=image.height_px,
                create_time_s=now_s,
            )
        )


def want_image(conn: Connection, sha256: str, now_s: float) -> bool:
    """Notes that somebody asked for an image, as before a job; False: it is not here."""
    table = schema.image
    wanted = update(table).where(table.c.sha256 == sha256).values(want_time_s=now_s)
    return bool(conn.execute(wanted).rowcount)


def is_wanted_since(conn: Connection, sha256: str, since_s: float) -> bool:
    """Whether an image was uploaded or asked for since then, as far as it was noted."""
    table = schema.image
    wanted_s = func.coalesce(table.c.want_time_s, table.c.create_time_s)
    query = select(table.c.sha256).where(table.c.sha256 == sha256, wanted_s >= since_s)
    return conn.execute(query).one_or_none() is not None


def get_image(conn: Connection, sha256: str) -> Image:
    """One image. Raises NotFound."""
    table = schema.image
    row = conn.execute(select(table).where(table.c.sha256 == sha256)).one_or_none()
    if row is None:
        raise NotFound("image", f"images/{sha256}")
    return Image(row.sha256, row.size_bytes, row.width_px, row.height_px)


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
