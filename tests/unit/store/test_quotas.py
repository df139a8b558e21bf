"""What tenants may take, refused in the transaction that would take more."""

from __future__ import annotations

import dataclasses

import pytest

from farm.jobs.retry import Reason
from farm.jobs.states import ShotState
from farm.jobs.tenants import Limits, Tenant
from farm.store import claims, deletion, demand, inputs, jobs, leases, quotas, tenants
from farm.store.claims import Claim
from farm.store.database import Database
from farm.store.errors import QuotaExceeded
from farm.store.records import Image, Job, ShotKey, Video
from farm.store.requeue import requeue_job
from tests.unit.store.conftest import IMAGE, new_job

HOUR_S = 3600.0


def limited(database: Database, limits: Limits) -> None:
    database.submit(tenants.create, Tenant("a", limits=limits), 0.0).result()
    database.submit(inputs.put_image, IMAGE, 0.0, tenant="a").result()


def create(database: Database, shot_count: int = 1, *, now_s: float = 0.0) -> Job:
    new = dataclasses.replace(new_job(shot_count), tenant="a")
    return database.submit(jobs.create_job, new, now_s, sees="a").result()


def claim(database: Database, job: Job, *, number: int = 1, now_s: float = 0.0) -> Claim:
    key = ShotKey(job.id, number)
    made = database.submit(claims.claim, key, "w", expiry_s=9.0, now_s=now_s).result()
    assert made is not None
    return made


def succeed(database: Database, made: Claim, size_bytes: int, *, now_s: float = 1.0) -> None:
    video = Video(f"videos/{made.lease.shot}", "0" * 64, size_bytes, 3)
    assert database.submit(leases.succeed, made.lease, video, 99.0, now_s).result()


def refused(database: Database, shot_count: int = 1, *, now_s: float = 0.0) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as caught:
        create(database, shot_count, now_s=now_s)
    return caught.value


def test_shots_that_wait_and_render_count_until_they_end(database: Database) -> None:
    limited(database, Limits(max_queued_shots=3))
    job = create(database, 2)
    made = claim(database, job)
    error = refused(database, 2)
    assert (error.reason, error.limit, error.used) == ("QUOTA_SHOTS", 3, 2)
    assert "has 2 shots queued or rendering, and asks for 2: it may have 3" in str(error)
    create(database, 1)
    succeed(database, made, 5)
    create(database, 1)
    assert refused(database).used == 3


def test_a_refused_job_leaves_nothing(database: Database) -> None:
    limited(database, Limits(max_queued_shots=3))
    refused(database, 4)
    assert database.submit(jobs.list_jobs, 5).result() == []
    assert database.submit(quotas.usage, "a", 0.0).result().queued_shots == 0


def test_a_requeue_counts_as_a_new_job_does(database: Database) -> None:
    limited(database, Limits(max_queued_shots=2))
    job = create(database, 2)
    database.submit(jobs.cancel_job, job.id, 1.0).result()
    other = create(database)
    with pytest.raises(QuotaExceeded, match="has 1 shots queued or rendering, and asks for 2"):
        database.submit(requeue_job, job.id, {ShotState.CANCELLED}, (), 1.0).result()
    assert database.submit(jobs.get_job, job.id).result().counts.cancelled == 2
    database.submit(jobs.cancel_job, other.id, 1.0).result()
    again = database.submit(requeue_job, job.id, {ShotState.CANCELLED}, (), 1.0).result()
    assert again[1] == 2


