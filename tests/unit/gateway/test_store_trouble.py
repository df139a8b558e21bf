"""A gateway that cannot keep videos for a while: no shot and no worker pays for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from farm.gateway.server import Gateway
from svdfarm.v1.render_service_pb2 import CancelJobRequest
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller


@contextmanager
def no_place_for_videos(gateway: Gateway) -> Iterator[None]:
    """A file is where the folder of the videos is to be."""
    path = gateway._config.data / "blobs" / "videos"
    path.write_bytes(b"")
    yield
    path.unlink()


@contextmanager
def no_spool(gateway: Gateway) -> Iterator[None]:
    """The folder for what is on its way in is not there."""
    path = gateway._store.spool
    away = path.rename(path.with_suffix(".away"))
    yield
    away.rename(path)


@pytest.mark.parametrize("trouble", [no_place_for_videos, no_spool])
def test_a_video_that_cannot_be_kept_is_brought_again(
    gateway: Gateway,
    caller: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Gateway], AbstractContextManager[None]],
) -> None:
    # More than the second after which a worker dials without delay.
    monkeypatch.setattr("farm.gateway.reports._PAUSE_AFTER_ERROR_S", 1.1)
    monkeypatch.setattr("farm.gateway.upload.MEMORY_BYTES", 0)
    job = caller.create(caller.shot("a"), caller.shot("b"))
    sessions: set[int] = set()

    def dialled_thrice() -> bool:
        sessions.update(w.connect_time.ToNanoseconds() for w in caller.workers())
        return len(sessions) >= 3

    with running_worker(str(gateway.address), tmp_path):
        with trouble(gateway):
            eventually(dialled_thrice)
            assert caller.shots(job.name)[0].state == Shot.RENDERING
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        assert [w.refused_report_count for w in caller.workers()] == [0]
    assert [shot.attempt_count for shot in caller.shots(job.name)] == [1, 1]


@pytest.mark.parametrize("trouble", [no_place_for_videos, no_spool])
def test_a_job_is_cancelled_although_its_video_cannot_be_kept(
    gateway: Gateway,
    caller: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Gateway], AbstractContextManager[None]],
) -> None:
    # As above: one that dials without delay has never left its shot.
    monkeypatch.setattr("farm.gateway.reports._PAUSE_AFTER_ERROR_S", 1.1)
    monkeypatch.setattr("farm.gateway.upload.MEMORY_BYTES", 0)
    job = caller.create(caller.shot("a"))
    with running_worker(str(gateway.address), tmp_path), trouble(gateway):
        eventually(lambda: caller.shots(job.name)[0].state == Shot.RENDERING)
        caller.render.CancelJob(CancelJobRequest(name=job.name))
        assert caller.watch(job.name)[-1].job.state == Job.CANCELLED
    assert caller.shots(job.name)[0].attempt_count == 1
