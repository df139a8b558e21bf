"""Previews on their way from a worker to whoever watches; everything but the GPU is real."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from farm.gateway.feed import Feed
from farm.gateway.previews import Previews
from farm.gateway.server import Gateway
from farm.jobs.params import PREVIEW_LIMIT_BYTES
from farm.render.fake import FakeRenderer
from farm.render.preview import Previews as Wanted
from farm.render.renderer import Rendered
from farm.store.records import Lease, ShotKey
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Progress, Shot
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller

STEPS = 20


class Counting(FakeRenderer):
    """Counts the previews that it is asked for."""

    def __init__(self, preview: bytes = b"") -> None:
        super().__init__(step_s=0.1)
        self.preview = preview
        self.made_count = 0

    def render(self, *args: Any, previews: Wanted | None = None, **kwargs: Any) -> Rendered:
        assert previews is not None

        def show(preview: bytes) -> None:
            self.made_count += 1
            previews.show(self.preview or preview)

        return super().render(*args, previews=Wanted(previews.wanted, show), **kwargs)


def watch(caller: Caller, job: Job, *, previews: bool) -> Iterator[Shot]:
    request = pb.WatchJobRequest(name=job.name, previews=previews)
    for response in caller.render.WatchJob(request, timeout=60):
        if response.WhichOneof("event") == "shot":
            yield response.shot


@contextmanager
def rendering(gateway: Gateway, folder: Path, renderer: Counting) -> Iterator[None]:
    with running_worker(str(gateway.address), folder, renderer=renderer):
        yield


def test_a_watcher_that_asks_sees_some_previews_of_a_clip(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=STEPS))
    device = Counting()
    watching = watch(caller, job, previews=True)
    assert next(watching).state == Shot.QUEUED
    with rendering(gateway, tmp_path, device):
        shots = list(watching)
    assert 1 <= device.made_count <= 5
    shown = [shot.progress.preview for shot in shots if shot.progress.preview]
    assert Image.open(io.BytesIO(shown[0])).size == (24, 8)
    assert (shots[-1].state, shots[-1].HasField("progress")) == (Shot.SUCCEEDED, False)
    assert gateway._sessions._feed._previews._size_bytes == 0


def test_nobody_pays_for_previews_that_nobody_asked_for(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=8))
    device = Counting()
    with rendering(gateway, tmp_path, device):
        shots = list(watch(caller, job, previews=False))
    assert shots[-1].state == Shot.SUCCEEDED
    assert device.made_count == 0


def test_only_those_get_a_preview_who_asked(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=STEPS))
    plain, asked = watch(caller, job, previews=False), watch(caller, job, previews=True)
    next(plain)
    with rendering(gateway, tmp_path, Counting()):
        assert any(shot.progress.preview for shot in asked)
        (listed,) = caller.shots(job.name)
        got = caller.render.GetShot(pb.GetShotRequest(name=listed.name))
        assert not any(shot.progress.preview for shot in (listed, got, *plain))


def test_a_watcher_may_come_late_and_is_not_made_for_when_it_has_gone(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=60))
    device = Counting()
    with rendering(gateway, tmp_path, device):
        eventually(lambda: caller.shots(job.name)[0].progress.step >= 5)
        assert device.made_count == 0
        watching = watch(caller, job, previews=True)
        assert any(shot.progress.preview for shot in watching)
        watching.close()  # type: ignore[attr-defined]
        eventually(lambda: not gateway._sessions._feed._watched)
        made_count = device.made_count
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert device.made_count <= made_count + 1  # one was on its way


def test_a_preview_that_is_too_large_is_left_out(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=8))
    device = Counting(b"x" * (PREVIEW_LIMIT_BYTES + 1))
    watching = watch(caller, job, previews=True)
    next(watching)
    with rendering(gateway, tmp_path, device):
        shots = list(watching)
    assert device.made_count
    assert shots[-1].state == Shot.SUCCEEDED
    assert not any(shot.progress.preview for shot in shots)


def lease(number: int, attempt: int = 1) -> Lease:
    return Lease(ShotKey("j", number), attempt, "token")


def test_the_oldest_previews_go_where_they_are_too_many() -> None:
    previews = Previews(limit_bytes=25)
    for number in (1, 2):
        assert previews.put(lease(number), b"x" * 10)
    previews.put(lease(1), b"y" * 10)  # it is the newest now
    previews.put(lease(3), b"z" * 10)
    kept = [previews.get(ShotKey("j", number), 1) for number in (1, 2, 3)]
    assert kept == [b"y" * 10, b"", b"z" * 10]


def test_a_preview_is_of_one_attempt() -> None:
    previews = Previews()
    previews.put(lease(1, attempt=2), b"new")
    previews.end(lease(1, attempt=1))
    assert previews.get(ShotKey("j", 1), 1) == b""
    assert previews.get(ShotKey("j", 1), 2) == b"new"
    previews.end(lease(1, attempt=2))
    assert previews.get(ShotKey("j", 1), 2) == b""


@pytest.mark.parametrize(
    ("step_count", "asked"),
    [(1, [0]), (4, [0, 1, 2, 3]), (8, [0, 2, 4, 6]), (25, [0, 5, 10, 15, 20])],
)
def test_a_preview_is_asked_for_every_fifth_of_a_clip(step_count: int, asked: list[int]) -> None:
    feed = Feed()
    with feed.watch("j", previews=True):
        found = []
        for step in range(step_count + 1):
            feed.set_progress(lease(1), Progress(step=step, step_count=step_count))
            if feed.wants_preview(lease(1)):
                found.append(step)
    assert found == asked
    assert not feed.wants_preview(lease(1))
