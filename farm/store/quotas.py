"""What tenants have taken, and refusals in the transaction that would take more than they may."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Integer,
    and_,
    bindparam,
    case,
    delete,
    func,
    select,
    text,
    true,
)

from farm.jobs.states import ShotState
from farm.jobs.tenants import Limits
from farm.store import schema
from farm.store.errors import QuotaExceeded
from farm.store.room import told as told_bytes
from farm.store.tenants import get

_HOUR_S = 3600.0
_HOURS = 24  # of a rolling day, besides the one that goes on

# Between claim and end by this gateway's clock: no worker has a say in it. Rows of their own, as a
# tenant may delete its jobs.
_ADD_GPU_USE = text(
    "INSERT INTO gpu_use (tenant, hour, gpu_s) "
    "SELECT shot.tenant, :hour, CASE WHEN :end_time_s > attempt.claim_time_s "
    "THEN :end_time_s - attempt.claim_time_s ELSE 0 END "
    "FROM attempt JOIN shot ON shot.job_id = attempt.job_id AND shot.number = attempt.shot_number "
    "WHERE attempt.job_id = :of_job AND attempt.shot_number = :of_shot "
    "AND attempt.number = :of_attempt "
    "ON CONFLICT (tenant, hour) DO UPDATE SET gpu_s = gpu_use.gpu_s + excluded.gpu_s"
)

# How long the shots of a row of `schema.tenant` held workers; statements are made once.
_PRESENT = and_(
    schema.attempt.c.job_id == schema.shot.c.job_id,
    schema.attempt.c.shot_number == schema.shot.c.number,
    schema.attempt.c.number == schema.shot.c.attempt_count,
)
_ENDED_S = (
    select(func.coalesce(func.sum(schema.gpu_use.c.gpu_s), 0.0))
    .where(schema.gpu_use.c.tenant == schema.tenant.c.name)
    .where(schema.gpu_use.c.hour >= bindparam("first_hour", type_=Integer))
    .scalar_subquery()
)
_RENDERING_S = (
    select(
        func.coalesce(
            func.sum(bindparam("now_s", type_=Float) - schema.attempt.c.claim_time_s), 0.0
        )
    )
    .join(schema.shot, _PRESENT)
    .where(schema.shot.c.tenant == schema.tenant.c.name)
    .where(schema.shot.c.state == ShotState.RENDERING)
    .scalar_subquery()
)
_TODAY_S = _ENDED_S + _RENDERING_S
_GPU_S_TODAY = select(_TODAY_S).where(schema.tenant.c.name == bindparam("name"))
# Whether its shots may start; see `at`.
MAY_START = case(
    (schema.tenant.c.max_gpu_s_per_day.is_(None), true()),
    else_=schema.tenant.c.max_gpu_s_per_day > _TODAY_S,
)


@dataclass(frozen=True)
class Usage:
    """What a tenant has taken."""

    queued_shots: int  # those that render included
    stored_bytes: int
    gpu_s_today: float  # of a rolling day; forgotten by the hour


def usage(conn: Connection, tenant: str, now_s: float) -> Usage:
    """What a tenant has taken by now."""
    return Usage(
        _queued_shots(conn, tenant), stored_bytes(conn, tenant), gpu_s_today(conn, tenant, now_s)
    )


def check_new_shots(
    conn: Connection, tenant: str, shot_count: int, now_s: float, *, counted: bool = False
) -> None:
    """Whether a tenant may have so many shots rendered besides those there are.

    With `counted` they are queued already, and what raises takes that back. Raises QuotaExceeded.
    """
    limits = get(conn, tenant).limits
    if not shot_count:
        return
    if limits.max_queued_shots is not None:
        used = _queued_shots(conn, tenant) - shot_count * counted
        if used + shot_count > limits.max_queued_shots:
            raise QuotaExceeded(
                "QUOTA_SHOTS",
                f"tenant {tenant} has {used} shots queued or rendering, and asks for {shot_count}: "
                f"it may have {limits.max_queued_shots}. Wait for some, cancel some, or ask an "
                "operator for more",
                limits.max_queued_shots,
                used,
            )
    _check_bytes(conn, tenant, limits, 1)
    if limits.max_gpu_s_per_day is not None:
        used_s = gpu_s_today(conn, tenant, now_s)
        if used_s >= limits.max_gpu_s_per_day:
            raise QuotaExceeded(
                "QUOTA_GPU_SECONDS",
                f"tenant {tenant} has used {used_s:.0f} s of GPUs within a day: it may use "
                f"{limits.max_gpu_s_per_day:.0f} s. Wait, or ask an operator for more",
                limits.max_gpu_s_per_day,
                used_s,
            )


def check_bytes(conn: Connection, tenant: str, size_bytes: int) -> None:
    """Whether a tenant may store so much more. Raises QuotaExceeded."""
    _check_bytes(conn, tenant, get(conn, tenant).limits, size_bytes)


def _check_bytes(conn: Connection, tenant: str, limits: Limits, size_bytes: int) -> None:
    limit = limits.max_stored_bytes
    if limit is None:
        return
    used = stored_bytes(conn, tenant)
    if used + size_bytes > limit:
        raise QuotaExceeded(
            "QUOTA_BYTES",
            f"tenant {tenant} has stored {told_bytes(used)} of images and videos: it may store "
            f"{told_bytes(limit)}. Delete old jobs, or ask an operator for more",
            limit,
            used,
        )


def stored_bytes(conn: Connection, tenant: str) -> int:
    """What a tenant's videos and images take; a file that several of its shots share, once."""
    shot, image, owner = schema.shot, schema.image, schema.image_owner
    videos = (
        select(shot.c.video_key, shot.c.video_size_bytes)
        .where(shot.c.tenant == tenant, shot.c.video_key.is_not(None))
        .distinct()
        .subquery()
    )
    images = (
        select(func.coalesce(func.sum(image.c.size_bytes), 0))
        .join(owner, owner.c.sha256 == image.c.sha256)
        .where(owner.c.tenant == tenant)
    )
    of_videos = select(func.coalesce(func.sum(videos.c.video_size_bytes), 0))
    return int(conn.execute(of_videos).scalar_one()) + int(conn.execute(images).scalar_one())


