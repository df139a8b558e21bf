"""Pause, resume, requeue and what else an owner may ask for; everything but the GPU is real."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from farm.gateway.server import Gateway
from farm.jobs.params import RenderParams
from farm.render.errors import ParamsRejected
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller, reason


def test_a_paused_job_finishes_what_renders_and_starts_nothing(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("a", step_count=30), caller.shot("b"))
    watch = caller.render.WatchJob(pb.WatchJobRequest(name=job.name), timeout=60)
    with running_worker(str(gateway.address), tmp_path, step_s=0.02):
        eventually(lambda: caller.shots(job.name)[0].state == Shot.RENDERING)
        paused = caller.render.PauseJob(pb.PauseJobRequest(name=job.name))
        assert paused.state == Job.PAUSED
        assert "; those that render now finish" in paused.notice
        assert Job.PAUSED in (r.job.state for r in watch)  # its watchers see it
        eventually(lambda: caller.shots(job.name)[0].state == Shot.SUCCEEDED)
        # The worker is free, and takes a job that came later.
        other = caller.create(caller.shot())
        assert caller.watch(other.name)[-1].job.state == Job.SUCCEEDED
        assert caller.shots(job.name)[1].attempt_count == 0
        caller.render.ResumeJob(pb.ResumeJobRequest(name=job.name))
        assert list(watch)[-1].job.state == Job.SUCCEEDED


def test_a_job_that_is_being_cancelled_cannot_be_paused(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=200))
    with running_worker(str(gateway.address), tmp_path, step_s=0.2):
        eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        caller.render.CancelJob(pb.CancelJobRequest(name=job.name))
        with pytest.raises(grpc.RpcError) as refused:
            caller.render.PauseJob(pb.PauseJobRequest(name=job.name))
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason(refused.value) == "JOB_CANCELLING"


def test_a_shot_that_renders_is_cancelled_alone_and_its_worker_takes_the_next(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("bad", step_count=200), caller.shot("good"))
    with running_worker(str(gateway.address), tmp_path, step_s=0.1):
        eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        request = pb.CancelJobRequest(name=job.name, shots=[f"{job.name}/shots/1"])
        assert caller.render.CancelJob(request).state == Job.RUNNING
        last = caller.watch(job.name)[-1].job
    assert (last.state, last.cancelled_shot_count) == (Job.SUCCEEDED, 1)
    assert [s.state for s in caller.shots(job.name)] == [Shot.CANCELLED, Shot.SUCCEEDED]


def test_a_shot_is_cancelled_while_its_worker_is_away(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=200), caller.shot())
    with running_worker(str(gateway.address), tmp_path, step_s=0.05) as worker:
        eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        session = worker._session
        assert session is not None
        with worker._lock:  # it cannot greet the gateway again before the cancel
            session.close()
            request = pb.CancelJobRequest(name=job.name, shots=[f"{job.name}/shots/1"])
            caller.render.CancelJob(request)
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert [s.state for s in caller.shots(job.name)] == [Shot.CANCELLED, Shot.SUCCEEDED]


@pytest.mark.parametrize(
    ("shots", "code", "told"),
    [
        (["jobs/other/shots/1"], grpc.StatusCode.INVALID_ARGUMENT, "allowed: shots of jobs/"),
        (["{job}/shots/2"], grpc.StatusCode.NOT_FOUND, "shots/2"),
    ],
)
def test_a_cancel_of_shots_that_the_job_does_not_have_is_refused(
    caller: Caller, shots: list[str], code: grpc.StatusCode, told: str
) -> None:
    job = caller.create(caller.shot())
    named = [shot.format(job=job.name) for shot in shots]
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.CancelJob(pb.CancelJobRequest(name=job.name, shots=named))
    assert refused.value.code() == code
    assert told in str(refused.value.details())
    assert caller.shots(job.name)[0].state == Shot.QUEUED


def test_a_requeued_job_is_rendered_and_watched_to_its_new_end(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    class Impossible(FakeRenderer):
        def render(self, image: bytes, params: RenderParams, *_: object, **__: object) -> Rendered:
            raise ParamsRejected("not here")

    job = caller.create(caller.shot("a"), caller.shot("b"))
    with running_worker(str(gateway.address), tmp_path, renderer=Impossible()):
        told = caller.watch(job.name)
    assert told[-1].job.state == Job.FAILED
    request = pb.RequeueJobRequest(name=job.name, shots=[f"{job.name}/shots/2"])
    answer = caller.render.RequeueJob(request)
    assert (answer.requeued_shot_count, answer.job.state) == (1, Job.RUNNING)
    assert caller.render.RequeueJob(request).requeued_shot_count == 0
    # An old token leads into the new round.
    resumed = caller.render.WatchJob(
        pb.WatchJobRequest(name=job.name, resume_token=told[-1].resume_token), timeout=60
    )
    assert next(resumed).shot.state == Shot.QUEUED
    with running_worker(str(gateway.address), tmp_path):
        last = list(resumed)[-1].job
    assert (last.state, last.succeeded_shot_count, last.failed_shot_count) == (Job.FAILED, 1, 1)
    shots = caller.shots(job.name)
    assert [(s.state, s.attempt_count) for s in shots] == [(Shot.FAILED, 1), (Shot.SUCCEEDED, 2)]
    request.shots[:] = [shots[1].name]
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.RequeueJob(request)
    assert reason(refused.value) == "SHOT_NOT_REQUEUED"


@pytest.mark.parametrize(
    ("states", "shots", "told"),
    [
        ([Shot.SUCCEEDED], [], "states has SUCCEEDED; allowed: CANCELLED, FAILED"),
        ([Shot.FAILED, 77], [], "states has 77; allowed: CANCELLED, FAILED"),
        ([], ["shots/1"], "shots[0] is 'shots/1'; allowed: jobs/ID/shots/NUMBER"),
        ([], ["jobs/other/shots/1"], "shots[0] is 'jobs/other/shots/1'; allowed: shots of jobs/"),
    ],
)
def test_a_requeue_of_what_cannot_be_requeued_is_refused(
    caller: Caller, states: list[Shot.State.ValueType], shots: list[str], told: str
) -> None:
    job = caller.create(caller.shot())
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.RequeueJob(pb.RequeueJobRequest(name=job.name, states=states, shots=shots))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert told in str(refused.value.details())


def test_only_what_the_mask_names_is_changed(caller: Caller) -> None:
    job = caller.create(caller.shot())
    wanted = Job(name=job.name, display_name="other", priority=9)
    request = pb.UpdateJobRequest(job=wanted, update_mask=FieldMask(paths=["priority"]))
    updated = caller.render.UpdateJob(request)
    assert (updated.priority, updated.display_name) == (9, "a job")
    # Zero is a priority too.
    request.job.priority = 0
    request.update_mask.paths.append("display_name")
    updated = caller.render.UpdateJob(request)
    assert (updated.priority, updated.display_name) == (0, "other")


@pytest.mark.parametrize(
    ("paths", "job", "told"),
    [
        ([], Job(), "update_mask is empty; allowed: display_name, priority"),
        (["priority", "state"], Job(), "update_mask has 'state'; allowed: display_name, priority"),
        (["*"], Job(), "update_mask has '*'; allowed: display_name, priority"),
        (["priority"], Job(priority=101), "job.priority is 101; allowed: from 0 to 100"),
        (["display_name"], Job(display_name="x" * 129), "job.display_name is longer than 128"),
    ],
)
def test_what_cannot_be_changed_is_refused(
    caller: Caller, paths: list[str], job: Job, told: str
) -> None:
    before = caller.create(caller.shot())
    job = Job(name=before.name, priority=job.priority, display_name=job.display_name)
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.UpdateJob(pb.UpdateJobRequest(job=job, update_mask=FieldMask(paths=paths)))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert told in str(refused.value.details())
    assert caller.job(before.name) == before
