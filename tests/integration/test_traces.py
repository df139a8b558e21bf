"""Spans of real processes, as an OpenTelemetry collector gets them: docs/TRACES.md's promise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from svdfarm import Client, JobState, NewShot, RenderParams, ShotState
from tests.otlp import Collector, Span, grpc_collector, http_collector
from tests.running import IMAGES, eventually

TOKEN = "a-secret-that-no-span-has"
SMALL = RenderParams(model="tiny", width_px=64, height_px=64, frame_count=3, step_count=4)
INTERNAL, SERVER, CLIENT = 1, 2, 3  # Span.SpanKind
CREATE = "svdfarm.v1.RenderService/CreateJob"

# A real agent, whose device fails its first shot and needs a while for each step.
WORKER = """
import signal, sys, tempfile
from pathlib import Path
from farm.cluster.agent import Agent
from farm.logs import configure_logs
from farm.render.fake import FakeRenderer
from farm.tracing import configure_traces, flush

class FailsOnce(FakeRenderer):
    failed = False

    def render(self, *args, **kwargs):
        if not self.failed:
            self.failed = True
            raise MemoryError("cannot read secrets/plan.txt")
        return super().render(*args, **kwargs)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
configure_logs()
configure_traces("svdfarm-worker", "test")
with tempfile.TemporaryDirectory() as folder:
    agent = Agent(sys.argv[1], sys.argv[2], folder=Path(folder))
    agent.start()
    agent.serve(FailsOnce(step_s=0.02))
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    agent.stop()
    flush()
"""
# A program of somebody's, with spans of its own.
PROGRAM = """
import sys
from farm.tracing import configure_traces, span
from svdfarm import Client, NewShot, RenderParams
configure_traces("program", "1")
params = RenderParams(model="tiny", width_px=64, height_px=64, frame_count=3, step_count=4)
with Client(sys.argv[1], sys.argv[2]) as client, span("my film", "INTERNAL", "", {}):
    shot = NewShot(sys.argv[3], params, name="plan-of-the-bank")
    job = client.submit([shot], display_name="the heist")
    print(job.name)
    for video in job.videos() if sys.argv[4:] else ():
        video.save(sys.argv[4])
