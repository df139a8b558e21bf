"""What a worker logs of an attempt, from its lines to the gateway's answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from farm.cluster.attempt_log import AttemptLog
from farm.gateway.attempt_log import from_stored, to_stored
from farm.gateway.server import Gateway
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from farm.wire import LOG_BYTES, LOG_LINES, bound_log
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb
from svdfarm.v1.resources_pb2 import Attempt, Job, LogLine
from tests.running import running_worker
from tests.unit.gateway.conftest import Caller

TOKEN = "a-token-of-this-farm-alone"


def new_log(*secrets: str) -> AttemptLog:
    return AttemptLog(
        session_pb.Lease(shot="jobs/j/shots/1", attempt=1, token="t0k3n"), "w", secrets
    )


def attempts(caller: Caller, parent: str, *, log: bool = True) -> list[Attempt]:
    request = pb.ListAttemptsRequest(parent=parent, log=log)
    return list(caller.render.ListAttempts(request).attempts)


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield Caller(channel)


def test_a_long_log_keeps_its_newest_lines_and_tells_how_many_are_missing() -> None:
    log = new_log()
    for n in range(1000):
        log.info("something", n=n)
    lines = log.lines()
    assert len(lines) == LOG_LINES
    assert (lines[0].event, lines[0].fields["lines"]) == ("log.left_out", "901")
    assert [line.fields["n"] for line in lines[1:]] == [str(n) for n in range(901, 1000)]
    assert bound_log(lines) == lines


def test_large_lines_are_cut_and_fewer_of_them_kept() -> None:
    log = new_log()
    for n in range(9):
        log.warning("much", told="x" * 10_000 + f" end {n}")
    lines = log.lines()
    assert sum(line.ByteSize() for line in lines) <= LOG_BYTES
    kept = [line.fields["told"][-5:] for line in lines[1:]]
    assert 3 <= len(kept) < 9
    assert kept == [f"end {n}" for n in range(9 - len(kept), 9)]
    assert int(lines[0].fields["lines"]) == 9 - len(kept)


def test_secrets_are_in_no_line() -> None:
    log = new_log(TOKEN)
    log.hide("X-Amz-Signature=abc")
    log.warning("upload.failed", error="https://bucket/key?X-Amz-Signature=abc")
    log.error("render.failed", ValueError(f"{TOKEN} and t0k3n"))
    told = str(log.lines())
    for secret in (TOKEN, "t0k3n", "X-Amz-Signature=abc"):
        assert secret not in told
    assert told.count("[secret]") == 5  # of the error two, in its words and where it was raised


def test_what_a_worker_sends_is_bounded_again_and_made_storable() -> None:
    lines = [LogLine(level="info", event=f"e{n}", fields={"a\0": "b" * 100}) for n in range(5000)]
    back = from_stored(to_stored(lines))
    assert len(back) == LOG_LINES
    assert back[0].fields["lines"] == "4901"
    assert dict(back[-1].fields) == {"a�": "b" * 100}
    assert to_stored([]) is None
    assert from_stored(None) == []


class FailsOnce(FakeRenderer):
    """A device that fails its first shot."""

    failed = False

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        if not self.failed:
            self.failed = True
            raise ValueError("a hiccup")
        return super().render(*args, **kwargs)


def test_each_attempt_keeps_what_its_worker_logged(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path, renderer=FailsOnce()):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    failed, succeeded = attempts(caller, job.name)
    assert [line.event for line in failed.log] == ["shot.started", "render.failed"]
    assert failed.log[1].level == "error"
    assert failed.log[1].fields["error"] == "ValueError: a hiccup"
    assert "in render" in failed.log[1].fields["where"]
    assert [line.event for line in succeeded.log] == ["shot.started", "shot.rendered"]
    assert set(succeeded.log[1].fields) == {"size_bytes", "denoise_s", "write_s"}
    times = [line.time.ToNanoseconds() for line in (*failed.log, *succeeded.log)]
    assert times == sorted(times)
    assert [list(attempt.log) for attempt in attempts(caller, job.name, log=False)] == [[], []]


def test_a_cancelled_shot_keeps_its_log(gateway: Gateway, caller: Caller, tmp_path: Path) -> None:
    job = caller.create(caller.shot(step_count=50))
    with running_worker(str(gateway.address), tmp_path, step_s=0.05):
        for told in caller.render.WatchJob(pb.WatchJobRequest(name=job.name), timeout=60):
            if told.shot.progress.step >= 1:
                caller.render.CancelJob(pb.CancelJobRequest(name=job.name))
        assert caller.job(job.name).state == Job.CANCELLED
    (attempt,) = attempts(caller, job.name)
    assert [line.event for line in attempt.log] == ["shot.started", "shot.stopped"]


def test_attempts_with_their_logs_come_in_smaller_pages(
    gateway: Gateway, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.render_service._LOGS_A_PAGE", 2)
    job = caller.create(*(caller.shot(seed=seed) for seed in range(3)))
    with running_worker(str(gateway.address), tmp_path):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    request = pb.ListAttemptsRequest(parent=job.name, page_size=1000, log=True)
    first = caller.render.ListAttempts(request)
    request.page_token = first.next_page_token
    last = caller.render.ListAttempts(request)
    assert (len(first.attempts), len(last.attempts)) == (2, 1)
    assert all(attempt.log for attempt in (*first.attempts, *last.attempts))
    request.page_token, request.log = "", False
    assert len(caller.render.ListAttempts(request).attempts) == 3


@pytest.mark.parametrize("seconds", [-9 * 10**15, -1, 9 * 10**15])
def test_a_time_that_no_timestamp_has_does_not_stop_the_log_from_being_read(seconds: int) -> None:
    line = LogLine(level="info", event="odd")
    line.time.seconds = seconds
    (back,) = from_stored(to_stored([line]))
    assert 1970 <= back.time.ToDatetime().year <= 9999