def gpu_s_today(conn: Connection, tenant: str, now_s: float) -> float:
    """How long a tenant's shots held workers within a day, those that render now included."""
    given = {"name": tenant, **at(now_s)}
    found: float = conn.execute(_GPU_S_TODAY, given).scalar_one()
    return found


def gpu_notice(conn: Connection, tenant: str, now_s: float) -> str:
    """Why no shot of a tenant starts just now, or ""."""
    limit_s = get(conn, tenant).limits.max_gpu_s_per_day
    if limit_s is None or (used_s := gpu_s_today(conn, tenant, now_s)) < limit_s:
        return ""
    return (
        f"tenant {tenant} has used {used_s:.0f} s of GPUs within a day, and may use {limit_s:.0f} s"
    )


def at(now_s: float) -> dict[str, float]:
    """The parameters of `MAY_START`."""
    return {"now_s": now_s, "first_hour": first_hour(now_s)}


def add_gpu_use(conn: Connection, ended: Sequence[Mapping[str, Any]]) -> None:
    """Notes how long attempts that end have held their workers.

    Each has `of_job`, `of_shot`, `of_attempt` and `end_time_s`.
    """
    given = [{**each, "hour": int(each["end_time_s"] // _HOUR_S)} for each in ended]
    conn.execute(_ADD_GPU_USE, given)


def forget_gpu_use(conn: Connection, now_s: float) -> None:
    """Drops what counts for nothing any more."""
    use = schema.gpu_use
    conn.execute(delete(use).where(use.c.hour < first_hour(now_s)))


def first_hour(now_s: float) -> int:
    """The first that counts for the rolling day."""
    return int(now_s // _HOUR_S) - _HOURS


def _queued_shots(conn: Connection, tenant: str) -> int:
    shot = schema.shot
    states: Collection[str] = (ShotState.QUEUED, ShotState.RENDERING)
    query = select(func.count()).where(shot.c.tenant == tenant, shot.c.state.in_(states))
    return int(conn.execute(query).scalar_one())
