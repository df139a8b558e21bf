"""A bucket that cannot be used is refused in words; one that fails at times loses nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from farm.store.bucket import Bucket, BucketBlobs
from farm.store.errors import ArtifactsUnusable, StoreAway
from farm.store.store import Store
from tests.running import free_port
from tests.s3 import READ_ONLY_KEYS, S3Server, faulty


@pytest.mark.parametrize(
    ("given", "name", "prefix"),
    [
        ("s3://farm", "farm", ""),
        ("s3://farm/", "farm", ""),
        ("s3://my.farm-1/a/b_c/", "my.farm-1", "a/b_c"),
    ],
)
def test_a_bucket_is_read_from_its_address(given: str, name: str, prefix: str) -> None:
    assert Bucket.read(given) == Bucket(name, prefix)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("/srv/videos", "write s3://BUCKET"),
        ("gs://farm", "write s3://BUCKET"),
        ("s3://", "3 to 63 small letters"),
        ("s3://Farm", "3 to 63 small letters"),
        ("s3://farm/a//b", "prefix 'a//b'; allowed"),
        ("s3://farm/../b", "prefix '../b'; allowed"),
        ("s3://farm/a b", "prefix 'a b'; allowed"),
    ],
)
def test_an_address_that_is_none_is_refused(given: str, told: str) -> None:
    with pytest.raises(ArtifactsUnusable, match=told):
        Bucket.read(given)


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(ArtifactsUnusable, match=r"AWS_ENDPOINT_URL is '127.0.0.1:8333'; write"):
        Bucket.read("s3://farm", "127.0.0.1:8333")


def test_a_bucket_that_is_not_there_is_refused(s3: S3Server, tmp_path: Path) -> None:
    missing = Bucket("nowhere", endpoint=s3.endpoint)
    with pytest.raises(ArtifactsUnusable, match="there is no bucket nowhere: make it"):
        Store.open(tmp_path, None, missing)
    # The folder is free again.
    Store.open(tmp_path, None, s3.bucket()).close()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (READ_ONLY_KEYS, "the keys do not have the right to write to it .AccessDenied."),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not accept the keys .InvalidAccessKeyId."),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "does not accept the keys .SignatureDoesNotMatch."),
    ],
)
def test_keys_without_rights_are_refused(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], told: str
) -> None:
    bucket = s3.bucket()
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArtifactsUnusable, match=told) as refused:
        BucketBlobs.open(bucket)
    assert "wrong" not in str(refused.value)


def test_a_server_that_is_not_there_is_refused(s3: S3Server) -> None:
    nobody = Bucket("farm", endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ArtifactsUnusable, match=r"cannot be used: .*see AWS_ENDPOINT_URL"):
        BucketBlobs.open(nobody)


def test_a_store_that_overwrites_is_refused(s3: S3Server) -> None:
    with faulty(s3) as faults:
        faults.answers[:] = [None, 200]  # to the second PUT with If-None-Match
        bucket = dataclasses.replace(s3.bucket(), endpoint=faults.endpoint)
        with pytest.raises(ArtifactsUnusable, match="lets what is there be overwritten"):
            BucketBlobs.open(bucket)


def test_a_try_leaves_nothing_behind(s3: S3Server) -> None:
    bucket = s3.bucket()
    assert BucketBlobs.open(bucket).files() == []


async def test_two_prefixes_of_a_bucket_know_nothing_of_each_other(s3: S3Server) -> None:
    bucket = s3.bucket()
    one, other = (BucketBlobs(dataclasses.replace(bucket, prefix=name)) for name in ("a", "ab"))
    await one.put("images/x", b"one")
    assert (other.has("images/x"), other.files()) == (False, [])


@pytest.mark.parametrize("states", [[503, 500], [503, 503, 503]])
async def test_errors_of_the_server_are_asked_again(
    s3: S3Server, tmp_path: Path, states: list[int | None]
) -> None:
    path = tmp_path / "clip"
    path.write_bytes(b"video" * 1000)
    with faulty(s3) as faults:
        blobs = BucketBlobs(dataclasses.replace(s3.bucket(), endpoint=faults.endpoint))
        faults.answers[:] = states
        assert await blobs.put("videos/a/1-1.mp4", path)
        assert len(faults.seen) == len(states) + 1
        faults.methods = ("GET", "HEAD", "POST")
        faults.answers[:] = states
        assert await blobs.read_whole("videos/a/1-1.mp4") == path.read_bytes()
        faults.answers[:] = states
        assert blobs.has("videos/a/1-1.mp4")
        faults.answers[:] = states
        blobs.delete("videos/a/1-1.mp4")
        assert not blobs.has("videos/a/1-1.mp4")
        assert faults.answers == []


async def test_a_lost_reply_is_found_out(s3: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(b"video" * 1000)
    with faulty(s3) as faults:
        blobs = BucketBlobs(dataclasses.replace(s3.bucket(), endpoint=faults.endpoint))
        faults.lost_replies = 2
        await blobs.put("videos/a/1-1.mp4", path)
        assert [method for method, _ in faults.seen[:3]] == ["PUT", "PUT", "PUT"]
        assert faults.lost_replies == 0
        assert await blobs.read_whole("videos/a/1-1.mp4") == path.read_bytes()


async def test_a_server_that_stays_away_is_told(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.store.bucket._RETRY_S", 0.5)
    monkeypatch.setattr("farm.store.bucket.PATIENCE_S", 0.5)
    blobs = BucketBlobs(Bucket("farm", endpoint=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StoreAway, match=r"s3://farm at http://127.0.0.1:.* cannot be used"):
        await blobs.put("images/x", b"picture")
    with pytest.raises(StoreAway):
        blobs.has("images/x")
    with pytest.raises(StoreAway):
        await blobs.read_whole("images/x")