"""


@dataclass
class Farm:
    """Its processes, each told where the collector is."""

    collector: Collector
    environment: Mapping[str, str]
    folder: Path
    address: str = ""
    http: str = ""

    @contextmanager
    def running(self, name: str, *command: str) -> Iterator[str]:
        """A process for the length of a with block; what it said first."""
        with (self.folder / f"{name}.log").open("a") as stderr:
            process = subprocess.Popen(
                [sys.executable, *command],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **self.environment},
            )
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            process.stdout.close()

    @contextmanager
    def gateway(self) -> Iterator[None]:
        data = ["--data", str(self.folder / "data"), "--token", TOKEN]
        ports = ["--address", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        with self.running("gateway", "-m", "farm", "gateway", *ports, *data) as ready:
            self.address = ready.removeprefix("ready ")
            lines = map(json.loads, (self.folder / "gateway.log").read_text().splitlines())
            self.http = next(line["http"] for line in lines if line["event"] == "gateway.ready")
            yield

    @contextmanager
    def worker(self) -> Iterator[None]:
        with self.running("worker", "-c", WORKER, self.address, TOKEN):
            yield

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()


@pytest.fixture(params=["grpc", "http/protobuf"])
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Farm]:
    make = grpc_collector if request.param == "grpc" else http_collector
    with make() as (collector, endpoint):
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": request.param,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        yield Farm(collector, environment, tmp_path)


def tree(spans: list[Span], parent: str = "", depth: int = 0) -> Iterator[str]:
    """Every span under its parent, in the order of their beginnings."""
    for span in spans:
        if span.parent == parent:
            yield f"{'  ' * depth}{span.service} {span.name}{' !' if span.error else ''}"
            yield from tree(spans, span.id, depth + 1)


def test_a_shot_that_was_retried_is_one_tree_from_program_to_publish(farm: Farm) -> None:
    with farm.gateway():
        image = str(IMAGES / "rocket.jpg")
        job = farm.run("-c", PROGRAM, farm.address, TOKEN, image)
        with farm.worker(), Client(farm.address, TOKEN) as client:
            client.job(job).wait(timeout_s=60)
    spans = farm.collector.spans

    shot = f"{job}/shots/1"
    assert list(tree(spans)) == [
        "program my film",
        "  program submit",
        "    program svdfarm.v1.RenderService/GetImage",
        "      svdfarm-gateway svdfarm.v1.RenderService/GetImage",
        "    program svdfarm.v1.RenderService/UploadImage",
        "      svdfarm-gateway svdfarm.v1.RenderService/UploadImage",
        f"    program {CREATE}",
        f"      svdfarm-gateway {CREATE}",
        "        svdfarm-gateway shot",
        "          svdfarm-gateway queue",
        "          svdfarm-gateway attempt !",
        "            svdfarm-worker wait",
        "            svdfarm-worker render !",
        "          svdfarm-gateway queue",
        "          svdfarm-gateway attempt",
        "            svdfarm-worker wait",
        "            svdfarm-worker render",
        "              svdfarm-worker denoise",
        "            svdfarm-worker write",
        "            svdfarm-gateway upload",
        "            svdfarm-gateway publish",
    ]
    assert len({span.trace for span in spans}) == 1
    assert len({span.id for span in spans}) == len(spans)

    found = {(span.name, span.attributes.get("svdfarm.attempt")): span for span in spans}
    whole = found["shot", None]
    assert whole.attributes == {
        "svdfarm.shot": shot,
        "svdfarm.state": "SUCCEEDED",
        "svdfarm.attempts": 2,
        "svdfarm.model": "tiny",
    }
    first, second = found["attempt", 1], found["attempt", 2]
    assert (first.attributes["svdfarm.outcome"], first.attributes["error.type"]) == (
        "OUT_OF_MEMORY",
        "OUT_OF_MEMORY",
    )
    assert second.attributes["svdfarm.outcome"] == "SUCCEEDED"
    assert found["queue", 1].attributes["svdfarm.shape"] == "cold"
    assert found["upload", 2].attributes["svdfarm.video_bytes"] > 1000
    denoise = found["denoise", None]
    assert denoise.attributes == {"svdfarm.steps": 4}
    assert denoise.end_s - denoise.start_s >= 4 * 0.02
    server = next(s for s in spans if s.name == CREATE and s.kind == SERVER)
    assert server.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": CREATE,
        "rpc.response.status_code": "OK",
    }
    assert {s.kind for s in spans if s.service == "program" and "/" in s.name} == {CLIENT}
    missing = next(s for s in spans if s.name.endswith("GetImage") and s.kind == SERVER)
    assert missing.attributes["rpc.response.status_code"] == "NOT_FOUND"

    # Everything lies inside what it is part of, to within the clock's own steps.
    by_id = {span.id: span for span in spans}
    for span in spans:
        if span.parent and span.name not in ("shot", "queue", "attempt"):
            around = by_id[span.parent]
            assert around.start_s - 0.01 <= span.start_s, span
            assert span.end_s <= around.end_s + 0.05, span
    for span in (found["queue", 1], first, found["queue", 2], second):
        assert whole.start_s - 0.01 <= span.start_s <= span.end_s <= whole.end_s + 0.01, span


def test_what_a_program_watches_and_downloads_inside_its_span_is_there_too(farm: Farm) -> None:
    with farm.gateway(), farm.worker():
        image, out = str(IMAGES / "rocket.jpg"), str(farm.folder / "out")
        farm.run("-c", PROGRAM, farm.address, TOKEN, image, out)
    spans = farm.collector.spans
    assert len({span.trace for span in spans}) == 1
    top = list(tree(spans))
    for method in ("WatchJob", "DownloadVideo"):
        name = f"svdfarm.v1.RenderService/{method}"
        at = top.index(f"  program {name}")
        assert top[at + 1] == f"    svdfarm-gateway {name}"
    codes = {span.attributes.get("rpc.response.status_code") for span in spans if "/" in span.name}
    assert codes == {"OK", "NOT_FOUND"}


def test_no_span_holds_a_secret_or_a_name_of_a_file(farm: Farm) -> None:
    with farm.gateway():
        job = farm.run("-c", PROGRAM, farm.address, TOKEN, str(IMAGES / "rocket.jpg"))
        with farm.worker(), Client(farm.address, TOKEN) as client:
            client.job(job).wait(timeout_s=60)
    assert job.encode() in farm.collector.raw
    for hidden in (TOKEN, "rocket", "plan", "heist", str(farm.folder), "secrets"):
        assert hidden.encode() not in farm.collector.raw, hidden


def test_lines_of_the_logs_name_the_trace(farm: Farm) -> None:
    with farm.gateway():
        job = farm.run("-c", PROGRAM, farm.address, TOKEN, str(IMAGES / "rocket.jpg"))
        with farm.worker(), Client(farm.address, TOKEN) as client:
            client.job(job).wait(timeout_s=60)
    (trace,) = {span.trace for span in farm.collector.spans}
    for log in ("gateway.log", "worker.log"):
        lines = list(map(json.loads, (farm.folder / log).read_text().splitlines()))
        of_shot = [line for line in lines if "shot" in line]
        assert len(of_shot) >= 3
        assert {line["trace"] for line in of_shot} == {trace}
        assert {line["job"] for line in of_shot} == {job}


def test_the_command_submits_inside_a_span_of_its_own(farm: Farm, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text(f"shots: [{{image: {IMAGES / 'rocket.jpg'}}}]\n")
    with farm.gateway():
        flags = ["--address", farm.address, "--token", TOKEN]
        farm.run("-m", "farm", "submit", str(jobs), "--detach", *flags)
    spans = farm.collector.spans
    assert next(tree(spans)) == "svdfarm-cli submit"
    assert f"    svdfarm-gateway {CREATE}" in tree(spans)


def test_a_request_over_http_goes_on_with_its_callers_trace(farm: Farm) -> None:
    trace, parent = "ab" * 16, "cd" * 8
    with farm.gateway():
        request = urllib.request.Request(
            f"http://{farm.http}/v1/videos?limit=1",
            headers={
                "Authorization": f"Bearer {TOKEN}",
                "traceparent": f"00-{trace}-{parent}-01",
            },
        )
        assert urllib.request.urlopen(request, timeout=30).status == 200
        urllib.request.urlopen(f"http://{farm.http}/healthz", timeout=30)
    spans = farm.collector.spans
    assert list(tree(spans, parent)) == [
        "svdfarm-gateway GET",
        "  svdfarm-gateway svdfarm.v1.RenderService/ListJobs",
    ]
    assert {span.trace for span in spans} == {trace}
    assert spans[0].attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }


def test_what_is_cancelled_in_the_queue_has_ended_and_a_requeue_is_a_trace(farm: Farm) -> None:
    with farm.gateway(), Client(farm.address, TOKEN) as client:
        first = farm.run("-c", PROGRAM, farm.address, TOKEN, str(IMAGES / "rocket.jpg"))
        job = client.job(first)
        assert job.cancel().state is JobState.CANCELLED
        eventually(lambda: any(span.name == "shot" for span in farm.collector.spans))
        (cancelled,) = [span for span in farm.collector.spans if span.name == "shot"]
        assert cancelled.attributes["svdfarm.state"] == "CANCELLED"
        assert not cancelled.error

        assert job.requeue([ShotState.CANCELLED]) == 1
        with farm.worker():
            job.wait(timeout_s=60)
    requeued = [span for span in farm.collector.spans if span.trace != cancelled.trace]
    assert [line for line in tree(requeued) if "gateway" in line] == [
        "svdfarm-gateway svdfarm.v1.RenderService/RequeueJob",
        "  svdfarm-gateway shot",
        "    svdfarm-gateway queue",
        "    svdfarm-gateway attempt !",
        "    svdfarm-gateway queue",
        "    svdfarm-gateway attempt",
        "      svdfarm-gateway upload",
        "      svdfarm-gateway publish",
    ]


def test_without_a_collector_nothing_is_told_and_everything_works(tmp_path: Path) -> None:
    with grpc_collector() as (collector, endpoint):
        off = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SDK_DISABLED": "true"}
        farm = Farm(collector, off, tmp_path)
        with farm.gateway(), farm.worker(), Client(farm.address, TOKEN) as client:
            job = client.submit([NewShot(IMAGES / "rocket.jpg", SMALL)])
            job.wait(timeout_s=60)
        assert collector.spans == []
        assert "trace" not in (tmp_path / "gateway.log").read_text()
