"""What changes is told to every browser, and asked for once."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx2

from farm.jobs.params import TINY
from farm.render.fake import FakeRenderer
from svdfarm.v1 import render_service_pb2 as pb
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller


class Browser:
    """Reads a stream of events, on a thread of its own."""

    def __init__(self, url: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.ended = threading.Event()
        self._http = httpx2.Client(timeout=60)
        self._stream = self._http.stream("GET", url)
        self._answer = self._stream.__enter__()
        assert self._answer.status_code == 200, self._answer.read()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self._answer.iter_lines():
                if line.startswith("data: "):
                    self.told.append(json.loads(line.removeprefix("data: ")))
        except httpx2.HTTPError:
            pass
        self.ended.set()

    def has(self, fragment_id: str, words: str) -> bool:
        """Whether an element was told that says so."""
        return any(t["id"] == fragment_id and words in t["html"] for t in list(self.told))

    def close(self) -> None:
        self._thread.join(30)
        self._stream.__exit__(None, None, None)
        self._http.close()


def test_many_browsers_share_one_watch(tmp_path: Path) -> None:
    with ExitStack() as stack:
        browsers: list[Browser] = []
        stack.callback(lambda: [browser.close() for browser in browsers])
        gateway = stack.enter_context(running_gateway(tmp_path / "data"))
        channel = stack.enter_context(grpc.insecure_channel(str(gateway.address)))
        caller = Caller(channel)
        job = caller.create(caller.shot(step_count=20), caller.shot("b", step_count=20))
        browsers += [
            Browser(f"http://{gateway.http}/live/{job.name}?first=1&last={last}")
            for last in (1, 2, 2, 2)
        ]
        eventually(lambda: all(b.has("shot-1", "queued") for b in browsers))
        assert gateway._feed.watcher_count == 1
        stack.enter_context(
            running_worker(str(gateway.address), tmp_path, renderer=FakeRenderer(TINY, 0.05))
        )
        eventually(lambda: all(b.has("shot-1-now", "data:image/jpeg") for b in browsers))
        eventually(lambda: all(b.has("shot-1", "<video") for b in browsers))
        eventually(lambda: all(b.has("head", "succeeded") for b in browsers))
        eventually(lambda: browsers[1].has("shot-2", "<video"))
        assert not browsers[0].has("shot-2", "")  # its page does not have it
    assert all(browser.ended.is_set() for browser in browsers)  # as the gateway stopped


def test_the_list_tells_of_jobs_that_come_and_go(tmp_path: Path) -> None:
    with ExitStack() as stack:
        browsers: list[Browser] = []
        stack.callback(lambda: [browser.close() for browser in browsers])
        gateway = stack.enter_context(running_gateway(tmp_path / "data"))
        channel = stack.enter_context(grpc.insecure_channel(str(gateway.address)))
        caller = Caller(channel)
        old = caller.create(caller.shot())
        row = f"job-{old.name.removeprefix('jobs/')}"
        browsers.append(Browser(f"http://{gateway.http}/live/jobs"))
        eventually(lambda: browsers[0].has(row, "queued"))
        new = caller.create(caller.shot())
        eventually(lambda: browsers[0].has(f"job-{new.name.removeprefix('jobs/')}", "queued"))
        assert browsers[0].told[-1]["into"] == "jobs"
        caller.render.CancelJob(pb.CancelJobRequest(name=old.name))
        eventually(lambda: browsers[0].has(row, "cancelled"))
        caller.render.DeleteJob(pb.DeleteJobRequest(name=old.name))
        eventually(lambda: any(t == {"id": row, "html": "", "into": ""} for t in browsers[0].told))


def test_what_is_not_there_is_refused_before_a_stream_begins(http: httpx2.Client) -> None:
    assert http.get("/live/jobs/nothere").status_code == 404
