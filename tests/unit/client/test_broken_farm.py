"""The client against servers that break off, lie, or fall silent."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import svdfarm
from svdfarm import Job, JobState
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb
from tests.unit.client.scripted_farm import (
    CHUNK,
    DATA,
    VIDEO,
    Answer,
    Scripted,
    abort,
    client_of,
    job,
    send,
    serving,
    tell,
)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_broken_download_goes_on_where_it_stopped(code: grpc.StatusCode, tmp_path: Path) -> None:
    broken = send(DATA[:CHUNK], then=code)
    servicer = Scripted(DownloadVideo=[broken, abort(grpc.StatusCode.UNAVAILABLE), send(DATA)])
    seen: list[tuple[int, int]] = []

    with client_of(servicer) as client:
        path = client.download(
            VIDEO, tmp_path / "clip.mp4", progress=lambda *bytes_: seen.append(bytes_)
        )

    assert path.read_bytes() == DATA
    assert [request.offset_bytes for request in servicer.requests] == [0, CHUNK, CHUNK]
    assert seen == [(done, len(DATA)) for done in (CHUNK, 2 * CHUNK, len(DATA))]
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (send(DATA[:-1] + b"\0"), "sha256"),
        (send(DATA + b"\0"), "more than"),
        (send(DATA[:CHUNK]), "only 100000 of 256000 bytes"),
        (send(b""), "only 0 of 256000 bytes"),
    ],
)
def test_bytes_that_are_not_the_farms_are_never_kept(
    script: Answer, said: str, tmp_path: Path
) -> None:
    with (
        client_of(Scripted(DownloadVideo=[script])) as client,
        pytest.raises(svdfarm.DownloadBroken, match=said),
    ):
        client.download(VIDEO, tmp_path / "clip.mp4")

    assert list(tmp_path.iterdir()) == []


def test_a_farm_that_never_comes_back_leaves_no_file(tmp_path: Path) -> None:
    broken = send(DATA[:CHUNK], then=grpc.StatusCode.UNAVAILABLE)
    servicer = Scripted(DownloadVideo=[broken, abort(grpc.StatusCode.UNAVAILABLE)])

    with client_of(servicer, connect_timeout_s=0.3) as client, pytest.raises(svdfarm.Unreachable):
        client.download(VIDEO, tmp_path / "clip.mp4")

    assert list(tmp_path.iterdir()) == []


def test_the_same_bytes_are_not_downloaded_again(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(DATA)
    servicer = Scripted(DownloadVideo=[send(DATA)])

    with client_of(servicer) as client:
        client.download(VIDEO, target)

    assert servicer.requests == []


def test_another_file_is_replaced_only_when_told(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"precious")

    with client_of(Scripted(DownloadVideo=[send(DATA)])) as client:
        with pytest.raises(svdfarm.TargetExists):
            client.download(VIDEO, target)
        kept = target.read_bytes()
        client.download(VIDEO, target, overwrite=True)

    assert kept == b"precious"
    assert target.read_bytes() == DATA


# A limit on the size of files stands in for a full disk: both end a write half way.
FULL_DISK = """
import resource, sys, svdfarm
size, sha256, address, target = int(sys.argv[1]), *sys.argv[2:]
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
video = svdfarm.Video("jobs/j/shots/s/video", "video/mp4", size, sha256, 1)
try:
    svdfarm.Client(address).download(video, target)
except svdfarm.DiskFull as error:
    print(error)
