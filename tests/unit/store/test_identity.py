"""A database meets only its own farm's images and videos, in a folder and in a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, select, update

from farm.store import inputs, schema
from farm.store.blobs import FARM_ID
from farm.store.bucket import Bucket
from farm.store.errors import ArtifactsForeign
from farm.store.records import Image, image_key
from farm.store.store import Store
from tests.postgres import PostgresServer
from tests.s3 import S3Server


@pytest.fixture(params=["folder", "s3"])
def bucket(request: pytest.FixtureRequest) -> Bucket | None:
    if request.param == "folder":
        return None
    server: S3Server = request.getfixturevalue("s3")
    return server.bucket()


@pytest.fixture
def new_database(postgres: PostgresServer) -> Iterator[Callable[[], URL]]:
    with ExitStack() as made:
        yield lambda: made.enter_context(postgres.database(template="template1"))


def keep_images(store: Store, *digits: str) -> None:
    for digit in digits:
        image = Image(digit * 64, size_bytes=7, width_px=64, height_px=64)
        asyncio.run(store.blobs.put(image_key(image.sha256), b"picture"))
        store.database.submit(inputs.put_image, image, 0.0).result()


def farm_id(store: Store) -> str:
    query = select(schema.farm.c.id).where(schema.farm.c.bound)
    return store.database.submit(lambda conn: conn.execute(query).scalar_one()).result()


def become_unbound(store: Store) -> None:
    """Has the database as a migration of one from before there were ids leaves it."""

    def forget(conn: Connection) -> None:
        conn.execute(update(schema.farm).values(id="f" * 32, bound=False))

    store.database.submit(forget).result()


def test_both_have_the_same_id_from_the_first_start(tmp_path: Path, bucket: Bucket | None) -> None:
    for _ in range(2):
        store = Store.open(tmp_path, None, bucket)
        assert store.blobs.farm_id() == farm_id(store)
        assert (store.blobs.files(), store.blobs.is_used()) == ([], False)
        store.close()


@pytest.mark.parametrize("image_count", [0, 1])
def test_another_database_is_refused(
    tmp_path: Path, bucket: Bucket | None, new_database: Callable[[], URL], image_count: int
) -> None:
    own, other = new_database(), new_database()
    store = Store.open(tmp_path, own, bucket)
    keep_images(store, *"a"[:image_count])
    id_ = farm_id(store)
    store.close()
    for database in (other, None):
        with pytest.raises(ArtifactsForeign, match=f"belongs to farm {id_}, the database to farm"):
            Store.open(tmp_path, database, bucket)
    Store.open(tmp_path, own, bucket).close()


def test_another_place_for_files_is_refused(
    tmp_path: Path, new_database: Callable[[], URL]
) -> None:
    database = new_database()
    with ExitStack() as open_:
        open_.callback(Store.open(tmp_path / "a", database).close)
        with pytest.raises(ArtifactsForeign, match=r"elsewhere: .*blobs has no farm-id. Give"):
            Store.open(tmp_path / "b", database)
        open_.callback(Store.open(tmp_path / "a", database).close)


def test_what_is_from_before_there_were_ids_gets_one(tmp_path: Path, bucket: Bucket | None) -> None:
    store = Store.open(tmp_path, None, bucket)
    keep_images(store, "a", "b", "c")
    store.blobs.delete(FARM_ID, image_key("a" * 64))
    become_unbound(store)
    store.close()
    store = Store.open(tmp_path, None, bucket)
    assert store.blobs.farm_id() == farm_id(store) == "f" * 32
    store.close()


def test_a_backup_from_before_there_were_ids_takes_that_of_its_files(
    tmp_path: Path, bucket: Bucket | None
) -> None:
    store = Store.open(tmp_path, None, bucket)
    keep_images(store, "a")
    id_ = farm_id(store)
    become_unbound(store)
    store.close()
    store = Store.open(tmp_path, None, bucket)
    assert store.blobs.farm_id() == farm_id(store) == id_
    store.close()


def test_an_id_that_an_older_version_pruned_is_written_again(
    tmp_path: Path, bucket: Bucket | None
) -> None:
    store = Store.open(tmp_path, None, bucket)
    keep_images(store, "a")
    store.blobs.delete(FARM_ID)
    store.close()
    store = Store.open(tmp_path, None, bucket)
    assert store.blobs.farm_id() == farm_id(store)
    store.close()


@pytest.mark.parametrize("lost", [["a", "b"], ["a", "b", "c"]])
def test_files_that_a_database_without_id_does_not_name_are_not_taken_for_its_own(
    tmp_path: Path, lost: list[str]
) -> None:
    store = Store.open(tmp_path)
    keep_images(store, "a", "b", "c")
    store.blobs.delete(FARM_ID, *(image_key(digit * 64) for digit in lost))
    asyncio.run(store.blobs.put("videos/x/1-1-abc.mp4", b"of another farm"))
    become_unbound(store)
    store.close()
    with pytest.raises(ArtifactsForeign, match=r"know nothing of each other.*write f+ into"):
        Store.open(tmp_path)
    # As the message says.
    (tmp_path / "blobs" / FARM_ID).write_text("f" * 32 + "\n")
    Store.open(tmp_path).close()


def test_a_fresh_database_does_not_take_files_without_an_id(tmp_path: Path) -> None:
    image = tmp_path / "blobs" / image_key("a" * 64)
    image.parent.mkdir(parents=True)
    image.write_bytes(b"of a farm whose database is elsewhere")
    with pytest.raises(ArtifactsForeign, match="one of them is in use"):
        Store.open(tmp_path)


def test_a_first_start_that_was_cut_off_is_made_again(
    tmp_path: Path, bucket: Bucket | None
) -> None:
    store = Store.open(tmp_path, None, bucket)
    id_ = farm_id(store)
    unbound = update(schema.farm).values(bound=False)
    store.database.submit(lambda conn: conn.execute(unbound) and None).result()
    store.close()
    store = Store.open(tmp_path, None, bucket)
    assert farm_id(store) == id_
    store.close()
