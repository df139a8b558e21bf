"""A gateway and workers with fake GPUs: everything else is real."""

from __future__ import annotations

import hashlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from farm.gateway import intake
from farm.gateway.server import Gateway
from farm.jobs.params import SVD, TINY, ModelInfo, RenderParams
from farm.render.errors import ClipNotFinite
from farm.render.fake import FakeRenderer
from farm.render.probe import probe_video
from farm.render.receipt import read_receipt
from farm.render.renderer import Rendered
from farm.store.records import NewJob
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import worker_service_pb2
from svdfarm.v1.resources_pb2 import Job, Shot, Worker
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller


def test_a_job_becomes_videos(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    job = caller.create(caller.shot("one"), caller.shot("two", seed=8))
    assert (job.state, job.shot_count) == (Job.QUEUED, 2)
    with running_worker(str(gateway.address), tmp_path):
        told = caller.watch(job.name)
    assert told[-1].job.state == Job.SUCCEEDED
    assert told[-1].job.succeeded_shot_count == 2
    for shot in caller.shots(job.name):
        assert shot.state == Shot.SUCCEEDED
        video = caller.download(shot.video.name)
        assert len(video) == shot.video.size_bytes
        assert hashlib.sha256(video).hexdigest() == shot.video.sha256
        path = tmp_path / shot.output_name
        path.write_bytes(video)
        facts = probe_video(path)
        assert (facts.frame_count, facts.width_px, facts.height_px) == (3, 64, 64)
        assert read_receipt(path)["inputs"]["settings"]["seed"] == shot.params.seed


def test_a_download_goes_on_at_an_offset(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path):
        caller.watch(job.name)
    (shot,) = caller.shots(job.name)
    whole = caller.download(shot.video.name)
    assert caller.download(shot.video.name, 1000) == whole[1000:]
    assert caller.download(shot.video.name, len(whole)) == b""
    with pytest.raises(grpc.RpcError, match="offset_bytes"):
        caller.download(shot.video.name, len(whole) + 1)


def test_watch_tells_every_step_and_ends_with_the_job(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=6))
    with running_worker(str(gateway.address), tmp_path, step_s=0.15):
        told = caller.watch(job.name)
    steps = [r.shot.progress.step for r in told if r.shot.state == Shot.RENDERING]
    assert steps == sorted(steps)
    assert len(set(steps)) > 3
    assert told[-1].job.state == Job.SUCCEEDED
    again = caller.watch(job.name, told[-1].resume_token)
    assert [r.WhichOneof("event") for r in again] == ["job"]


