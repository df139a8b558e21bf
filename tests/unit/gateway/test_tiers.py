"""Shots of the fast tier go to workers that say they have it; only the GPU is fake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.gateway.workers import Worker, Workers
from farm.jobs.params import TINY
from farm.render.fake import FakeRenderer
from farm.render.receipt import Receipt, read_receipt
from farm.store import claims
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2
from svdfarm.v1.resources_pb2 import Job
from svdfarm.v1.session_service_pb2 import GetDemandRequest
from svdfarm.v1.session_service_pb2_grpc import SessionServiceStub
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller

KNOWN = dataclasses.replace(TINY, identity="weights-1")
OLD = FakeRenderer(KNOWN)  # of a version before tiers
NEW = FakeRenderer(dataclasses.replace(KNOWN, tiers=("fast",)))


def test_a_worker_from_before_tiers_is_given_no_fast_shot(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    address = str(gateway.address)
    with running_worker(address, tmp_path, renderer=OLD):
        fast = caller.create(caller.shot("fast", tier="fast"))
        exact = caller.create(caller.shot("exact"))
        assert caller.watch(exact.name)[-1].job.state == Job.SUCCEEDED
        waiting = caller.job(fast.name)
        assert waiting.state == Job.QUEUED
        assert "serves tiny/fast; its shots wait" in waiting.notice
        with running_worker(address, tmp_path, renderer=NEW):
            assert caller.watch(fast.name)[-1].job.state == Job.SUCCEEDED
    (shot,) = caller.shots(fast.name)
    assert shot.params.tier == "fast"
    path = tmp_path / "fast.mp4"
    path.write_bytes(caller.download(shot.video.name))
    assert Receipt.from_json(read_receipt(path)).params.tier == "fast"


def test_a_fast_clip_is_cached_apart_from_the_exact_one(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    with running_worker(str(gateway.address), tmp_path, renderer=NEW):
        for tier in ("exact", "fast"):
            job = caller.create(caller.shot(tier, tier=tier))
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            assert caller.shots(job.name)[0].cached_from == ""
        again = {
            tier: caller.shots(caller.create(caller.shot(tier, tier=tier)).name)[0]
            for tier in ("", "exact", "fast")
        }
    assert again[""].cached_from == again["exact"].cached_from != again["fast"].cached_from
    assert again["fast"].cached_from


def test_a_worker_counts_once_for_its_model_and_the_model_is_the_default(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    with running_worker(str(gateway.address), tmp_path, renderer=NEW):
        eventually(lambda: any(worker.models for worker in caller.workers()))
        shot = caller.shot()
        shot.params.model = ""
        (made,) = caller.shots(caller.create(shot).name)
    assert (made.params.model, made.params.tier) == ("tiny", "exact")


def test_a_worker_that_a_fast_shot_may_go_to_instead_is_known_by_its_tiers() -> None:
    workers = Workers()
    workers.join(Worker("other", resources_pb2.Worker(), models={"tiny": NEW.info}))
    assert [view.models for view in workers.staying()] == [{"tiny", "tiny/fast"}]


def test_a_queued_shot_has_the_shape_of_its_tier(gateway: Gateway, caller: Caller) -> None:
    caller.create(caller.shot("fast", tier="fast"))
    found = gateway._store.database.submit(claims.queue, ["tiny/fast"], 9, ["default"]).result()
    assert [shot.candidate.shape.model for shot in found] == ["tiny/fast"]


def test_an_unknown_tier_is_refused(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError, match=r"shots\[0\].tier is 'draft'; allowed: exact, fast"):
        caller.create(caller.shot(tier="draft"))


def test_a_group_of_old_workers_is_not_scaled_for_fast_shots(caller: Caller) -> None:
    caller.create(caller.shot("exact"), caller.shot("fast", tier="fast"))
    stub = SessionServiceStub(caller.channel)

    def queued(*tiers: str) -> int:
        request = GetDemandRequest(model="tiny", group="one", shot_limit=9, tiers=tiers)
        return stub.GetDemand(request).queued_shot_count

    assert (queued(), queued("fast")) == (1, 2)


def test_an_estimate_of_fast_shots_comes_from_fast_ones(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    with running_worker(str(gateway.address), tmp_path, renderer=NEW):
        job = caller.create(caller.shot("exact"))
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED

        def told(tier: str) -> pb.JobEstimate:
            shot = caller.shot(tier, tier=tier, seed=8)
            return caller.render.EstimateJob(pb.EstimateJobRequest(shots=[shot]))

        exact, fast = told("exact"), told("fast")
    assert (exact.unknown_shot_count, fast.unknown_shot_count) == (0, 1)
    assert exact.worker_count == fast.worker_count == 1
