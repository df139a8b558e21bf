"""What the gateway tells of each try at a shot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Attempt, Job
from tests.running import running_worker
from tests.unit.gateway.conftest import Caller


class FailsFirst(FakeRenderer):
    """A device that fails its first shot."""

    failed = False

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        if not self.failed:
            self.failed = True
            raise ValueError("a hiccup")
        return super().render(*args, **kwargs)


def attempts(caller: Caller, parent: str, page_size: int = 0) -> list[Attempt]:
    request = pb.ListAttemptsRequest(parent=parent, page_size=page_size)
    found: list[Attempt] = []
    while True:
        page = caller.render.ListAttempts(request)
        found += page.attempts
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def test_each_attempt_says_who_took_how_long_and_what_came_of_it(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("a"), caller.shot("b", seed=8))
    assert attempts(caller, job.name) == []
    with running_worker(str(gateway.address), tmp_path, renderer=FailsFirst()):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        (worker,) = caller.workers()
    found = attempts(caller, job.name)
    told = [(a.name.removeprefix(job.name), a.outcome, a.worker) for a in found]
    assert told == [
        ("/shots/1/attempts/1", "INTERNAL", worker.name),
        ("/shots/1/attempts/2", "SUCCEEDED", worker.name),
        ("/shots/2/attempts/1", "SUCCEEDED", worker.name),
    ]
    assert [a.message for a in found] == ["ValueError: a hiccup", "", ""]
    shots = caller.shots(job.name)
    assert found[1].duration == shots[0].render_duration
    for attempt in found:
        times = (attempt.claim_time, attempt.start_time, attempt.end_time)
        assert sorted(time.ToNanoseconds() for time in times) == [t.ToNanoseconds() for t in times]
    assert found[0].duration.ToNanoseconds() == pytest.approx(
        found[0].end_time.ToNanoseconds() - found[0].start_time.ToNanoseconds(), abs=2_000
    )


def test_attempts_come_in_pages_and_of_one_shot_alone(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(*(caller.shot(seed=seed) for seed in range(5)))
    other = caller.create(caller.shot(seed=9))
    with running_worker(str(gateway.address), tmp_path):
        for name in (job.name, other.name):
            assert caller.watch(name)[-1].job.state == Job.SUCCEEDED
    whole = attempts(caller, job.name)
    assert [a.name for a in whole] == [f"{job.name}/shots/{n}/attempts/1" for n in range(1, 6)]
    assert attempts(caller, job.name, page_size=2) == whole
    assert attempts(caller, f"{job.name}/shots/3") == whole[2:3]


@pytest.mark.parametrize(
    ("parent", "code"),
    [
        ("jobs/none", grpc.StatusCode.NOT_FOUND),
        ("jobs/none/shots/1", grpc.StatusCode.NOT_FOUND),
        ("shots/1", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_attempts_of_nothing_are_refused(
    caller: Caller, parent: str, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        attempts(caller, parent)
    assert refused.value.code() is code
