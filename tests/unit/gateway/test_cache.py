"""Shots that were rendered before get the video that is there; only the GPU is fake."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.jobs.params import TINY
from farm.jobs.retry import MemoryProfile
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller
from tests.unit.gateway.test_retry_rule import Small

KNOWN = replace(TINY, identity="weights-1")


class Counting(FakeRenderer):
    """A device that counts what it renders."""

    def __init__(self, identity: str = KNOWN.identity) -> None:
        super().__init__(replace(TINY, identity=identity))
        self.count = 0

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        self.count += 1
        return super().render(*args, **kwargs)


@pytest.fixture
def device(gateway: Gateway, tmp_path: Path) -> Iterator[Counting]:
    device = Counting()
    with running_worker(str(gateway.address), tmp_path, renderer=device):
        yield device


def render(caller: Caller, *shots: Shot, skip_cache: bool = False) -> list[Shot]:
    request = pb.CreateJobRequest(shots=shots, skip_cache=skip_cache)
    job = caller.render.CreateJob(request)
    assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    return caller.shots(job.name)


def test_the_same_shot_again_gets_the_same_video_at_once(caller: Caller, device: Counting) -> None:
    (first,) = render(caller, caller.shot("a"))
    job = caller.create(caller.shot("b"))
    assert (job.state, job.succeeded_shot_count) == (Job.SUCCEEDED, 1)
    assert job.HasField("end_time")
    (again,) = caller.shots(job.name)
    assert device.count == 1
    assert (again.cached_from, first.cached_from) == (first.name, "")
    assert (again.attempt_count, again.display_name) == (0, "b")
    assert again.video.sha256 == first.video.sha256
    assert caller.download(again.video.name) == caller.download(first.video.name)
    (third,) = render(caller, caller.shot("c"))
    assert third.cached_from == first.name  # the one that was rendered


@pytest.mark.parametrize(
    "other", [{"seed": 8}, {"step_count": 3}, {"motion_bucket_id": 20}, {"playback_fps": 9}]
)
def test_another_setting_is_another_clip(
    caller: Caller, device: Counting, other: dict[str, int]
) -> None:
    render(caller, caller.shot())
    (shot,) = render(caller, caller.shot(**other))
    assert (device.count, shot.cached_from) == (2, "")


def test_a_job_renders_only_what_is_not_there(caller: Caller, device: Counting) -> None:
    render(caller, caller.shot(seed=1), caller.shot(seed=2))
    shots = render(caller, caller.shot(seed=1), caller.shot(seed=3), caller.shot(seed=2))
    assert device.count == 3
    assert [bool(shot.cached_from) for shot in shots] == [True, False, True]


def test_without_the_cache_it_is_rendered_again(caller: Caller, device: Counting) -> None:
    render(caller, caller.shot())
    (shot,) = render(caller, caller.shot(), skip_cache=True)
    assert (device.count, shot.cached_from) == (2, "")


def test_other_weights_of_the_same_name_make_another_clip(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    for identity in ("weights-1", "weights-2", ""):
        device = Counting(identity)
        with running_worker(str(gateway.address), tmp_path, renderer=device):
            eventually(lambda: [w for w in caller.workers() if w.models])
            (shot,) = render(caller, caller.shot())
        eventually(lambda: not caller.workers())
        assert (device.count, shot.cached_from) == (1, "")


def test_a_video_outlives_the_job_that_it_was_rendered_for(
    gateway: Gateway, caller: Caller, device: Counting
) -> None:
    (first,) = render(caller, caller.shot())
    video = caller.download(first.video.name)
    (again,) = render(caller, caller.shot())
    caller.render.DeleteJob(pb.DeleteJobRequest(name=first.name.partition("/shots")[0]))
    with pytest.raises(grpc.RpcError):
        caller.download(first.video.name)
    assert caller.download(again.video.name) == video
    caller.render.DeleteJob(pb.DeleteJobRequest(name=again.name.partition("/shots")[0]))
    assert not list((gateway._config.data / "blobs" / "videos").rglob("*.mp4"))
    (last,) = render(caller, caller.shot())  # forgotten with the job that it was rendered for
    assert (device.count, last.cached_from) == (2, "")


def test_the_newest_rendering_is_the_one_that_is_shared(caller: Caller, device: Counting) -> None:
    render(caller, caller.shot())
    (newest,) = render(caller, caller.shot(), skip_cache=True)
    (shared,) = render(caller, caller.shot())
    assert shared.cached_from == newest.name


def test_a_video_whose_file_is_lost_is_shared_no_more(
    gateway: Gateway, caller: Caller, device: Counting
) -> None:
    (first,) = render(caller, caller.shot())
    (file,) = (gateway._config.data / "blobs" / "videos").rglob("*.mp4")
    file.unlink()
    with pytest.raises(grpc.RpcError) as lost:
        caller.download(first.video.name)
    assert lost.value.code() is grpc.StatusCode.NOT_FOUND
    (again,) = render(caller, caller.shot())
    assert (device.count, again.cached_from) == (2, "")
    assert caller.download(again.video.name)


def test_a_request_id_with_another_wish_about_the_cache_is_refused(
    caller: Caller, device: Counting
) -> None:
    key = str(uuid.uuid4())
    request = pb.CreateJobRequest(shots=[caller.shot()], request_id=key)
    name = caller.render.CreateJob(request).name
    assert caller.render.CreateJob(request).name == name
    request.skip_cache = True
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.CreateJob(request)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_clip_that_was_computed_with_less_memory_is_not_taken_for_another(
    tmp_path: Path,
) -> None:
    with running_gateway(tmp_path / "data") as gateway:
        device = Small(MemoryProfile.SMALLEST)
        device.info = KNOWN
        with (
            grpc.insecure_channel(str(gateway.address)) as channel,
            running_worker(str(gateway.address), tmp_path, renderer=device),
        ):
            caller = Caller(channel)
            render(caller, caller.shot())
            (again,) = render(caller, caller.shot())
            assert again.cached_from == ""


def test_an_estimate_counts_what_is_there(caller: Caller, device: Counting) -> None:
    render(caller, caller.shot(seed=1))
    shots = [caller.shot(seed=1), caller.shot(seed=2)]
    told = caller.render.EstimateJob(pb.EstimateJobRequest(shots=shots))
    assert (told.shot_count, told.cached_shot_count) == (2, 1)
    known = caller.render.EstimateJob(pb.EstimateJobRequest(shots=shots[:1]))
    assert known.HasField("finish_time")
    assert known.gpu_duration_ahead.ToNanoseconds() == 0
    every = caller.render.EstimateJob(pb.EstimateJobRequest(shots=shots, skip_cache=True))
    assert every.cached_shot_count == 0
    assert every.gpu_duration.ToNanoseconds() == pytest.approx(
        2 * told.gpu_duration.ToNanoseconds(), abs=2_000
    )
