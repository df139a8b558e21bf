"""What the gateway says that a job would take, before anybody submits it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from farm.gateway.server import Gateway
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import SMALL, Caller

UNKNOWN_IMAGE = f"images/{'0' * 64}"


def estimate(caller: Caller, *params: dict[str, int], priority: int = 0) -> pb.JobEstimate:
    shots = []
    for given in params:
        shot = Shot(image=UNKNOWN_IMAGE, params=SMALL)
        for name, value in given.items():
            setattr(shot.params, name, value)
        shots.append(shot)
    request = pb.EstimateJobRequest(job=Job(priority=priority), shots=shots)
    return caller.render.EstimateJob(request)


def test_a_farm_without_a_history_cannot_tell(caller: Caller) -> None:
    told = estimate(caller, {}, {"seed": 8})
    assert (told.shot_count, told.unknown_shot_count, told.worker_count) == (2, 2, 0)
    assert not told.HasField("finish_time")
    assert told.gpu_duration.ToNanoseconds() == 0


def test_a_job_takes_what_such_shots_took(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    before = caller.create(*(caller.shot(seed=seed) for seed in range(3)))
    with running_worker(str(gateway.address), tmp_path, step_s=0.05):
        assert caller.watch(before.name)[-1].job.state == Job.SUCCEEDED
        took_s = sorted(s.render_duration.ToNanoseconds() for s in caller.shots(before.name))[1]
        told = estimate(caller, {}, {"seed": 8})
        assert told.gpu_duration.ToNanoseconds() == pytest.approx(2 * took_s, abs=2_000)
        assert (told.unknown_shot_count, told.scaled_shot_count, told.worker_count) == (0, 0, 1)
        assert told.finish_time.ToNanoseconds() > before.create_time.ToNanoseconds()
        assert estimate(caller, {"step_count": 5}).gpu_duration.ToNanoseconds() == pytest.approx(
            took_s * 6 / 3, abs=2_000
        )
        assert estimate(caller, {"step_count": 5}).scaled_shot_count == 1
    assert caller.job(before.name).shot_count == 3
    assert len(caller.render.ListJobs(pb.ListJobsRequest()).jobs) == 1  # none was made


def test_what_goes_first_is_told(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    with running_worker(str(gateway.address), tmp_path):
        done = caller.create(caller.shot())
        assert caller.watch(done.name)[-1].job.state == Job.SUCCEEDED
    eventually(lambda: not caller.workers())
    each = estimate(caller, {}).gpu_duration.ToNanoseconds()
    caller.create(*(caller.shot(seed=seed) for seed in range(4)))
    ahead = estimate(caller, {}).gpu_duration_ahead.ToNanoseconds()
    assert ahead == pytest.approx(4 * each, abs=4_000)
    assert estimate(caller, {}, priority=1).gpu_duration_ahead.ToNanoseconds() == 0


def test_a_job_that_would_be_refused_is_refused(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        estimate(caller, {}, {"width_px": 65})
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "width_px" in (refused.value.details() or "")
