"""The farm's workers as rows, so that every gateway knows those of the others.

A gateway writes what changes at its sessions, and every third of a lease whom it has heard of. A
row belongs to the worker's newest session: what an older one says of it meets no row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, literal, select, update

from farm.jobs.states import ShotState
from farm.jobs.tiers import model_of
from farm.store import schema
from farm.store.clock import Instant
from farm.store.moves import wake_watchers
from farm.store.records import Failure, ShotKey

# What `Database.on_commit` and `on_news` tell, among the ids of jobs, when workers changed.
WORKERS = "workers"


def silence_limit_s(lease_s: float) -> float:
    """How long a row may be silent: a lease, and the third of one that it may be behind."""
    return lease_s * 4 / 3


@dataclass(frozen=True)
class Session:
    """A worker's session as its gateway knows it."""

    worker: str
    id: str
    gateway: str
    about: bytes
    models: frozenset[str]
    state: str
    connect_time_s: float


@dataclass(frozen=True)
class WorkerRow:
    """A connected worker, wherever it is connected."""

    id: str
    session: str
    about: bytes
    models: frozenset[str]
    told_state: str  # by itself
    connect_time_s: float
    silent_s: float  # since it was heard, to within a third of a lease
    drain_wanted: bool
    refused_report_count: int
    cordon: Failure | None

    def state(self, silence_limit_s: float) -> str:
        """A name of svdfarm.v1.Worker.State; FAILED where nothing is heard of it."""
        if self.silent_s > silence_limit_s:
            return "FAILED"
        if self.drain_wanted or self.told_state == "DRAINING":
            return "DRAINING"
        return "CORDONED" if self.cordon is not None else self.told_state


def join(conn: Connection, session: Session, steady_s: Instant) -> None:
    """Records a worker's new session in the place of its older one."""
    worker = schema.worker
    values = {"session": session.id, **_told(session), "heard_s": steady_s}
    joined = update(worker).where(worker.c.id == session.worker).values(values)
    if not conn.execute(joined).rowcount:
        fresh = {"drain_wanted": False, "refused_report_count": 0}
        conn.execute(insert(worker).values(id=session.worker, **values, **fresh))
    wake_watchers(conn, WORKERS)


def change(conn: Connection, session: Session) -> None:
    """Records what a session's worker says of itself now."""
    worker = schema.worker
    if conn.execute(
        update(worker).where(worker.c.session == session.id).values(_told(session))
    ).rowcount:
        wake_watchers(conn, WORKERS)


def leave(conn: Connection, session: str) -> None:
    """Notes that a session has ended; the row waits for the worker's next one."""
    worker = schema.worker
    ended = update(worker).where(worker.c.session == session).values(gateway=None)
    if conn.execute(ended).rowcount:
        wake_watchers(conn, WORKERS)


def leave_all(conn: Connection, steady_s: Instant) -> None:
    """Notes that no session is left, as no gateway was; each worker has a while to come back."""
    conn.execute(update(schema.worker).values(gateway=None, heard_s=steady_s))


def hear_all(conn: Connection, steady_s: Instant) -> None:
    """Forgives the silence of every worker: while the database was away nobody could tell."""
    conn.execute(update(schema.worker).values(heard_s=steady_s))


def hear(
    conn: Connection, gateway: str, sessions: Iterable[Session], steady_s: Instant, keep_s: float
) -> None:
    """Notes that these sessions of `gateway` live, and drops rows unheard of for `keep_s`."""
    worker = schema.worker
    lost = {session.id: session for session in sessions}
    there = conn.execute(
        update(worker)
        .where(worker.c.session.in_(lost))
        .values(heard_s=steady_s, gateway=gateway)
        .returning(worker.c.session)
    ).scalars()
    for session_id in there.all():
        del lost[session_id]
    for session in lost.values():
        # Dropped while this gateway could not reach the database, if no newer session is there.
        if conn.execute(select(worker.c.id).where(worker.c.id == session.worker)).first() is None:
            join(conn, session, steady_s)
    conn.execute(delete(worker).where(worker.c.heard_s < steady_s - keep_s))


def want_drain(conn: Connection, worker_id: str) -> bool:
    """Asks the gateway of a worker to drain it; False: no such worker is connected."""
    worker = schema.worker
    wanted = update(worker).where(worker.c.id == worker_id, _connected()).values(drain_wanted=True)
    wake_watchers(conn, WORKERS)
    return bool(conn.execute(wanted).rowcount)


