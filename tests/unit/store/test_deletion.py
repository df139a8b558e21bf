from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from farm.jobs.codec import Container
from farm.jobs.retention import EndedJob, KeptFile, KeptVideos
from farm.jobs.states import JobState, ShotState
from farm.store import claims, deletion, inputs, jobs, leases, schema
from farm.store.blobs import Content
from farm.store.database import Database
from farm.store.errors import JobNotEnded, NotFound, StoreAway
from farm.store.folder import FolderBlobs
from farm.store.holdings import read_holdings
from farm.store.records import Image, Job, ShotKey, Video, image_key
from farm.store.requeue import requeue_job
from farm.store.store import Store
from tests.postgres import PostgresServer
from tests.running import eventually
from tests.s3 import S3Server, faulty
from tests.unit.store.conftest import IMAGE, create, new_job

OTHER = Image("b" * 64, size_bytes=20, width_px=64, height_px=64)


def render(database: Database, job: Job, number: int = 1) -> Video:
    key = ShotKey(job.id, number)
    claimed = database.submit(claims.claim, key, "w", expiry_s=30.0, now_s=1.0).result()
    assert claimed is not None
    key = claimed.lease.video_key("c" * 64, Container.MP4)
    video = Video(key, "c" * 64, size_bytes=100, frame_count=14)
    assert database.submit(leases.succeed, claimed.lease, video, 1.0, 2.0).result()
    return video


def delete(database: Database, job: Job, unwanted_since_s: float = 5.0) -> set[str]:
    return database.submit(deletion.delete_job, job.id, unwanted_since_s=unwanted_since_s).result()


def swept(database: Database) -> list[str]:
    removed: list[str] = []
    while claim := database.submit(deletion.claim, 0.0).result():
        removed += claim.keys
        database.submit(deletion.finish, claim).result()
    return removed


def test_only_an_ended_job_is_deleted(database: Database) -> None:
    job = create(database, 2)
    with pytest.raises(JobNotEnded, match="cancel it"):
        delete(database, job)
    database.submit(jobs.cancel_job, job.id, 1.0).result()
    delete(database, job)
    with pytest.raises(NotFound):
        database.submit(jobs.get_job, job.id).result()
    for table in (schema.shot, schema.attempt, schema.change):
        found = database.submit(lambda conn, t=table: conn.execute(select(t)).all()).result()
        assert found == []


def test_a_deleted_job_leaves_notes_of_its_files_until_they_are_gone(database: Database) -> None:
    job = create(database, 2)
    videos = {render(database, job, number).key for number in (1, 2)}
    assert delete(database, job) == {IMAGE.sha256}
    expected = sorted({*videos, image_key(IMAGE.sha256)})
    assert database.submit(deletion.is_noted, expected[0]).result()
    assert swept(database) == expected
    assert swept(database) == []


def test_a_file_is_deleted_by_one_at_a_time(database: Database) -> None:
    job = create(database)
    video = render(database, job)
    delete(database, job, unwanted_since_s=-1.0)
    first = database.submit(deletion.claim, 0.0).result()
    assert first is not None
    assert first.keys == [video.key]
    asked = partial(database.submit, deletion.is_being_deleted, video.key)
    assert database.submit(deletion.claim, 299.0).result() is None
    assert (asked(299.0).result(), asked(301.0).result()) == (True, False)
    # Whoever had it is dead.
    second = database.submit(deletion.claim, 301.0).result()
    assert second is not None
    assert second.keys == [video.key]
    database.submit(deletion.finish, first).result()
    assert asked(302.0).result()
    database.submit(deletion.finish, second).result()
    assert not database.submit(deletion.is_noted, video.key).result()


def test_an_image_that_another_job_uses_stays(database: Database) -> None:
    first, second = create(database), create(database)
    for job in (first, second):
        database.submit(jobs.cancel_job, job.id, 1.0).result()
    assert delete(database, first) == set()
    assert delete(database, second) == {IMAGE.sha256}


def test_an_image_that_somebody_asked_for_stays(database: Database) -> None:
    job = create(database)
    database.submit(jobs.cancel_job, job.id, 1.0).result()
    assert database.submit(inputs.want_image, IMAGE.sha256, 5.5).result()
    assert delete(database, job) == set()
    assert database.submit(inputs.get_image, IMAGE.sha256).result() == IMAGE
    assert not database.submit(inputs.want_image, OTHER.sha256, 5.5).result()


