"""What is to be told to webhooks: noted with the ending, claimed by one, settled, tried again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from farm.jobs.retry import Reason
from farm.jobs.states import ShotState
from farm.jobs.webhooks import DeliveryState, judge
from farm.store import claims, deletion, deliveries, jobs, leases, schema
from farm.store.database import Database
from farm.store.deliveries import Claimed
from farm.store.records import Delivery, Job, Lease, ShotKey, Video
from farm.store.requeue import requeue_job
from tests.unit.store.conftest import create, new_job

URL = "https://example.com/hook"


def create_told(database: Database, shot_count: int = 1) -> Job:
    new = replace(new_job(shot_count), webhook=URL)
    return database.submit(jobs.create_job, new, 0.0).result()


def begin(database: Database, job: Job, number: int = 1) -> Lease:
    key = ShotKey(job.id, number)
    claimed = database.submit(claims.claim, key, "w", expiry_s=30.0, now_s=1.0).result()
    assert claimed is not None
    return claimed.lease


def succeed(database: Database, job: Job, number: int = 1) -> None:
    video = Video(f"videos/{job.id}/{number}", "c" * 64, size_bytes=100, frame_count=14)
    lease = begin(database, job, number)
    assert database.submit(leases.succeed, lease, video, 1.0, 2.5).result()


def fail(database: Database, job: Job) -> None:
    lease = begin(database, job)
    args = (lease, Reason.PARAMS_REJECTED, "no", 2.5)
    assert database.submit(leases.fail, *args).result()


def cancel(database: Database, job: Job) -> None:
    database.submit(jobs.cancel_job, job.id, 2.5).result()


def release(database: Database, job: Job) -> None:
    lease = begin(database, job)
    cancel(database, job)
    assert latest(database, job) is None  # its device has not let go
    assert database.submit(leases.release, lease, 2.5).result()


def latest(database: Database, job: Job) -> Delivery | None:
    return database.submit(deliveries.latest, job.id).result()


def claim(
    database: Database, now_s: float = 2.5, steady_s: float = 0.0, limit: int = 8
) -> list[Claimed]:
    return database.submit(deliveries.claim, now_s, steady_s, limit).result()


def settle(database: Database, claimed: Claimed, status: int | None, now_s: float = 2.5) -> bool:
    verdict = judge(claimed.attempt_count + 1, status)
    told = None if status == 200 else f"it answered {status}"
    return database.submit(deliveries.settle, claimed, verdict, told, now_s).result()


@pytest.mark.parametrize(
    ("end", "type_"),
    [
        (succeed, "job.succeeded"),
        (fail, "job.failed"),
        (cancel, "job.cancelled"),
        (release, "job.cancelled"),
    ],
)
def test_each_ending_is_noted_once(
    database: Database, end: Callable[[Database, Job], None], type_: str
) -> None:
    job = create_told(database)
    end(database, job)
    (claimed,) = claim(database)
    assert (claimed.job_id, claimed.url, claimed.attempt_count) == (job.id, URL, 0)
    told = json.loads(claimed.body)
    assert told["type"] == type_
    assert told["timestamp"] == told["data"]["end_time"] == "1970-01-01T00:00:02.500000+00:00"
    assert (told["data"]["name"], told["data"]["shot_count"]) == (job.name, 1)
    ended = database.submit(jobs.get_job, job.id).result()
    assert told["data"]["state"] == ended.state
    counted = [told["data"][f"{state}_shot_count"] for state in ("succeeded", "failed")]
    assert counted == [ended.counts.succeeded, ended.counts.failed]


def test_a_job_whose_videos_were_there_already_is_noted_too(database: Database) -> None:
    first = database.submit(jobs.create_job, new_job(), 0.0).result()
    lease = begin(database, first)
    video = Video("videos/a", "c" * 64, size_bytes=100, frame_count=14)
    args = (lease, video, 1.0, 2.5)
    assert database.submit(leases.succeed, *args, cache_key="k" * 64).result()
    new = new_job()
    again = replace(new, webhook=URL, shots=(replace(new.shots[0], cache_key="k" * 64),))
    job = database.submit(jobs.create_job, again, 2.5).result()
    (claimed,) = claim(database)
    assert (claimed.job_id, json.loads(claimed.body)["type"]) == (job.id, "job.succeeded")


def test_nothing_is_noted_before_the_last_shot_or_without_a_webhook(database: Database) -> None:
    job = create_told(database, 2)
    succeed(database, job)
    silent = create(database)
    succeed(database, silent)
    assert claim(database) == []
    succeed(database, job, 2)
    assert [claimed.job_id for claimed in claim(database)] == [job.id]
    assert latest(database, silent) is None


def test_an_ending_that_is_rolled_back_tells_nothing(database: Database) -> None:
    job = create_told(database)

    def cut_off(conn: Connection) -> None:
        jobs.cancel_job(conn, job.id, 2.5)
        assert deliveries.latest(conn, job.id) is not None
        raise KeyError

    with pytest.raises(KeyError):
        database.submit(cut_off).result()
    assert latest(database, job) is None


def test_a_requeued_job_that_ends_again_tells_again(database: Database) -> None:
    job = create_told(database)
    fail(database, job)
    first = latest(database, job)
    database.submit(requeue_job, job.id, {ShotState.FAILED}, (), 3.0).result()
    succeed(database, job)
    second = latest(database, job)
    assert first is not None
    assert second is not None
    assert first.id != second.id
    assert {c.id: json.loads(c.body)["type"] for c in claim(database)} == {
        first.id: "job.failed",
        second.id: "job.succeeded",
    }


def test_a_message_is_sent_by_one_at_a_time(database: Database) -> None:
    succeed(database, create_told(database))
    (first,) = claim(database, steady_s=0.0)
    assert claim(database, steady_s=59.0) == []
    assert database.submit(deliveries.next_time_s, 59.0).result() is None
    # Whoever had it is dead.
    assert database.submit(deliveries.next_time_s, 61.0).result() == 2.5
    (second,) = claim(database, steady_s=61.0)
    assert (second.id, second.body) == (first.id, first.body)
    assert not settle(database, first, 500)
    assert settle(database, second, 200)
    assert claim(database, now_s=1e9, steady_s=1e9) == []


def test_a_failed_message_waits_as_the_table_says_and_is_given_up(database: Database) -> None:
    job = create_told(database)
    succeed(database, job)
    ids, bodies, now_s, waits = set(), set(), 10.0, []
    while (due_s := database.submit(deliveries.next_time_s, 0.0).result()) is not None:
        waits.append(due_s - now_s)
        assert claim(database, now_s=due_s - 0.1) == []
        now_s = due_s
        (claimed,) = claim(database, now_s=now_s)
        ids.add(claimed.id)
        bodies.add(claimed.body)
        assert settle(database, claimed, 503, now_s)
        found = latest(database, job)
        assert found is not None
        assert (found.attempt_count, found.message) == (len(waits), "it answered 503")
    assert waits[1:] == [5, 30, 120, 600, 3600, 21600]
    assert len(ids) == len(bodies) == 1
    assert latest(database, job) == Delivery(
        ids.pop(), DeliveryState.GIVEN_UP, 7, None, "it answered 503"
    )


def test_messages_that_never_failed_go_first(database: Database) -> None:
    stubborn, fresh = create_told(database), create_told(database)
    succeed(database, stubborn)
    (claimed,) = claim(database)
    settle(database, claimed, None, now_s=-10.0)  # due since long ago
    succeed(database, fresh)
    assert [c.job_id for c in claim(database, now_s=100.0, limit=1)] == [fresh.id]
    assert [c.job_id for c in claim(database, now_s=100.0, limit=1)] == [stubborn.id]


def test_a_deleted_job_tells_nothing(database: Database) -> None:
    job = create_told(database)
    succeed(database, job)
    (claimed,) = claim(database)
    database.submit(deletion.delete_job, job.id, unwanted_since_s=0.0).result()
    assert not settle(database, claimed, 500)
    found = database.submit(lambda c: c.execute(select(schema.delivery)).all()).result()
    assert found == []


def test_the_claims_of_a_gateway_that_is_gone_end_with_it(database: Database) -> None:
    succeed(database, create_told(database))
    (first,) = claim(database)
    database.submit(deliveries.end_claims).result()
    (second,) = claim(database)
    assert second.id == first.id
