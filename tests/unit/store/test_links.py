"""A link is good for one key and these bytes alone; what a real S3 server makes of all others."""

from __future__ import annotations

import dataclasses
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from farm.store.bucket import BucketBlobs
from farm.store.errors import ArtifactsUnusable, StoreAway
from farm.store.links import Link, Links
from tests.running import free_port
from tests.s3 import S3Server, faulty

KEY = "videos/a/1-1.mp4"
VIDEO = b"video" * 1000
SHA256 = hashlib.sha256(VIDEO).hexdigest()


def put(link: Link, content: bytes, **other: str | None) -> int:
    headers = link.headers | {name.replace("_", "-"): value for name, value in other.items()}
    with urllib3.PoolManager() as pool:
        sent = {name: value for name, value in headers.items() if value is not None}
        return pool.request("PUT", link.url, body=content, headers=sent).status


async def test_a_link_takes_its_bytes_once(s3: S3Server) -> None:
    bucket = s3.bucket()
    links, blobs = Links(bucket), BucketBlobs(bucket)
    link = links.sign(KEY, SHA256, len(VIDEO), "video/mp4")
    query = parse_qs(urlsplit(link.url).query)
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-SignedHeaders"] == [
        "content-length;content-type;host;if-none-match;x-amz-checksum-sha256"
    ]
    assert put(link, VIDEO) == 200
    assert await blobs.read_whole(KEY) == VIDEO
    assert put(link, VIDEO) == 412
    found = links.find(KEY)
    assert (found.size_bytes, found.sha256) == (len(VIDEO), SHA256)
    links.close()


OTHER = VIDEO[::-1]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (OTHER, {}, 400),
        (VIDEO, {"If_None_Match": None}, 403),
        (VIDEO, {"x_amz_checksum_sha256": None}, 403),
        (OTHER, {"x_amz_checksum_sha256": "A" * 43 + "="}, 403),
        (VIDEO[:10], {"Content_Length": "10"}, 403),
        (VIDEO + b"more", {"Content_Length": "5004"}, 403),
    ],
)
def test_a_link_takes_nothing_else(
    s3: S3Server, content: bytes, headers: dict[str, str | None], status: int
) -> None:
    links = Links(s3.bucket())
    assert put(links.sign(KEY, SHA256, len(VIDEO), "video/mp4"), content, **headers) == status
    with pytest.raises(FileNotFoundError):
        links.find(KEY)
    links.close()


def test_a_try_leaves_nothing_behind(s3: S3Server) -> None:
    bucket = s3.bucket()
    Links.open(bucket).close()
    assert BucketBlobs(bucket).files() == []


def test_a_try_is_repeated_where_the_server_fails(s3: S3Server) -> None:
    with faulty(s3) as faults:
        faults.answers[:], faults.lost_replies = [503, None, 500], 2
        Links.open(dataclasses.replace(s3.bucket(), endpoint=faults.endpoint)).close()
        assert (faults.answers, faults.lost_replies) == ([], 0)


@pytest.mark.parametrize(
    ("method", "answers", "told"),
    [
        ("PUT", [200], "takes other bytes than a link is for"),
        ("PUT", [None, 403], "refuses a PUT by link with status 403"),
        ("PUT", [None, None, 200], "lets a link overwrite what is there"),
        ("HEAD", [200], "does not tell an object's SHA-256"),
    ],
)
def test_a_store_that_cannot_hold_a_link_to_its_word_is_refused(
    s3: S3Server, method: str, answers: list[int | None], told: str
) -> None:
    with faulty(s3) as faults:
        faults.methods, faults.answers[:] = (method,), answers
        bucket = dataclasses.replace(s3.bucket(), endpoint=faults.endpoint)
        with pytest.raises(ArtifactsUnusable, match=f"{told}: .*Leave out --direct-upload"):
            Links.open(bucket)
        assert BucketBlobs(bucket).files() == []


def test_a_store_that_is_away_is_told(s3: S3Server) -> None:
    bucket = dataclasses.replace(s3.bucket(), endpoint=f"http://127.0.0.1:{free_port()}")
    links = Links(bucket)
    with pytest.raises(StoreAway, match="cannot be used"):
        links.find(KEY)
    links.close()
    with pytest.raises(StoreAway, match="cannot be used"):
        Links.open(bucket)