def test_an_uploaded_image_is_asked_for_again_by_another_upload(database: Database) -> None:
    assert not database.submit(inputs.is_wanted_since, IMAGE.sha256, 5.0).result()
    database.submit(inputs.put_image, IMAGE, 7.0).result()
    assert database.submit(inputs.is_wanted_since, IMAGE.sha256, 5.0).result()


def test_a_file_that_got_a_row_again_is_not_swept(database: Database) -> None:
    gone = {IMAGE.sha256}
    assert database.submit(deletion.delete_images, gone, unwanted_since_s=5.0).result() == gone
    database.submit(inputs.put_image, IMAGE, 6.0).result()
    assert swept(database) == []
    (again,) = database.submit(read_holdings, []).result().images
    assert (again.sha256, again.want_time_s) == (IMAGE.sha256, 6.0)


def test_a_job_that_was_requeued_after_it_was_chosen_stays(database: Database) -> None:
    job = create(database)
    database.submit(jobs.cancel_job, job.id, 1.0).result()
    (chosen,) = database.submit(read_holdings, []).result().jobs
    assert chosen == EndedJob(job.id, JobState.CANCELLED, 1.0)
    states = {ShotState.CANCELLED}
    database.submit(requeue_job, job.id, states, set(), 2.0).result()
    choice = {"unwanted_since_s": 5.0}
    assert database.submit(deletion.delete_chosen, chosen, **choice).result() is None
    database.submit(jobs.cancel_job, job.id, 3.0).result()
    # It has ended again, but not as long ago.
    assert database.submit(deletion.delete_chosen, chosen, **choice).result() is None
    chosen = dataclasses.replace(chosen, end_time_s=3.0)
    assert database.submit(deletion.delete_chosen, chosen, **choice).result() == {IMAGE.sha256}


def test_holdings_are_ended_jobs_used_images_and_files_without_a_row(database: Database) -> None:
    database.submit(inputs.put_image, OTHER, 3.0).result()
    ended, going_on = create(database, 2), create(database)
    videos = [render(database, ended, number).key for number in (1, 2)]
    known = [*videos, image_key(IMAGE.sha256)]
    lost = f"videos/{going_on.id}/1-1-abc.mp4"
    files = [KeptFile(key, 1, 0.0) for key in [*known, lost, "images/stray"]]
    kept = database.submit(read_holdings, files).result()
    assert kept.jobs == [EndedJob(ended.id, JobState.SUCCEEDED, 2.0)]
    assert kept.videos == [KeptVideos(frozenset({ended.id}), 2, 200)]
    assert [(i.sha256, i.want_time_s, i.job_ids) for i in kept.images] == [
        (IMAGE.sha256, 0.0, {ended.id, going_on.id}),
        (OTHER.sha256, 3.0, frozenset()),
    ]
    assert [file.key for file in kept.orphans] == [lost, "images/stray"]


def test_only_files_without_a_row_are_noted(database: Database) -> None:
    video = render(database, create(database))
    keys = [video.key, image_key(IMAGE.sha256), "videos/gone/1-1-abc.mp4", "stray"]
    unnamed = database.submit(deletion.note_unnamed, keys).result()
    assert sorted(unnamed) == swept(database) == ["stray", "videos/gone/1-1-abc.mp4"]


def test_many_images_are_deleted_in_one_go(database: Database) -> None:
    many = [f"{n:064x}" for n in range(250)]

    def put(conn: Connection) -> None:
        for sha256 in many:
            inputs.put_image(conn, dataclasses.replace(OTHER, sha256=sha256), 1.0)
        conn.execute(insert(schema.deletion), [{"key": image_key(many[0])}])  # noted before

    database.submit(put).result()
    gone = database.submit(deletion.delete_images, many, unwanted_since_s=2.0).result()
    assert gone == {*many}
    assert swept(database) == [image_key(sha256) for sha256 in many]


def leave_a_note(store: Store) -> None:
    note = schema.deletion.insert().values(key="images/x")
    store.database.submit(lambda conn: conn.execute(note)).result()


def leave_the_file(store: Store) -> None:
    asyncio.run(store.blobs.put("images/x", b"picture"))