"""


def test_a_full_disk_leaves_no_file_and_no_part_of_one(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"

    with serving(Scripted(DownloadVideo=[send(DATA)])) as address:
        ended = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(len(DATA)), VIDEO.sha256, address, target],
            capture_output=True,
            text=True,
            check=True,
        )

    assert str(target) in ended.stdout
    assert "no space left" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_broken_watch_goes_on_after_the_last_change_it_saw() -> None:
    servicer = Scripted(
        WatchJob=[
            tell(
                job(pb.Job.QUEUED, "1"), job(pb.Job.RUNNING, "2"), then=grpc.StatusCode.UNAVAILABLE
            ),
            tell(),  # an orderly end that comes too early
            tell(job(pb.Job.SUCCEEDED, "3")),
        ]
    )

    with client_of(servicer) as client:
        states = [event.state for event in client.job("j").watch(timeout_s=30)]

    assert states == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
    assert [request.resume_token for request in servicer.requests] == ["", "2", "2"]


def test_what_the_farm_repeats_after_a_break_is_told_once() -> None:
    servicer = Scripted(
        WatchJob=[
            tell(job(pb.Job.RUNNING, "1"), then=grpc.StatusCode.UNAVAILABLE),
            tell(job(pb.Job.RUNNING, "1"), job(pb.Job.SUCCEEDED, "2")),
        ]
    )

    with client_of(servicer) as client:
        states = [event.state for event in client.job("j").watch(timeout_s=30)]

    assert states == [JobState.RUNNING, JobState.SUCCEEDED]


def test_a_token_that_is_too_old_starts_the_watch_again() -> None:
    servicer = Scripted(
        WatchJob=[
            tell(job(pb.Job.RUNNING, "old"), then=grpc.StatusCode.UNAVAILABLE),
            tell(then=grpc.StatusCode.OUT_OF_RANGE),
            tell(job(pb.Job.FAILED, "9")),
        ]
    )

    with client_of(servicer) as client:
        ended = client.job("j").wait(timeout_s=30)

    assert ended.state is JobState.FAILED
    assert [request.resume_token for request in servicer.requests] == ["", "old", ""]


def test_a_state_of_a_later_version_counts_as_running() -> None:
    servicer = Scripted(WatchJob=[tell(job(99, "1"), job(pb.Job.CANCELLED, "2"))])

    with client_of(servicer) as client:
        states = [event.state for event in client.job("j").watch(timeout_s=30)]

    assert states == [JobState.RUNNING, JobState.CANCELLED]


def test_an_abandoned_watch_is_cancelled_at_the_server() -> None:
    def endless(_: object, __: grpc.ServicerContext) -> Iterator[rpc.WatchJobResponse]:
        yield job(pb.Job.RUNNING, "1")
        servicer.cancelled.wait(30)

    servicer = Scripted(WatchJob=[endless])

    with client_of(servicer) as client:
        events = client.job("j").watch()
        assert isinstance(next(events), Job)
        # An error that somebody keeps holds the call alive: collection would cancel it too late.
        with pytest.raises(KeyError) as kept:
            events.throw(KeyError())
        assert servicer.cancelled.wait(10)
        assert kept.tb is not None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, svdfarm.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, svdfarm.Unauthenticated),
        (grpc.StatusCode.NOT_FOUND, svdfarm.NotFound),
        (grpc.StatusCode.INVALID_ARGUMENT, svdfarm.Rejected),
        (grpc.StatusCode.ALREADY_EXISTS, svdfarm.Rejected),
        (grpc.StatusCode.FAILED_PRECONDITION, svdfarm.Rejected),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, svdfarm.ResourceExhausted),
        (grpc.StatusCode.INTERNAL, svdfarm.FarmFailed),
        (grpc.StatusCode.UNKNOWN, svdfarm.FarmFailed),
        (grpc.StatusCode.UNIMPLEMENTED, svdfarm.FarmFailed),
    ],
)
def test_every_error_but_unavailable_is_told_at_once(
    code: grpc.StatusCode, kind: type[svdfarm.SvdfarmError]
) -> None:
    servicer = Scripted(GetJob=[abort(code)])

    with client_of(servicer) as client, pytest.raises(kind) as caught:
        client.job("j").get()

    assert type(caught.value) is kind
    assert "as the script says" in str(caught.value)
    assert len(servicer.requests) == 1


def test_unavailable_is_tried_again() -> None:
    away = abort(grpc.StatusCode.UNAVAILABLE)
    servicer = Scripted(GetJob=[away, away, lambda *_: pb.Job(name="jobs/j", state=pb.Job.QUEUED)])

    with client_of(servicer) as client:
        assert client.job("j").get().state is JobState.QUEUED

    assert len(servicer.requests) == 3


def test_a_client_that_was_closed_says_so_at_once() -> None:
    hang = threading.Event()

    def answer(*_: object) -> Iterator[rpc.WatchJobResponse]:
        yield job(pb.Job.RUNNING, "1")
        hang.wait(30)

    with client_of(Scripted(WatchJob=[answer])) as client:
        events = client.job("j").watch()
        assert isinstance(next(events), Job)
        client.close()
        with pytest.raises(svdfarm.FarmFailed):
            next(events)
    hang.set()


def test_a_farm_that_never_answers_is_given_up() -> None:
    hang = threading.Event()
    servicer = Scripted(GetJob=[lambda *_: hang.wait(30)])

    with client_of(servicer, call_timeout_s=0.3) as client:
        with pytest.raises(svdfarm.DeadlineExceeded):
            client.job("j").get()
        hang.set()
