"""The one place where shots change state: guarded update, job counters, change log."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Row,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from farm.jobs.states import FINAL_JOB_STATES, ShotEvent, ShotState, Wish, follow, job_state
from farm.store import deliveries, schema
from farm.store.records import Job, ShotKey
from farm.store.rows import counts_from_row, job_from_row

CHANGED_JOBS = "farm.changed_jobs"  # in Connection.info, until the commit

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_CHANGED = insert(schema.change).inline()  # its number is nobody's to know
_ROWS = select(schema.shot).where(
    schema.shot.c.job_id == bindparam("of_job"),
    schema.shot.c.number.in_(bindparam("numbers", expanding=True)),
)
_COUNTERS = {
    ShotState.QUEUED: schema.job.c.queued_count,
    ShotState.RENDERING: schema.job.c.rendering_count,
    ShotState.SUCCEEDED: schema.job.c.succeeded_count,
    ShotState.FAILED: schema.job.c.failed_count,
    ShotState.CANCELLED: schema.job.c.cancelled_count,
}


class Move:
    """A step from `before` to where `event` leads, for any shot that is still there.

    `guards` narrow it further (attempt and token); `values` are set with it, as are those given to
    `make`. Its statement is made once: for most moves to make one costs more than to run it.
    """

    def __init__(
        self,
        before: ShotState,
        event: ShotEvent,
        *guards: ColumnElement[bool],
        returning: Sequence[Column[Any]] = (schema.shot.c.number,),
        **values: Any,
    ) -> None:
        shot = schema.shot
        self._before, self._after = before, follow(before, event)
        self._statement = (
            update(shot)
            .where(shot.c.job_id == bindparam("of_job"), shot.c.number == bindparam("of_number"))
            .where(shot.c.state == before, *guards)
            .values(state=self._after, **values)
        )
        self._returning = self._statement.returning(*returning)

    def make(
        self, conn: Connection, key: ShotKey, now_s: float, values: Mapping[str, Any] = _NOTHING
    ) -> Row[Any] | None:
        """Moves one shot; `values` has columns, plain or computed, and the guards' parameters.

        Returns None, and changes nothing, when no row met every guard: somebody else was first.
        """
        # As an instant on the database's own clock is.
        computed = {name: v for name, v in values.items() if isinstance(v, ColumnElement)}
        given = {"of_job": key.job_id, "of_number": key.number}
        given |= {name: v for name, v in values.items() if name not in computed}
        statement = self._returning.values(computed) if computed else self._returning
        row = conn.execute(statement, given).one_or_none()
        if row is not None:
            count(conn, key.job_id, self._before, self._after, 1, now_s)
            record_change(conn, key.job_id, key.number)
        return row

    def make_many(
        self,
        conn: Connection,
        wanted: Mapping[ShotKey, Mapping[str, Any]],
        now_s: float,
        **common: Any,
    ) -> set[ShotKey]:
        """As `make`, by a few statements for all; returns the shots that moved.

        The values of each are plain; those that all have in `common` may be computed.
        """
        if not wanted:
            return set()
        given = [
            {"of_job": key.job_id, "of_number": key.number, **values}
            for key, values in wanted.items()
        ]
        statement = self._statement.values(common) if common else self._statement
        conn.exec_driver_sql("SAVEPOINT farm_moves")
        if conn.execute(statement, given).rowcount != len(given):
            # Which of them did not move is seen by moving each alone: seldom, and then few.
            conn.exec_driver_sql("ROLLBACK TO SAVEPOINT farm_moves")
            each = {key: {**common, **values} for key, values in wanted.items()}
            return {key for key, values in each.items() if self.make(conn, key, now_s, values)}
        conn.exec_driver_sql("RELEASE SAVEPOINT farm_moves")
        for job_id, numbers in _by_job(wanted).items():
            count(conn, job_id, self._before, self._after, len(numbers), now_s)
            record_changes(conn, job_id, numbers)
        return set(wanted)


def rows_of(conn: Connection, keys: Collection[ShotKey]) -> dict[ShotKey, Row[Any]]:
    """The rows of those of these shots that there are."""
    found: dict[ShotKey, Row[Any]] = {}
    for job_id, numbers in _by_job(keys).items():
        rows = conn.execute(_ROWS, {"of_job": job_id, "numbers": numbers})
        found |= {ShotKey(job_id, row.number): row for row in rows}
    return found


def _by_job(keys: Iterable[ShotKey]) -> Mapping[str, list[int]]:
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for key in keys:
        numbers[key.job_id].append(key.number)
    return numbers


def move(
    conn: Connection,
    key: ShotKey,
    before: ShotState,
    event: ShotEvent,
    *guards: ColumnElement[bool],
    now_s: float,
    **values: Any,
) -> bool:
    """Makes a move that comes seldom; see `Move`. Returns False where no row met every guard."""
    return Move(before, event, *guards, **values).make(conn, key, now_s) is not None


def count(
    conn: Connection, job_id: str, before: ShotState, after: ShotState, n: int, now_s: float
) -> None:
    """Books `n` shots from `before` to `after` in the job's counters and derives its state.

    The job's watchers hear of it by the shots, which the caller records.
    """
    row = conn.execute(_counting(before, after), {"of_job": job_id, "n": n}).one()
    _derive(conn, row, now_s, starts=after is ShotState.RENDERING)


@cache
def _counting(before: ShotState, after: ShotState) -> ReturningUpdate[Any]:
    n = bindparam("n", type_=Integer)
    counted = {_COUNTERS[before]: _COUNTERS[before] - n, _COUNTERS[after]: _COUNTERS[after] + n}
    job = schema.job
    return update(job).where(job.c.id == bindparam("of_job")).values(counted).returning(*job.c)


def wish(conn: Connection, job_id: str, wanted: Wish, now_s: float) -> None:
    """Notes what the job's owner asks for, which every claim looks at, and derives its state."""
    job = schema.job
    row = conn.execute(
        update(job).where(job.c.id == job_id).values(wish=wanted).returning(*job.c)
    ).one()
    _derive(conn, row, now_s)
    record_change(conn, job_id, None)