@pytest.mark.parametrize("before", [leave_a_note, leave_the_file])
def test_a_row_is_committed_only_while_its_file_is_there(
    tmp_path: Path, before: Callable[[Store], None]
) -> None:
    store = Store.open(tmp_path / "data")
    path = tmp_path / "image"
    path.write_bytes(b"picture")
    collected: list[str] = []

    def record(conn: Connection) -> str:
        return "recorded"

    class Collecting(FolderBlobs):
        """The file is collected between its storing and its row, once."""

        async def put(self, key: str, content: Content) -> bool:
            created = await super().put(key, content)
            if not collected:
                collected.append(key)
                self.delete(key)
            return created

    try:
        blobs = Collecting(tmp_path / "data" / "blobs")
        racing = dataclasses.replace(store, blobs=blobs)
        before(store)
        assert asyncio.run(racing.publish("images/x", path, record)) == "recorded"
        assert collected == ["images/x"]
        assert asyncio.run(store.blobs.read_whole("images/x")) == b"picture"
        blobs.close()
    finally:
        store.close()


async def test_no_row_is_committed_while_its_file_is_being_deleted(tmp_path: Path) -> None:
    store = await asyncio.to_thread(Store.open, tmp_path / "data")
    path = tmp_path / "image"
    path.write_bytes(b"picture")
    deleting, go_on = threading.Event(), threading.Event()

    class Slow(FolderBlobs):
        """What is deleted goes when the test says so."""

        def delete(self, *keys: str) -> None:
            deleting.set()
            assert go_on.wait(10)
            super().delete(*keys)

    try:
        blobs = Slow(tmp_path / "data" / "blobs")
        slow = dataclasses.replace(store, blobs=blobs)
        await blobs.put("images/x", path)
        await store.database.write(deletion.note_unnamed, ["images/x"])
        sweep = asyncio.create_task(slow.sweep())
        assert await asyncio.to_thread(deleting.wait, 10)
        published = asyncio.create_task(slow.publish("images/x", path, lambda _: "recorded"))
        # Others write meanwhile.
        await store.database.write(inputs.put_image, IMAGE, 0.0)
        assert not (await asyncio.wait([published], timeout=0.3))[0]
        go_on.set()
        assert await published == "recorded"
        await sweep
        assert await store.blobs.read_whole("images/x") == b"picture"
        assert not await store.database.read(deletion.is_noted, "images/x")
        blobs.close()
    finally:
        go_on.set()
        await asyncio.to_thread(store.close)


async def test_who_waits_too_long_for_a_deletion_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.store.store.PATIENCE_S", 0.1)
    path = tmp_path / "image"
    path.write_bytes(b"picture")
    store = await asyncio.to_thread(Store.open, tmp_path / "data")
    await store.blobs.put("images/x", path)
    await store.database.write(deletion.note_unnamed, ["images/x"])
    await store.database.write(deletion.claim, store.clock.steady_s())
    try:
        with pytest.raises(StoreAway, match="images/x is being deleted"):
            await store.publish("images/x", path, lambda _: "recorded")
    finally:
        await asyncio.to_thread(store.close)
    # Its deleter is gone.
    store = await asyncio.to_thread(Store.open, tmp_path / "data")
    assert await store.publish("images/x", path, lambda _: "recorded") == "recorded"
    await asyncio.to_thread(store.close)


async def test_a_bucket_that_deletes_slowly_holds_no_writer_up(
    s3: S3Server, postgres: PostgresServer, tmp_path: Path
) -> None:
    with postgres.database() as url, faulty(s3) as faults:
        bucket = dataclasses.replace(s3.bucket(), endpoint=faults.endpoint)
        store = await asyncio.to_thread(Store.open, tmp_path, url, bucket)
        await store.blobs.put("images/x", b"picture")
        await store.database.write(deletion.note_unnamed, ["images/x"])
        faults.methods, faults.delay_s = ("POST",), 6.0  # PostgreSQL waits 5 s for who is idle
        faults.seen.clear()
        sweep = asyncio.create_task(store.sweep())
        await asyncio.to_thread(eventually, lambda: faults.seen)
        async with asyncio.timeout(3):
            await store.database.write(inputs.put_image, IMAGE, 0.0)
        assert not sweep.done()
        await sweep
        assert store.blobs.files() == []
        faults.methods = ("HEAD",)
        with pytest.raises(StoreAway):
            await asyncio.wait_for(asyncio.to_thread(store.blobs.has, "images/x"), 4)
        faults.delay_s = 0.0
        await asyncio.to_thread(store.close)


def test_a_job_with_a_request_id_can_be_sent_again_after_its_deletion(database: Database) -> None:
    new = new_job(request_id="r1")
    first = database.submit(jobs.create_job, new, 0.0).result()
    database.submit(jobs.cancel_job, first.id, 1.0).result()
    delete(database, first, unwanted_since_s=-1.0)
    assert database.submit(jobs.create_job, new, 5.0).result().id != first.id
