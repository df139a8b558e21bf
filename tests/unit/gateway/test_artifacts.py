"""A farm that keeps its images and videos in a bucket of a real S3-compatible server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from farm.store.bucket import Bucket, BucketBlobs
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import eventually, running_gateway, running_worker
from tests.s3 import S3Server, faulty
from tests.unit.gateway.conftest import Caller


@contextmanager
def farm(data: Path, bucket: Bucket) -> Iterator[Caller]:
    """A gateway on this bucket, and one worker."""
    with (
        running_gateway(data, artifacts=bucket) as gateway,
        running_worker(str(gateway.address), data.parent),
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        yield Caller(channel)


def kept(bucket: Bucket) -> list[str]:
    """What is in the bucket, by the folder of its key."""
    return sorted(file.key.split("/")[0] for file in BucketBlobs(bucket).files())


def test_a_job_lives_in_a_bucket_until_it_is_deleted(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.bucket()
    with farm(tmp_path / "data", bucket) as caller:
        job = caller.create(caller.shot("one"), caller.shot("two", seed=8))
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        assert kept(bucket) == ["images", "videos", "videos"]
        video = caller.shots(job.name)[0].video
        whole = caller.download(video.name)
        assert len(whole) == video.size_bytes
        assert caller.download(video.name, 100) == whole[100:]
        caller.render.DeleteJob(pb.DeleteJobRequest(name=job.name))
        assert kept(bucket) == ["images"]  # somebody may just be about to use it
    assert not (tmp_path / "data" / "blobs").exists()


def test_a_bucket_outlives_its_gateway(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.bucket()
    with farm(tmp_path / "data", bucket) as caller:
        job = caller.create(caller.shot())
        caller.watch(job.name)
        whole = caller.download(caller.shots(job.name)[0].video.name)
    with farm(tmp_path / "data", bucket) as caller:
        assert caller.download(caller.shots(job.name)[0].video.name) == whole


def test_a_server_that_fails_at_times_costs_no_attempt(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.bucket()
    with faulty(s3) as faults:
        with farm(
            tmp_path / "data", dataclasses.replace(bucket, endpoint=faults.endpoint)
        ) as caller:
            job = caller.create(*(caller.shot(f"s{n}") for n in range(3)))
            faults.answers[:] = [503, None, 500]
            faults.lost_replies = 2
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            assert [shot.attempt_count for shot in caller.shots(job.name)] == [1, 1, 1]
            assert (faults.answers, faults.lost_replies) == ([], 0)
        assert kept(bucket) == ["images", *["videos"] * 3]


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_server_that_is_away_for_longer_loses_nothing(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("farm.store.bucket._RETRY_S", 0.2)
    monkeypatch.setattr("farm.store.bucket.PATIENCE_S", 1.2)
    with faulty(s3) as faults:
        bucket = dataclasses.replace(s3.bucket(), endpoint=faults.endpoint)
        with farm(tmp_path / "data", bucket) as caller:
            shot = caller.shot()
            faults.methods = (method,)
            faults.answers[:] = [503] * 1000
            job = caller.create(shot)
            # More often than a shot may be tried.
            eventually(lambda: len(faults.answers) < 990)
            assert caller.shots(job.name)[0].state in (Shot.QUEUED, Shot.RENDERING)
            faults.answers.clear()
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            (shot,) = caller.shots(job.name)
            assert shot.attempt_count <= (6 if method == "GET" else 1)
            assert len(caller.download(shot.video.name)) == shot.video.size_bytes
