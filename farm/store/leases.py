"""Leases: start, renew, settle, take back.

An attempt is (shot, attempt, token). Every report about it is one update guarded by all three
and by the state; a report that meets no row comes from a worker that lost its lease before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    func,
    select,
    update,
)

from farm.jobs.retry import CHARGED, History, MemoryProfile, Reason, judge
from farm.jobs.states import ShotEvent, ShotState, Wish, follow
from farm.store import cordons, quotas, schema
from farm.store.clock import Instant
from farm.store.moves import Move, move
from farm.store.records import HeldLease, Lease, ShotKey, Video, lease_of, storable
from farm.store.together import made_by

# Made once: these are what a shot's life consists of.
_SUCCEED = Move(
    ShotState.RENDERING,
    ShotEvent.SUCCEED,
    schema.shot.c.attempt_count == bindparam("if_attempt"),
    schema.shot.c.token == bindparam("if_token"),
    lease_expiry_s=None,
    # With less memory it was computed in another way than its model says.
    cache_key=case(
        (func.coalesce(schema.shot.c.memory_profile, 0) == 0, bindparam("key_as_started"))
    ),
)
_START_ATTEMPT = (
    update(schema.attempt)
    .where(
        schema.attempt.c.job_id == bindparam("of_job"),
        schema.attempt.c.shot_number == bindparam("of_shot"),
        schema.attempt.c.number == bindparam("of_attempt"),
        schema.attempt.c.start_time_s.is_(None),
        # What was lost was judged as it was known to be; a late word would undo its count.
        schema.attempt.c.outcome.is_(None),
    )
    .values(start_time_s=bindparam("now_s"))
)
# What its owner wants of a shot that renders.
_WISH = func.coalesce(schema.shot.c.wish, schema.job.c.wish).label("wish")
_END_ATTEMPT = update(schema.attempt).where(
    schema.attempt.c.job_id == bindparam("of_job"),
    schema.attempt.c.shot_number == bindparam("of_shot"),
    schema.attempt.c.number == bindparam("of_attempt"),
)


def start_all(conn: Connection, begun: Sequence[tuple[Lease, float]]) -> Sequence[None]:
    """Notes that workers have begun, each at its time: from now on a lost attempt is charged."""
    conn.execute(_START_ATTEMPT, [{**_named(lease), "now_s": now_s} for lease, now_s in begun])
    return [None] * len(begun)


@made_by(start_all)
def start(conn: Connection, lease: Lease, now_s: float) -> None:
    """As `start_all`, for one."""
    start_all(conn, [(lease, now_s)])


def renew(
    conn: Connection, workers: Collection[str], tokens: Collection[str], expiry_s: Instant
) -> set[str]:
    """Extends those leases of these workers; returns the tokens of those that they still hold."""
    shot = schema.shot
    renewed = conn.execute(
        update(shot)
        .where(shot.c.worker.in_(workers), shot.c.state == ShotState.RENDERING)
        .where(shot.c.token.in_(tokens))
        .values(lease_expiry_s=expiry_s)
        .returning(shot.c.token)
    )
    return set(renewed.scalars())


def renew_all(conn: Connection, expiry_s: Instant) -> int:
    """Extends every lease there is: a gateway that starts waits one lease for its workers."""
    shot = schema.shot
    renewed = conn.execute(
        update(shot).where(shot.c.state == ShotState.RENDERING).values(lease_expiry_s=expiry_s)
    )
    return renewed.rowcount


def adopt(
    conn: Connection, lease: Lease, worker: str, expiry_s: Instant, gateway: str | None = None
) -> bool:
    """Renews one lease that a worker brings into a new session, at `gateway` from now on.

    False where the worker is to let go: the lease was lost, or the shot is being cancelled.
    """
    shot = schema.shot
    renewed = conn.execute(
        update(shot)
        .where(shot.c.state == ShotState.RENDERING, *_holds(lease), shot.c.worker == worker)
        .values(lease_expiry_s=expiry_s, gateway=gateway)
    )
    return bool(renewed.rowcount) and conn.execute(_wish(lease)).scalar() != Wish.CANCEL


@dataclass(frozen=True)
class Ending:
    """An attempt that has ended with a video, which is published.

    Shots of the same `cache_key` share the video from now on; with None nobody does, nor where it
    was rendered with less memory. `log` is what its worker logged.
    """

    lease: Lease
    video: Video
    render_duration_s: float
    time_s: float
    cache_key: str | None = None
    log: str | None = None


def succeed_all(conn: Connection, endings: Sequence[Ending]) -> list[bool]:
    """Records published videos and ends their shots. False: refused, the lease was lost.

    The same report again, as after a lost reply, is accepted again and changes nothing.
    """
    first: dict[ShotKey, Ending] = {}
    for ending in endings:
        first.setdefault(ending.lease.shot, ending)
    now_s = max(ending.time_s for ending in endings)
    moved = _SUCCEED.make_many(conn, {key: _recorded(e) for key, e in first.items()}, now_s)
    ended = [ending for key, ending in first.items() if key in moved]
    _end_attempts(conn, [_ended(e.lease, ShotState.SUCCEEDED, e.time_s, log=e.log) for e in ended])
    for lease in (ending.lease for ending in ended if ending.lease.attempt > 1):
        winner = select(schema.attempt.c.worker).where(*_is_attempt(lease))
        cordons.look_at_losers(conn, lease.shot, conn.execute(winner).scalar_one())
    # Another one of the same shot finds it as the first one left it.
    later = [ending for ending in endings if first[ending.lease.shot] is not ending]
    accepted = iter(succeed_all(conn, later)) if later else iter(())
    return [
        next(accepted)
        if first[ending.lease.shot] is not ending
        else ending.lease.shot in moved or has_succeeded(conn, ending.lease, ending.video.sha256)
        for ending in endings
    ]


def succeed(
    conn: Connection,
    lease: Lease,
    video: Video,
    render_duration_s: float,
    now_s: float,
    *,
    cache_key: str | None = None,
    log: str | None = None,
) -> bool:
    """As `succeed_all`, for one."""
    return succeed_all(conn, [Ending(lease, video, render_duration_s, now_s, cache_key, log)])[0]


def _recorded(ending: Ending) -> dict[str, Any]:
    lease, video = ending.lease, ending.video
    return {
        "if_attempt": lease.attempt,
        "if_token": lease.token,
        "render_duration_s": ending.render_duration_s,
        "video_key": video.key,
        "video_sha256": video.sha256,
        "video_size_bytes": video.size_bytes,
        "video_frame_count": video.frame_count,
        "key_as_started": ending.cache_key,
    }


def has_succeeded(conn: Connection, lease: Lease, sha256: str) -> bool:
    """Whether an attempt has ended its shot with this video."""
    shot = schema.shot
    same = conn.execute(
        select(shot.c.number).where(
            shot.c.state == ShotState.SUCCEEDED, shot.c.video_sha256 == sha256, *_holds(lease)
        )
    ).one_or_none()
    return same is not None


def fail(
    conn: Connection,
    lease: Lease,
    reason: Reason,
    message: str,
    now_s: float,
    *,
    gateway: str | None = None,
    log: str | None = None,
) -> ShotState | None:
    """Ends an attempt without a video: the retry rule says whether the shot goes on.

    A shot whose cancellation was asked for, or that of its job, ends CANCELLED instead of being
    queued again. With `gateway`, only if no other one has adopted the lease. Returns the shot's
    state from now on; None: refused, the lease was lost.
    """
    shot, job = schema.shot, schema.job
    holds = _holds(lease)
    if gateway is not None:
        holds = (*holds, shot.c.gateway == gateway)
    row = conn.execute(
        select(shot.c.charged_attempt_count, shot.c.memory_profile, _WISH)
        .join(job, job.c.id == shot.c.job_id)
        .where(shot.c.state == ShotState.RENDERING, *holds)
    ).one_or_none()
    if row is None:
        return None
    memory = MemoryProfile(row.memory_profile or 0)
    started, unstarted_count = _beginnings(conn, lease)
    alike = _are_alike(conn, lease, reason, row.charged_attempt_count - 1)
    history = History(row.charged_attempt_count, alike, started, unstarted_count, memory)
    verdict = judge(reason, history)
    event = verdict.event
    values: dict[str, Any] = {"lease_expiry_s": None, "memory_profile": verdict.memory}
    if not verdict.charged:
        values["charged_attempt_count"] = shot.c.charged_attempt_count - 1
    if event is ShotEvent.RETRY and row.wish == Wish.CANCEL:
        event = ShotEvent.CANCEL
    if event is ShotEvent.FAIL:
        values |= {"error_reason": verdict.reason, "error_message": storable(message)}
    if event is ShotEvent.RETRY:
        values["queue_time_s"] = now_s
    if not move(conn, lease.shot, ShotState.RENDERING, event, *holds, now_s=now_s, **values):
        return None
    _end_attempt(conn, lease, reason, now_s, storable(message), log)
    return follow(ShotState.RENDERING, event)


def release(
    conn: Connection, lease: Lease, now_s: float, *, log: str | None = None
) -> ShotState | None:
    """Ends a cancelled shot whose device has let go; returns its state, None as in `fail`.

    A worker that lets go of a shot that nobody cancelled hands it back.
    """
    if conn.execute(_wish(lease)).scalar() != Wish.CANCEL:
        told = "the worker let go of it"
        return fail(conn, lease, Reason.WORKER_DRAINED, told, now_s, log=log)
    moved = move(
        conn,
        lease.shot,
        ShotState.RENDERING,
        ShotEvent.CANCEL,
        *_holds(lease),
        now_s=now_s,
        lease_expiry_s=None,
    )
    if not moved:
        return None
    _end_attempt(conn, lease, ShotState.CANCELLED, now_s, log=log)
    return ShotState.CANCELLED


def held_by(conn: Connection, worker: str) -> list[Lease]:
    """The leases that a worker holds."""
    return [h.lease for h in _held(conn, schema.shot.c.worker == worker)]


def wishes(conn: Connection, workers: Collection[str]) -> dict[str, Wish]:
    """What owners want of the shots that `workers` hold, by token; one that is lost is none."""
    shot, job = schema.shot, schema.job
    rows = conn.execute(
        select(shot.c.token, _WISH)
        .join(job, job.c.id == shot.c.job_id)
        .where(shot.c.worker.in_(workers), shot.c.state == ShotState.RENDERING)
    )
    return {row.token: Wish(row.wish) for row in rows}


def _wish(lease: Lease) -> Select[str]:
    shot, job = schema.shot, schema.job
    return select(_WISH).join_from(shot, job, job.c.id == shot.c.job_id).where(*_holds(lease))


def expired(conn: Connection, steady_s: Instant) -> list[HeldLease]:
    """The leases that nobody renewed in time."""
    return _held(conn, schema.shot.c.lease_expiry_s <= steady_s)


def _held(conn: Connection, condition: ColumnElement[bool]) -> list[HeldLease]:
    shot = schema.shot
    rows = conn.execute(
        select(
            shot.c.job_id,
            shot.c.number,
            shot.c.attempt_count,
            shot.c.token,
            shot.c.worker,
            shot.c.traceparent,
        )
        .where(shot.c.state == ShotState.RENDERING, condition)
        .order_by(shot.c.job_number, shot.c.number)
    )
    return [HeldLease(lease_of(row), row.worker) for row in rows]


def _holds(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    shot = schema.shot
    return (
        shot.c.job_id == lease.shot.job_id,
        shot.c.number == lease.shot.number,
        shot.c.attempt_count == lease.attempt,
        shot.c.token == lease.token,
    )


def _is_attempt(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    attempt = schema.attempt
    return (
        attempt.c.job_id == lease.shot.job_id,
        attempt.c.shot_number == lease.shot.number,
        attempt.c.number == lease.attempt,
    )


def _beginnings(conn: Connection, lease: Lease) -> tuple[bool, int]:
    """Whether an attempt began, and how many of its shot were lost before they did."""
    attempt = schema.attempt
    began = conn.execute(select(attempt.c.start_time_s).where(*_is_attempt(lease))).scalar()
    unstarted = conn.execute(
        select(func.count()).where(
            attempt.c.job_id == lease.shot.job_id,
            attempt.c.shot_number == lease.shot.number,
            attempt.c.outcome == Reason.WORKER_LOST,
            attempt.c.start_time_s.is_(None),
        )
    ).scalar_one()
    return began is not None, unstarted


def _are_alike(conn: Connection, lease: Lease, reason: Reason, n: int) -> bool:
    """Whether the last `n` attempts before this one that may be charged ended with `reason`."""
    attempt = schema.attempt
    outcomes = conn.execute(
        select(attempt.c.outcome)
        .where(attempt.c.job_id == lease.shot.job_id)
        .where(attempt.c.shot_number == lease.shot.number)
        .where(attempt.c.number < lease.attempt, attempt.c.outcome.in_(CHARGED))
        .order_by(attempt.c.number.desc())
        .limit(n)
    ).scalars()
    return set(outcomes) <= {reason}


def _end_attempt(
    conn: Connection,
    lease: Lease,
    outcome: str,
    now_s: float,
    message: str | None = None,
    log: str | None = None,
) -> None:
    _end_attempts(conn, [_ended(lease, outcome, now_s, message, log)])


def _end_attempts(conn: Connection, ended: Sequence[dict[str, Any]]) -> None:
    if ended:
        conn.execute(_END_ATTEMPT, ended)
        quotas.add_gpu_use(conn, ended)


def _ended(
    lease: Lease, outcome: str, now_s: float, message: str | None = None, log: str | None = None
) -> dict[str, Any]:
    ending = {"end_time_s": now_s, "outcome": outcome, "message": message, "log": log}
    return _named(lease) | ending


def _named(lease: Lease) -> dict[str, Any]:
    return {
        "of_job": lease.shot.job_id,
        "of_shot": lease.shot.number,
        "of_attempt": lease.attempt,
    }


def take_back_expired(
    conn: Connection, steady_s: Instant, now_s: float
) -> list[tuple[HeldLease, ShotState]]:
    """Ends every attempt whose lease ran out; returns them with the shots' states."""
    taken = []
    for held in expired(conn, steady_s):
        told = f"{held.worker} did not renew its lease"
        state = fail(conn, held.lease, Reason.WORKER_LOST, told, now_s)
        if state is not None:
            taken.append((held, state))
    return taken