def count_refused(conn: Connection, worker_id: str) -> None:
    """Counts a report that was refused: its attempt was taken back before."""
    worker = schema.worker
    conn.execute(
        update(worker)
        .where(worker.c.id == worker_id)
        .values(refused_report_count=worker.c.refused_report_count + 1)
    )


def get(conn: Connection, worker_id: str, steady_s: Instant) -> WorkerRow | None:
    """A connected worker."""
    rows = conn.execute(_rows(steady_s).where(schema.worker.c.id == worker_id))
    return next(map(_record, rows), None)


def connected(conn: Connection, steady_s: Instant) -> list[WorkerRow]:
    """Every connected worker."""
    return list(map(_record, conn.execute(_rows(steady_s))))


def page(conn: Connection, steady_s: Instant, start: int, size: int) -> list[WorkerRow]:
    """Connected workers, by name."""
    rows = conn.execute(_rows(steady_s).order_by(schema.worker.c.id).offset(start).limit(size))
    return list(map(_record, rows))


def asked_at(
    conn: Connection, gateway: str, besides: Collection[str], steady_s: Instant
) -> list[WorkerRow]:
    """The workers of one gateway that something is asked of, and those of the ids `besides`."""
    worker = schema.worker
    asked = worker.c.drain_wanted | worker.c.cordon_reason.is_not(None)
    query = _rows(steady_s).where(worker.c.gateway == gateway, asked | worker.c.id.in_(besides))
    return list(map(_record, conn.execute(query)))


def rendered_by(conn: Connection, worker_ids: Collection[str]) -> dict[str, ShotKey]:
    """The shot that each of these workers began last; one that it has yet to begin where none."""
    shot, attempt = schema.shot, schema.attempt
    of_shot = (attempt.c.job_id == shot.c.job_id) & (attempt.c.shot_number == shot.c.number)
    rows = conn.execute(
        select(shot.c.worker, shot.c.job_id, shot.c.number)
        .join(attempt, of_shot & (attempt.c.number == shot.c.attempt_count))
        .where(shot.c.worker.in_(worker_ids), shot.c.state == ShotState.RENDERING)
        .order_by(attempt.c.start_time_s.is_not(None), attempt.c.start_time_s)
    )
    return {row.worker: ShotKey(row.job_id, row.number) for row in rows}


def served(conn: Connection, heard_since_s: Instant) -> Counter[str]:
    """How many workers serve each model, of those that are connected and were heard of since."""
    worker = schema.worker
    counted: Counter[str] = Counter()
    query = select(worker.c.models).where(_connected(), worker.c.heard_s >= heard_since_s)
    for models in conn.execute(query).scalars():
        counted.update(set(map(model_of, json.loads(models))))
    return counted


def taking(
    conn: Connection, heard_since_s: Instant, but_at: str | None = None
) -> dict[str, frozenset[str]]:
    """The workers that take shots now or when they are free, and the models of each.

    `but_at` leaves out those of one gateway.
    """
    worker = schema.worker
    rows = conn.execute(
        select(worker.c.id, worker.c.models)
        .where(_connected(), worker.c.heard_s >= heard_since_s, worker.c.gateway != (but_at or ""))
        .where(worker.c.state == "ACTIVE", worker.c.drain_wanted.is_(False))
        .where(worker.c.cordon_reason.is_(None))
    )
    return {row.id: frozenset(json.loads(row.models)) for row in rows}


def _told(session: Session) -> dict[str, Any]:
    return {
        "gateway": session.gateway,
        "about": session.about,
        "models": json.dumps(sorted(session.models)),
        "state": session.state,
        "connect_time_s": session.connect_time_s,
    }


def _connected() -> ColumnElement[bool]:
    return schema.worker.c.gateway.is_not(None)


def _rows(steady_s: Instant) -> Any:
    worker = schema.worker
    now_s = literal(steady_s) if isinstance(steady_s, float) else steady_s
    return select(worker, (now_s - worker.c.heard_s).label("silent_s")).where(_connected())


def _record(row: Row[Any]) -> WorkerRow:
    return WorkerRow(
        id=row.id,
        session=row.session,
        about=row.about,
        models=frozenset(json.loads(row.models)),
        told_state=row.state,
        connect_time_s=row.connect_time_s,
        silent_s=row.silent_s,
        drain_wanted=row.drain_wanted,
        refused_report_count=row.refused_report_count,
        cordon=Failure(row.cordon_reason, row.cordon_message) if row.cordon_reason else None,
    )
