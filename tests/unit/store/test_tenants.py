"""Tenants in the store, on every database."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from farm.jobs.places import Seal
from farm.jobs.states import ShotState
from farm.jobs.tenants import Limits, Tenant, problems
from farm.store import (
    attempts,
    cached,
    changes,
    claims,
    deletion,
    history,
    inputs,
    jobs,
    leases,
    tenants,
)
from farm.store.database import Database
from farm.store.errors import NotFound, RequestConflict, TenantExists
from farm.store.holdings import read_holdings
from farm.store.records import Image, Job, NewJob, ShotKey, Video
from farm.store.requeue import requeue_job
from tests.unit.store.conftest import IMAGE, new_job


@pytest.fixture
def shared(database: Database) -> Database:
    """A database with tenants a and b, both owners of IMAGE."""
    for name in ("a", "b"):
        database.submit(tenants.create, Tenant(name), 0.0).result()
        database.submit(inputs.put_image, IMAGE, 0.0, tenant=name).result()
    return database


def of(tenant: str, shot_count: int = 1, **given: Any) -> NewJob:
    return dataclasses.replace(new_job(shot_count), tenant=tenant, **given)


def create(database: Database, tenant: str, shot_count: int = 1, **given: Any) -> Job:
    new = of(tenant, shot_count, **given)
    return database.submit(jobs.create_job, new, 0.0, sees=tenant).result()


def succeed(database: Database, job: Job, *, cache_key: str | None = None) -> None:
    def run(conn: Connection) -> None:
        key = ShotKey(job.id, 1)
        claim = claims.claim(conn, key, "w", expiry_s=9.0, now_s=1.0)
        assert claim is not None
        video = Video(f"videos/{job.id}/1", "0" * 64, 5, 3)
        assert leases.succeed(conn, claim.lease, video, 1.0, 2.0, cache_key=cache_key)

    database.submit(run).result()


READS_AND_CHANGES: dict[str, Callable[[Connection, str, str | None], object]] = {
    "get_job": lambda conn, job, sees: jobs.get_job(conn, job, sees=sees),
    "get_shot": lambda conn, job, sees: jobs.get_shot(conn, ShotKey(job, 1), sees=sees),
    "list_shots": lambda conn, job, sees: jobs.list_shots(conn, job, 5, sees=sees),
    "update_job": lambda conn, job, sees: jobs.update_job(conn, job, priority=1, sees=sees),
    "pause_job": lambda conn, job, sees: jobs.pause_job(conn, job, 1.0, sees=sees),
    "resume_job": lambda conn, job, sees: jobs.resume_job(conn, job, 1.0, sees=sees),
    "cancel_job": lambda conn, job, sees: jobs.cancel_job(conn, job, 1.0, sees=sees),
    "requeue_job": lambda conn, job, sees: requeue_job(
        conn, job, {ShotState.FAILED}, (), 1.0, sees=sees
    ),
    "delete_job": lambda conn, job, sees: deletion.delete_job(
        conn, job, unwanted_since_s=0.0, sees=sees
    ),
    "list_attempts": lambda conn, job, sees: attempts.list_attempts(conn, job, None, 5, sees=sees),
    "snapshot": lambda conn, job, sees: changes.snapshot(conn, job, sees=sees),
    "rendering": lambda conn, job, sees: changes.rendering(conn, job, sees=sees),
    "changes_since": lambda conn, job, sees: changes.changes_since(conn, job, 0, sees=sees),
}


@pytest.mark.parametrize("name", READS_AND_CHANGES)
def test_anothers_job_is_not_there_and_is_not_changed(shared: Database, name: str) -> None:
    job = create(shared, "a")
    run = READS_AND_CHANGES[name]
    with pytest.raises(NotFound, match=r"there is no (job|shot) jobs/\w+"):
        shared.submit(run, job.id, "b").result()
    assert shared.submit(jobs.get_job, job.id).result() == job
    if name != "delete_job":  # it has not ended
        shared.submit(run, job.id, "a").result()
        shared.submit(run, job.id, None).result()


def test_a_list_has_what_its_caller_sees(shared: Database) -> None:
    of_a, of_b = create(shared, "a"), create(shared, "b")
    assert shared.submit(jobs.list_jobs, 5, sees="a").result() == [of_a]
    assert shared.submit(jobs.list_jobs, 5, sees="b").result() == [of_b]
    assert shared.submit(jobs.list_jobs, 5).result() == [of_b, of_a]


def test_an_image_is_there_for_those_who_uploaded_it(shared: Database) -> None:
    other = Image("b" * 64, size_bytes=10, width_px=64, height_px=64)
    shared.submit(inputs.put_image, other, 1.0, tenant="a").result()
    assert shared.submit(inputs.get_image, other.sha256, sees="a").result() == other
    for sees in ("b", "default"):
        with pytest.raises(NotFound, match="there is no image images/bbb"):
            shared.submit(inputs.get_image, other.sha256, sees=sees).result()
        assert not shared.submit(inputs.want_image, other.sha256, 2.0, sees=sees).result()
        assert not shared.submit(inputs.is_wanted_since, other.sha256, 0.0, sees=sees).result()
    shots = tuple(dataclasses.replace(s, image_sha256=other.sha256) for s in of("b").shots)
    with pytest.raises(NotFound, match="there is no image images/bbb"):
        create(shared, "b", shots=shots)
    shared.submit(inputs.put_image, other, 2.0, tenant="b").result()
    assert create(shared, "b", shots=shots).shot_count == 1


def test_a_request_id_makes_one_job_for_each_tenant(shared: Database) -> None:
    request_id = str(uuid.uuid4())
    made = {name: create(shared, name, request_id=request_id) for name in ("default", "a", "b")}
    assert len({job.id for job in made.values()}) == 3
    for name, job in made.items():
        assert create(shared, name, request_id=request_id) == job
        with pytest.raises(RequestConflict, match=f"{request_id} was used for jobs/{job.id}"):
            create(shared, name, request_id=request_id, request_sha256="1" * 64)


def test_a_video_serves_its_own_tenant_again_and_others_only_when_shared(shared: Database) -> None:
    job = create(shared, "a")
    succeed(shared, job, cache_key="k")
    own = shared.submit(cached.find, {"k"}, "a").result()
    assert own["k"]["cached_from"] == f"jobs/{job.id}/shots/1"
    assert shared.submit(cached.find, {"k"}, "b").result() == {}
    anybodys = shared.submit(cached.find, {"k"}, "b", shared=True).result()
    assert (anybodys["k"]["cached_from"], anybodys["k"]["video_size_bytes"]) == (None, 5)


def test_an_estimate_is_made_of_what_its_caller_sees(shared: Database) -> None:
    succeed(shared, create(shared, "a"))
    create(shared, "a", 2)
    assert len(shared.submit(history.rendered, sees="a").result()) == 1
    assert shared.submit(history.rendered, sees="b").result() == []
    models = {of("a").shots[0].params.model}
    assert shared.submit(history.waiting, models, 0, sees="a").result().total() == 2
    assert shared.submit(history.waiting, models, 0, sees="b").result().total() == 0
    assert shared.submit(history.waiting, models, 0).result().total() == 2


def test_an_image_goes_with_the_last_who_owns_it(shared: Database) -> None:
    job = create(shared, "b")
    let_go = shared.submit(
        deletion.delete_images, {IMAGE.sha256}, unwanted_since_s=9.0, sees="a"
    ).result()
    assert let_go == {IMAGE.sha256}
    with pytest.raises(NotFound):
        shared.submit(inputs.get_image, IMAGE.sha256, sees="a").result()
    assert shared.submit(inputs.get_image, IMAGE.sha256, sees="b").result() == IMAGE
    kept = shared.submit(
        deletion.delete_images, {IMAGE.sha256}, unwanted_since_s=9.0, sees="b"
    ).result()
    assert kept == set()  # its job uses it
    assert shared.submit(inputs.get_image, IMAGE.sha256, sees="b").result() == IMAGE
    shared.submit(jobs.cancel_job, job.id, 1.0).result()
    delete = shared.submit(deletion.delete_job, job.id, unwanted_since_s=9.0, sees="b")
    assert delete.result() == {IMAGE.sha256}
    assert shared.submit(inputs.get_image, IMAGE.sha256).result() == IMAGE  # the default tenant's
    gone = shared.submit(deletion.delete_images, {IMAGE.sha256}, unwanted_since_s=9.0).result()
    assert gone == {IMAGE.sha256}
    with pytest.raises(NotFound):
        shared.submit(inputs.get_image, IMAGE.sha256).result()


def test_what_may_be_pruned_is_a_tenants_own(shared: Database) -> None:
    of_a, of_b = create(shared, "a"), create(shared, "b")
    succeed(shared, of_a)
    succeed(shared, of_b)
    kept = shared.submit(read_holdings, [], sees="a").result()
    assert [job.id for job in kept.jobs] == [of_a.id]
    assert [video.job_ids for video in kept.videos] == [{of_a.id}]
    assert [image.job_ids for image in kept.images] == [{of_a.id}]


def test_what_the_version_before_adds_is_the_default_tenants(shared: Database) -> None:
    """It names none of the columns, and knows no owners."""

    def add(conn: Connection) -> None:
        conn.exec_driver_sql(
            "INSERT INTO image (sha256, size_bytes, width_px, height_px, create_time_s) "
            f"VALUES ('{'c' * 64}', 1, 64, 64, 0)"
        )
        conn.exec_driver_sql(
            "INSERT INTO job (id, display_name, priority, wish, state, request_sha256, "
            "create_time_s, shot_count, queued_count, rendering_count, succeeded_count, "
            "failed_count, cancelled_count) "
            "VALUES ('old', '', 0, 'RUN', 'QUEUED', '', 0, 1, 1, 0, 0, 0, 0)"
        )

    shared.submit(add).result()
    assert shared.submit(jobs.get_job, "old", sees="default").result().tenant == "default"
    assert shared.submit(inputs.get_image, "c" * 64, sees="default").result().size_bytes == 1
    for sees in ("a", "b"):
        with pytest.raises(NotFound):
            shared.submit(jobs.get_job, "old", sees=sees).result()
        with pytest.raises(NotFound):
            shared.submit(inputs.get_image, "c" * 64, sees=sees).result()


def test_a_tenant_is_kept_as_it_was_given(database: Database) -> None:
    limits = Limits(5, 2**62, 3, 4, 0.5)
    made = database.submit(tenants.create, Tenant("acme", "Acme", 2.0, limits), 7.0).result()
    assert made.create_time_s == 7.0
    assert database.submit(tenants.get, "acme").result() == made
    listed = database.submit(tenants.page, 5).result()
    assert [tenant.name for tenant in listed] == ["acme", "default"]
    assert [t.name for t in database.submit(tenants.page, 5, "acme").result()] == ["default"]
    with pytest.raises(TenantExists, match="there is a tenant acme already"):
        database.submit(tenants.create, Tenant("acme"), 8.0).result()
    changed = dataclasses.replace(made, display_name="", weight=3.0, limits=Limits())
    database.submit(tenants.change, changed).result()
    assert database.submit(tenants.get, "acme").result() == changed
    with pytest.raises(NotFound, match="there is no tenant tenants/other"):
        database.submit(tenants.get, "other").result()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Tenant(""), "name"),
        (Tenant("A"), "name"),
        (Tenant("-a"), "name"),
        (Tenant("a" * 64), "name"),
        (Tenant("a", display_name="x" * 129), "display_name"),
        (Tenant("a", weight=0.0), "weight"),
        (Tenant("a", weight=5e-324), "weight"),
        (Tenant("a", weight=float("nan")), "weight"),
        (Tenant("a", weight=float("inf")), "weight"),
        (Tenant("a", weight=1000.5), "weight"),
        (Tenant("a", limits=Limits(max_queued_shots=-1)), "max_queued_shots"),
        (Tenant("a", limits=Limits(max_stored_bytes=2**63)), "max_stored_bytes"),
        (Tenant("a", limits=Limits(max_gpu_s_per_day=float("nan"))), "max_gpu_s_per_day"),
    ],
)
def test_a_wrong_tenant_is_told(wrong: Tenant, field: str) -> None:
    assert [problem.field for problem in problems(wrong)] == [field]


def test_a_sealed_place_is_read_by_its_own_seal_alone() -> None:
    own, other, plain = Seal(b"a" * 32), Seal(b"b" * 32), Seal()
    for place in (0, 7, 2**62):
        token = own.write(place)
        assert own.read(token) == place
        assert other.read(token) is None
        assert own.read(token[:-1] + ("0" if token[-1] != "0" else "1")) is None
        assert own.read(plain.write(place)) is None
    assert (plain.write(7), plain.read("7"), plain.read("0x7")) == ("7", 7, None)
    assert own.read("") is None
    assert own.write(7) != own.write(7)