def _derive(conn: Connection, row: Row[Any], now_s: float, *, starts: bool = False) -> None:
    """Sets the state of a job whose counters or wish were changed, where it is another one."""
    start_time_s = row.start_time_s
    if starts and start_time_s is None:
        start_time_s = now_s
    state = job_state(counts_from_row(row), started=start_time_s is not None, wish=Wish(row.wish))
    if state != row.state or start_time_s != row.start_time_s:
        job = schema.job
        end_time_s = now_s if state in FINAL_JOB_STATES else None
        conn.execute(
            update(job)
            .where(job.c.id == row.id)
            .values(state=state, start_time_s=start_time_s, end_time_s=end_time_s)
        )
        if end_time_s is not None:
            now = {"state": state, "start_time_s": start_time_s, "end_time_s": end_time_s}
            note_ending(conn, dataclasses.replace(job_from_row(row), **now))


def note_ending(conn: Connection, job: Job) -> None:
    """Has the webhook of a job that has ended, where it has one, told after the commit."""
    if job.webhook is not None:
        deliveries.note(conn, job)
        wake_watchers(conn, deliveries.DELIVERIES)


def record_change(conn: Connection, job_id: str, shot_number: int | None) -> None:
    """Appends to the change log: one of a job's shots changed, or (None) the job alone."""
    conn.execute(_CHANGED, {"job_id": job_id, "shot_number": shot_number})
    wake_watchers(conn, job_id)


def record_changes(conn: Connection, job_id: str, shot_numbers: Sequence[int]) -> None:
    """As `record_change`, for many shots in one go."""
    if shot_numbers:
        conn.execute(_CHANGED, [{"job_id": job_id, "shot_number": n} for n in shot_numbers])
        wake_watchers(conn, job_id)


def wake_watchers(conn: Connection, job_id: str) -> None:
    """Has the job's watchers look again after the commit, at every gateway."""
    conn.info.setdefault(CHANGED_JOBS, set()).add(job_id)
