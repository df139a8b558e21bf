"""What a tenant learns of another's work: nothing. Only the GPU is fake."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_status import rpc_status

from farm.gateway.server import Gateway
from farm.jobs.params import TINY
from farm.render.fake import FakeRenderer
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import running_gateway, running_worker
from tests.unit.gateway.conftest import Caller, reason
from tests.unit.gateway.tenancy import FARM_TOKEN, add_tenant, by_token

KNOWN = replace(TINY, identity="weights-1")
METHODS = pb.DESCRIPTOR.services_by_name["RenderService"].methods_by_name

# What each method is asked about a job, by the job's name.
ASKED: dict[str, Callable[[str], Any]] = {
    "GetJob": lambda job: pb.GetJobRequest(name=job),
    "UpdateJob": lambda job: pb.UpdateJobRequest(
        job=Job(name=job, display_name="mine"), update_mask=FieldMask(paths=["display_name"])
    ),
    "DeleteJob": lambda job: pb.DeleteJobRequest(name=job),
    "CancelJob": lambda job: pb.CancelJobRequest(name=job),
    "PauseJob": lambda job: pb.PauseJobRequest(name=job),
    "ResumeJob": lambda job: pb.ResumeJobRequest(name=job),
    "RequeueJob": lambda job: pb.RequeueJobRequest(name=job),
    "WatchJob": lambda job: pb.WatchJobRequest(name=job, previews=True),
    "GetShot": lambda job: pb.GetShotRequest(name=f"{job}/shots/1"),
    "ListShots": lambda job: pb.ListShotsRequest(parent=job),
    "ListAttempts": lambda job: pb.ListAttemptsRequest(parent=job),
    "DownloadVideo": lambda job: pb.DownloadVideoRequest(name=f"{job}/shots/1/video"),
}
# What it is asked about an image.
ASKED_OF_IMAGE: dict[str, Callable[[str], Any]] = {
    "GetImage": lambda image: pb.GetImageRequest(name=image),
    "DownloadImage": lambda image: pb.DownloadImageRequest(name=image),
    "CreateJob": lambda image: pb.CreateJobRequest(shots=[Shot(image=image)]),
}
NAMES_NOTHING = {"UploadImage", "EstimateJob", "ListJobs", "PruneJobs"}  # see the tests below


@dataclass
class Farm:
    """A gateway with a worker, and its tenants."""

    gateway: Gateway
    channel: grpc.Channel

    def __post_init__(self) -> None:
        self.operator = by_token(self.channel, FARM_TOKEN)
        self.a, self.b = self.caller("a"), self.caller("b")

    def caller(self, tenant: str) -> Caller:
        """Somebody of a tenant."""
        return by_token(self.channel, add_tenant(self.gateway, tenant))


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Farm]:
    """Without a worker."""
    yield from _farm(tmp_path)


@pytest.fixture
def farm(quiet: Farm, tmp_path: Path) -> Iterator[Farm]:
    with running_worker(
        str(quiet.gateway.address), tmp_path, renderer=FakeRenderer(KNOWN), token=FARM_TOKEN
    ):
        yield quiet


def _farm(tmp_path: Path, **settings: object) -> Iterator[Farm]:
    with (
        running_gateway(tmp_path / "data", token=FARM_TOKEN, **settings) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        yield Farm(gateway, channel)


def refusal(caller: Caller, method: str, request: Any) -> Any:
    """What a call of RenderService is answered."""
    with pytest.raises(grpc.RpcError) as caught:
        _ask(caller, method, request)
    return rpc_status.from_call(caught.value)


def _ask(caller: Caller, method: str, request: Any) -> None:
    answer = getattr(caller.render, method)(request, timeout=20)
    if METHODS[method].server_streaming:
        list(answer)


def told(status: Any, name: str) -> str:
    """All that a refusal says, to people and to programs, but for the name."""
    details = " ".join(repr(detail) for detail in status.details)
    return f"{status.code} {status.message} {details}".replace(name, "NAME")


def succeeded(caller: Caller, *shots: Shot) -> Job:
    job = caller.create(*shots)
    assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    return job


def test_every_method_is_looked_at() -> None:
    assert set(METHODS) == {*ASKED, *ASKED_OF_IMAGE, *NAMES_NOTHING}


def test_another_tenants_job_is_missing_in_the_words_of_one_that_never_was(farm: Farm) -> None:
    job = succeeded(farm.a, farm.a.shot())
    before = farm.a.job(job.name)
    nobodys = f"jobs/{'x' * len(job.name.removeprefix('jobs/'))}"
    for method, ask in ASKED.items():
        of_a = refusal(farm.b, method, ask(job.name))
        assert of_a.code == grpc.StatusCode.NOT_FOUND.value[0], method
        assert told(of_a, job.name) == told(refusal(farm.b, method, ask(nobodys)), nobodys), method
    assert farm.a.job(job.name) == before
    assert farm.a.download(f"{job.name}/shots/1/video")


def test_an_operator_sees_every_tenants_jobs_and_whose_they_are(farm: Farm) -> None:
    of_a = succeeded(farm.a, farm.a.shot())
    of_b = succeeded(farm.b, farm.b.shot())
    own = farm.operator.create(farm.operator.shot())
    listed = farm.operator.render.ListJobs(pb.ListJobsRequest()).jobs
    assert [(job.name, job.tenant) for job in listed] == [
        (own.name, "default"),
        (of_b.name, "b"),
        (of_a.name, "a"),
    ]
    assert farm.operator.download(f"{of_a.name}/shots/1/video")


def test_another_tenants_image_is_missing_until_the_same_is_uploaded(quiet: Farm) -> None:
    image, nobodys = quiet.a.upload(), f"images/{'0' * 64}"
    for method, ask in ASKED_OF_IMAGE.items():
        assert told(refusal(quiet.b, method, ask(image)), image) == told(
            refusal(quiet.b, method, ask(nobodys)), nobodys
        ), method
    assert quiet.b.upload() == image
    assert quiet.b.render.GetImage(pb.GetImageRequest(name=image)).name == image
    assert quiet.b.create(quiet.b.shot()).shot_count == 1


def test_an_operators_job_may_have_any_image_which_is_then_its_tenants_too(quiet: Farm) -> None:
    image = quiet.a.upload()
    job = quiet.operator.render.CreateJob(pb.CreateJobRequest(shots=[Shot(image=image)]))
    assert job.tenant == "default"
    others = quiet.caller("default")
    assert others.render.GetImage(pb.GetImageRequest(name=image)).name == image
    assert refusal(quiet.b, "GetImage", pb.GetImageRequest(name=image)).code == 5


def test_a_request_id_is_a_tenants_own(quiet: Farm) -> None:
    request_id = str(uuid.uuid4())
    of_a = quiet.a.create(quiet.a.shot(), request_id=request_id)
    of_b = quiet.b.create(quiet.b.shot(seed=3), request_id=request_id)
    own = quiet.operator.create(quiet.operator.shot(seed=4), request_id=request_id)
    assert len({of_a.name, of_b.name, own.name}) == 3
    assert quiet.a.create(quiet.a.shot(), request_id=request_id).name == of_a.name
    with pytest.raises(grpc.RpcError) as caught:
        quiet.b.create(quiet.b.shot(seed=5), request_id=request_id)
    assert reason(caught.value) == "REQUEST_ID_REUSED"
    assert of_b.name in str(caught.value)


def test_a_list_has_a_tenants_own_jobs_and_its_tokens_tell_no_more(quiet: Farm) -> None:
    shot_a, shot_b = quiet.a.shot(), quiet.b.shot()
    of_a = []
    for _ in range(3):
        of_a.append(quiet.a.create(shot_a).name)
        quiet.b.create(shot_b)
    page = quiet.a.render.ListJobs(pb.ListJobsRequest(page_size=2))
    assert [job.name for job in page.jobs] == of_a[:0:-1]
    same = quiet.a.render.ListJobs(pb.ListJobsRequest(page_size=2))
    assert page.next_page_token != same.next_page_token  # not a number of the farm's
    for token in (page.next_page_token, same.next_page_token):
        last = quiet.a.render.ListJobs(pb.ListJobsRequest(page_size=2, page_token=token))
        assert ([job.name for job in last.jobs], last.next_page_token) == (of_a[:1], "")
        assert refusal(quiet.b, "ListJobs", pb.ListJobsRequest(page_token=token)).code == 3
    assert refusal(quiet.b, "ListJobs", pb.ListJobsRequest(page_token="2")).code == 3


def test_a_watch_is_resumed_by_its_own_tenant_alone(farm: Farm) -> None:
    job = succeeded(farm.a, farm.a.shot())
    other = succeeded(farm.b, farm.b.shot())
    token = farm.a.watch(job.name)[-1].resume_token
    assert not token.isdecimal()
    assert [event.job.name for event in farm.a.watch(job.name, token)] == [job.name]
    asked = pb.WatchJobRequest(name=other.name, resume_token=token)
    assert refusal(farm.b, "WatchJob", asked).code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_what_another_tenant_has_rendered_is_rendered_again(farm: Farm) -> None:
    first = succeeded(farm.a, farm.a.shot())
    (shot,) = farm.b.shots(succeeded(farm.b, farm.b.shot()).name)
    assert (shot.attempt_count, shot.cached_from) == (1, "")
    (again,) = farm.a.shots(succeeded(farm.a, farm.a.shot()).name)
    assert (again.attempt_count, again.cached_from) == (0, f"{first.name}/shots/1")


def test_a_shared_cache_serves_every_tenant_and_tells_nobody_whose_it_was(
    tmp_path: Path,
) -> None:
    for farm in _farm(tmp_path, share_cache=True):
        address = str(farm.gateway.address)
        with running_worker(address, tmp_path, renderer=FakeRenderer(KNOWN), token=FARM_TOKEN):
            first = succeeded(farm.a, farm.a.shot())
            (shot,) = farm.b.shots(succeeded(farm.b, farm.b.shot()).name)
            assert (shot.attempt_count, shot.cached_from) == (0, "")
            farm.a.render.DeleteJob(pb.DeleteJobRequest(name=first.name))
            assert farm.b.download(shot.video.name)


def test_an_estimate_knows_a_tenants_own_work_alone(farm: Farm) -> None:
    succeeded(farm.a, farm.a.shot())

    def asked(caller: Caller) -> pb.JobEstimate:
        shot = farm.a.shot(seed=99)
        return caller.render.EstimateJob(pb.EstimateJobRequest(shots=[shot]))

    assert asked(farm.a).unknown_shot_count == 0
    assert asked(farm.b).unknown_shot_count == 1
    cached = pb.EstimateJobRequest(shots=[farm.a.shot()])
    assert farm.a.render.EstimateJob(cached).cached_shot_count == 1
    assert farm.b.render.EstimateJob(cached).cached_shot_count == 0


def test_what_others_have_queued_is_not_told(quiet: Farm) -> None:
    quiet.a.create(quiet.a.shot(), quiet.a.shot(seed=8))
    asked = pb.EstimateJobRequest(shots=[quiet.a.shot(seed=9)])
    assert quiet.b.render.EstimateJob(asked) == quiet.b.render.EstimateJob(asked)
    assert quiet.b.create(quiet.b.shot()).notice == quiet.a.create(quiet.a.shot()).notice


def test_a_short_job_does_not_wait_for_anothers_flood(quiet: Farm, tmp_path: Path) -> None:
    shot = quiet.a.shot()
    flood = quiet.a.create(*(_other(shot, seed) for seed in range(100)))
    short = quiet.b.create(quiet.b.shot())
    with running_worker(
        str(quiet.gateway.address), tmp_path, renderer=FakeRenderer(KNOWN), token=FARM_TOKEN
    ):
        assert quiet.b.watch(short.name)[-1].job.state == Job.SUCCEEDED
        assert quiet.a.job(flood.name).succeeded_shot_count < 50


def _other(shot: Shot, seed: int) -> Shot:
    other = Shot(image=shot.image, params=shot.params)
    other.params.seed = seed
    return other


def test_a_low_disk_is_told_without_its_numbers(
    tmp_path: Path,
) -> None:
    for farm in _farm(tmp_path, disk_reserve_bytes=2**60):
        with pytest.raises(grpc.RpcError) as caught:
            farm.a.upload()
        assert reason(caught.value) == "DISK_LOW"
        assert caught.value.details() == (
            "the farm's disk is low: try again later, or ask an operator"
        )
        with pytest.raises(grpc.RpcError, match=f"the disk of {tmp_path}"):
            farm.operator.upload()


def test_a_prune_is_of_a_tenants_own(farm: Farm) -> None:
    of_a, of_b = succeeded(farm.a, farm.a.shot()), succeeded(farm.b, farm.b.shot())
    pruned = farm.b.render.PruneJobs(pb.PruneJobsRequest(older_than=Duration()))
    assert (pruned.job_count, pruned.video_count, pruned.image_count) == (1, 1, 0)
    assert refusal(farm.b, "GetJob", pb.GetJobRequest(name=of_b.name)).code == 5
    assert farm.a.job(of_a.name).state == Job.SUCCEEDED
    assert farm.a.download(f"{of_a.name}/shots/1/video")