def test_an_ended_job_is_told_shots_first(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    job = caller.create(caller.shot("a"), caller.shot("b"))
    with running_worker(str(gateway.address), tmp_path):
        caller.watch(job.name)
    # A caller that stops at the final state has seen every shot.
    assert [r.WhichOneof("event") for r in caller.watch(job.name)] == ["shot", "shot", "job"]


def test_resumed_watch_misses_nothing(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    job = caller.create(*(caller.shot(f"s{n}") for n in range(6)))
    stream = caller.render.WatchJob(pb.WatchJobRequest(name=job.name), timeout=60)
    with running_worker(str(gateway.address), tmp_path, step_s=0.05):
        seen: dict[str, int] = {}
        token = ""
        for response in stream:
            token = response.resume_token
            if response.WhichOneof("event") == "shot":
                seen[response.shot.name] = response.shot.state
            if list(seen.values()).count(Shot.SUCCEEDED) == 2:
                stream.cancel()
                break
        for response in caller.watch(job.name, token):
            if response.WhichOneof("event") == "shot":
                seen[response.shot.name] = response.shot.state
    assert set(seen.values()) == {Shot.SUCCEEDED}
    assert len(seen) == 6


def test_shots_are_shared_between_workers(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    address = str(gateway.address)
    with (
        running_worker(address, tmp_path, step_s=0.05),
        running_worker(address, tmp_path, step_s=0.05),
    ):
        eventually(lambda: len(caller.workers()) == 2)
        job = caller.create(*(caller.shot(f"s{n}") for n in range(6)))
        caller.watch(job.name)
    assert len({shot.worker for shot in caller.shots(job.name)}) == 2


def test_cancel_ends_waiting_and_rendering_shots(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("a", step_count=200), caller.shot("b"))
    with running_worker(str(gateway.address), tmp_path, step_s=0.05):
        eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        cancelled = caller.render.CancelJob(pb.CancelJobRequest(name=job.name))
        assert cancelled.state == Job.CANCELLING
        told = caller.watch(job.name)
        assert told[-1].job.state == Job.CANCELLED
        assert [s.state for s in caller.shots(job.name)] == [Shot.CANCELLED] * 2
        # The worker is free again.
        after = caller.create(caller.shot("after"))
        assert caller.watch(after.name)[-1].job.state == Job.SUCCEEDED


def test_broken_clips_fail_the_shot_and_say_why(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    class Broken(FakeRenderer):
        def render(self, image: bytes, params: RenderParams, *_: object, **__: object) -> Rendered:
            raise ClipNotFinite("NaN in the latents")

    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path, renderer=Broken()):
        assert caller.watch(job.name)[-1].job.state == Job.FAILED
    (shot,) = caller.shots(job.name)
    assert (shot.error.reason, shot.error.message) == ("CLIP_NOT_FINITE", "NaN in the latents")
    assert shot.attempt_count == 2


def test_a_video_of_the_wrong_length_is_never_published(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    class Short(FakeRenderer):
        def render(self, image: bytes, params: RenderParams, *_: object, **__: object) -> Rendered:
            whole = super().render(image, params)
            return Rendered(whole.frames[:2], params, whole.durations_s, whole.receipt)

    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path, renderer=Short()):
        assert caller.watch(job.name)[-1].job.state == Job.FAILED
    (shot,) = caller.shots(job.name)
    assert shot.error.reason == "VIDEO_BROKEN"
    assert not shot.HasField("video")
    assert list((tmp_path / "data" / "blobs").glob("videos/**/*.mp4")) == []
    assert list((tmp_path / "data" / "spool").glob("*/*.part")) == []


def test_a_model_that_nobody_serves_waits_and_says_so(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(model="svd-xt"))
    assert "svd-xt" in caller.job(job.name).notice
    svd_xt = ModelInfo("svd-xt", 1024, 576, 25)
    with running_worker(str(gateway.address), tmp_path, model=TINY):
        eventually(lambda: caller.workers())
        assert "svd-xt" in caller.job(job.name).notice
        with running_worker(str(gateway.address), tmp_path, model=svd_xt):
            told = caller.watch(job.name)
    assert (told[-1].job.state, told[-1].job.notice) == (Job.SUCCEEDED, "")


def test_a_drained_worker_ends_its_shot_and_takes_no_more(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("a", step_count=20), caller.shot("b"))
    with running_worker(str(gateway.address), tmp_path, step_s=0.05) as worker:
        eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        request = worker_service_pb2.DrainWorkerRequest(name=f"workers/{worker.id}")
        assert caller.worker.DrainWorker(request).state == Worker.DRAINING
        with running_worker(str(gateway.address), tmp_path) as other:
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        assert [shot.worker for shot in caller.shots(job.name)] == [
            f"workers/{worker.id}",
            f"workers/{other.id}",
        ]


def test_a_worker_that_must_leave_hands_its_shot_back(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("a", step_count=200))
    with running_worker(str(gateway.address), tmp_path, step_s=0.05) as worker:
        eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        worker.drain(0.1)
        assert caller.shots(job.name)[0].state == Shot.QUEUED


def test_the_same_request_is_one_job(caller: Caller) -> None:
    request_id = str(uuid.uuid4())
    shot = caller.shot()
    shot.params.ClearField("seed")
    first = caller.create(shot, request_id=request_id)
    assert caller.create(shot, request_id=request_id).name == first.name
    with pytest.raises(grpc.RpcError) as refused:
        caller.create(shot, caller.shot("other"), request_id=request_id)
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS


def test_jobs_are_listed_newest_first_in_pages(caller: Caller) -> None:
    shot = caller.shot()
    names = [caller.create(shot).name for _ in range(5)]
    page = caller.render.ListJobs(pb.ListJobsRequest(page_size=3))
    rest = caller.render.ListJobs(pb.ListJobsRequest(page_size=3, page_token=page.next_page_token))
    assert [job.name for job in (*page.jobs, *rest.jobs)] == names[::-1]
    assert rest.next_page_token == ""


def test_deleting_a_job_deletes_its_videos(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot())
    delete = pb.DeleteJobRequest(name=job.name)
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.DeleteJob(delete)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    with running_worker(str(gateway.address), tmp_path):
        caller.watch(job.name)
    videos = tmp_path / "data" / "blobs" / "videos"
    assert len(list(videos.glob("**/*.mp4"))) == 1
    caller.render.DeleteJob(delete)
    assert list(videos.glob("**/*.mp4")) == []
    with pytest.raises(grpc.RpcError) as gone:
        caller.job(job.name)
    assert gone.value.code() == grpc.StatusCode.NOT_FOUND


def test_progress_goes_on_after_a_resumed_watch(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("a", step_count=30))
    with running_worker(str(gateway.address), tmp_path, step_s=0.1):
        stream = caller.render.WatchJob(pb.WatchJobRequest(name=job.name), timeout=60)
        token = next(r.resume_token for r in stream if r.shot.progress.step > 1)
        stream.cancel()
        steps = {r.shot.progress.step for r in caller.watch(job.name, token)}
    assert len(steps) > 5


def test_a_token_ahead_of_the_log_is_out_of_range(caller: Caller) -> None:
    job = caller.create(caller.shot())
    with pytest.raises(grpc.RpcError) as refused:
        caller.watch(job.name, "999999")
    assert refused.value.code() == grpc.StatusCode.OUT_OF_RANGE


@pytest.mark.parametrize("moment", range(10))
def test_a_cancel_at_any_moment_ends_the_job(
    gateway: Gateway, caller: Caller, tmp_path: Path, moment: int
) -> None:
    with running_worker(str(gateway.address), tmp_path, step_s=0.02):
        eventually(caller.workers)
        job = caller.create(caller.shot(step_count=20))
        threading.Event().wait(moment * 0.004)
        caller.render.CancelJob(pb.CancelJobRequest(name=job.name))
        assert caller.watch(job.name)[-1].job.state == Job.CANCELLED
        after = caller.create(caller.shot())
        assert caller.watch(after.name)[-1].job.state == Job.SUCCEEDED


def test_the_default_model_is_the_most_served_one(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    address = str(gateway.address)
    with ExitStack() as workers:
        for model in (TINY, SVD, SVD):
            workers.enter_context(running_worker(address, tmp_path, model=model))
        eventually(lambda: [len(w.models) for w in caller.workers()] == [1, 1, 1])
        shot = caller.shot()
        shot.params.model = ""
        job = caller.create(shot)
        assert caller.shots(job.name)[0].params.model == "svd"


def test_a_large_job_that_is_read_holds_nobody_up(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, answered = threading.Event(), threading.Event()
    read_job = intake.read_job

    def slow(*given: Any) -> NewJob:
        reading.set()
        assert answered.wait(10)
        return read_job(*given)

    monkeypatch.setattr(intake, "read_job", slow)
    shot = caller.shot()
    with ThreadPoolExecutor(1) as threads:
        created = threads.submit(caller.create, shot)
        assert reading.wait(10)
        caller.render.ListJobs(pb.ListJobsRequest(), timeout=5)
        answered.set()
        assert created.result().shot_count == 1