def test_images_and_videos_count_until_they_are_deleted(database: Database) -> None:
    limited(database, Limits(max_stored_bytes=30))
    job = create(database)
    succeed(database, claim(database, job), 20)
    assert database.submit(quotas.stored_bytes, "a").result() == IMAGE.size_bytes + 20
    error = refused(database)
    assert (error.reason, error.limit, error.used) == ("QUOTA_BYTES", 30, 30)
    other = Image("b" * 64, size_bytes=1, width_px=64, height_px=64)
    with pytest.raises(QuotaExceeded, match="has stored 30 bytes of images and videos"):
        database.submit(inputs.put_image, other, 0.0, tenant="a").result()
    database.submit(inputs.put_image, IMAGE, 0.0, tenant="a").result()  # it is there
    database.submit(inputs.put_image, other, 0.0, tenant="default").result()
    database.submit(deletion.delete_job, job.id, unwanted_since_s=-1.0).result()
    assert database.submit(quotas.stored_bytes, "a").result() == IMAGE.size_bytes
    create(database)


def test_gpu_time_is_what_the_gateway_saw_and_outlives_its_job(database: Database) -> None:
    limited(database, Limits(max_gpu_s_per_day=100.0))
    job = create(database, 2)
    first = claim(database, job, now_s=1000.0)
    assert database.submit(quotas.gpu_s_today, "a", 1040.0).result() == 40.0
    succeed(database, first, 5, now_s=1060.0)  # its worker says that it took 99 s
    second = claim(database, job, number=2, now_s=2000.0)
    database.submit(leases.fail, second.lease, Reason.IMAGE_REJECTED, "", 2050.0).result()
    database.submit(deletion.delete_job, job.id, unwanted_since_s=-1.0).result()
    assert database.submit(quotas.gpu_s_today, "a", 2050.0).result() == 110.0
    error = refused(database, now_s=2050.0)
    assert (error.reason, error.limit, error.used) == ("QUOTA_GPU_SECONDS", 100, 110)
    create(database, now_s=25 * HOUR_S)  # a day and an hour later at most


def test_what_was_used_long_ago_is_forgotten(database: Database) -> None:
    limited(database, Limits())
    succeed(database, claim(database, create(database)), 5, now_s=7.0)
    database.submit(quotas.forget_gpu_use, 24.9 * HOUR_S).result()
    assert database.submit(quotas.gpu_s_today, "a", 0.0).result() == 7.0
    database.submit(quotas.forget_gpu_use, 25 * HOUR_S).result()
    assert database.submit(quotas.gpu_s_today, "a", 0.0).result() == 0.0


def test_another_tenant_is_not_refused(database: Database) -> None:
    limited(database, Limits(max_queued_shots=0))
    assert refused(database).reason == "QUOTA_SHOTS"
    assert database.submit(jobs.create_job, new_job(5), 0.0).result().shot_count == 5


def test_a_clock_that_went_back_takes_no_gpu_time_away(database: Database) -> None:
    limited(database, Limits())
    succeed(database, claim(database, create(database), now_s=50.0), 5, now_s=7.0)
    assert database.submit(quotas.gpu_s_today, "a", 7.0).result() == 0.0


def waits(database: Database, now_s: float) -> list[str]:
    waiting = database.submit(claims.waiting, ["tiny"], now_s).result()
    return [claimant.tenant for claimant in waiting.claimants]


def test_shots_of_a_tenant_without_gpu_time_wait_and_ask_for_no_worker(database: Database) -> None:
    limited(database, Limits(max_gpu_s_per_day=100.0))
    job = create(database, 3)
    made = claim(database, job, now_s=1000.0)
    assert waits(database, 1099.0) == ["a"]
    assert database.submit(demand.queued_count, ["tiny"], 9, 1099.0).result() == 2
    assert waits(database, 1100.0) == []  # what renders counts already
    succeed(database, made, 5, now_s=1200.0)
    assert waits(database, 1200.0) == []
    assert database.submit(demand.queued_count, ["tiny"], 9, 1200.0).result() == 0
    told = database.submit(quotas.gpu_notice, "a", 1200.0).result()
    assert told == "tenant a has used 200 s of GPUs within a day, and may use 100 s"
    more = Tenant("a", limits=Limits(max_gpu_s_per_day=300.0))
    database.submit(tenants.change, more).result()
    assert waits(database, 1200.0) == ["a"]
    assert database.submit(quotas.gpu_notice, "a", 1200.0).result() == ""
