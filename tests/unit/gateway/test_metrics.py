"""What /metrics tells after real work, and that docs/METRICS.md records all of it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from farm.cluster.device import DeviceMeter
from farm.gateway.server import Gateway
from farm.jobs.params import TINY, RenderParams
from farm.jobs.retry import Reason
from farm.jobs.states import ShotState
from farm.render.errors import ParamsRejected
from farm.render.fake import FakeRenderer
from farm.render.renderer import DeviceMemory, Rendered
from farm.store import levels, schema
from farm.store.errors import StoreAway
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2
from svdfarm.v1 import session_service_pb2 as session_pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.postgres import PostgresServer
from tests.running import IMAGES, eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller
from tests.unit.gateway.test_upload import Tell, answering_worker

RECORD = Path(__file__).parents[3] / "docs" / "METRICS.md"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Seen:
    """One look at /metrics."""

    def __init__(self, gateway: Gateway, token: str = "") -> None:
        headers = {"Accept": OPEN_METRICS, "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://{gateway.http}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("application/openmetrics-text")
            self.text = answer.read().decode()
        self.families: dict[str, Metric] = {
            family.name: family for family in text_string_to_metric_families(self.text)
        }
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._samples.get((name, frozenset(labels.items())))

    def labels(self, name: str) -> set[str]:
        ignored = {"le"}
        return {
            label
            for sample in self.families[name].samples
            for label in sample.labels
            if label not in ignored
        }


class Moody(FakeRenderer):
    """A device that fails its first shot, and finds those of seed 13 impossible."""

    failed = False

    def render(self, image: bytes, params: RenderParams, *args: Any, **kwargs: Any) -> Rendered:
        if params.seed == 13:
            raise ParamsRejected("not that one")
        if not self.failed:
            self.failed = True
            raise ValueError("a hiccup")
        return super().render(image, params, *args, **kwargs)


def recorded() -> Mapping[str, tuple[str, str, str]]:
    """Of each name in docs/METRICS.md: type, unit and labels."""
    found = {}
    for line in RECORD.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            name, kind, unit, labels = cells[0].strip("`"), *cells[1:4]
            found[name] = (kind, unit, labels.replace("`", ""))
    return found


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, str, int]:
    """A farm that has rendered, retried, failed, cancelled and refused: its metrics, its worker,
    and the size of its one video that was downloaded."""
    folder = tmp_path_factory.mktemp("metrics")
    with (
        running_gateway(folder / "data", lease_s=3.0) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        waiting = caller.create(caller.shot(model="svd-xt"))
        device = Moody(replace(TINY, identity="weights-1"), step_s=0.05)
        with running_worker(str(gateway.address), folder, renderer=device) as agent:
            good = caller.create(caller.shot("a"), caller.shot("b", seed=8))
            assert caller.watch(good.name)[-1].job.state == Job.SUCCEEDED
            again = caller.create(caller.shot("again"))
            assert again.state == Job.SUCCEEDED
            bad = caller.create(caller.shot(seed=13))
            assert caller.watch(bad.name)[-1].job.state == Job.FAILED
            long = caller.create(caller.shot(seed=9, step_count=50))
            stream = caller.render.WatchJob(pb.WatchJobRequest(name=long.name), timeout=60)
            while not next(stream).shot.progress.step:
                pass
            rendering = Seen(gateway)
            assert rendering("svdfarm_shots", state="RENDERING", model="tiny") == 1
            assert rendering("svdfarm_leases") == 1
            assert rendering("svdfarm_watchers") == 1
            caller.render.CancelJob(pb.CancelJobRequest(name=long.name))
            assert list(stream)[-1].job.state == Job.CANCELLED
            video = caller.download(f"{good.name}/shots/1/video")
            with pytest.raises(grpc.RpcError):
                caller.job("jobs/none")
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://{gateway.http}/secret-plans.mp4", timeout=10)
            eventually(lambda: Seen(gateway)("svdfarm_worker_busy_seconds_total", worker=agent.id))
            # What the store tells may be a second old.
            tiny = {"state": "RENDERING", "model": "tiny"}
            eventually(lambda: Seen(gateway)("svdfarm_shots", **tiny) == 0)
            seen = Seen(gateway)
        assert caller.job(waiting.name).state == Job.QUEUED
    return seen, agent.id, len(video)


def test_every_metric_is_recorded_with_type_unit_and_labels(worked: tuple[Seen, str, int]) -> None:
    seen, _, _ = worked
    told = {
        name: (family.type, family.unit, ", ".join(sorted(seen.labels(name))))
        for name, family in seen.families.items()
    }
    named = {
        f"{name}_total" if kind == "counter" else name: (kind, unit, labels)
        for name, (kind, unit, labels) in told.items()
    }
    assert named == recorded()
    assert all(family.documentation.endswith(".") for family in seen.families.values())


def test_every_metric_moves_with_the_work(worked: tuple[Seen, str, int]) -> None:
    seen, worker, video_bytes = worked
    tiny = {"model": "tiny"}

    assert seen("svdfarm_shots_created_total") == 6
    assert seen("svdfarm_cache_hits_total") == 1
    ended = "svdfarm_attempts_ended_total"
    assert seen(ended, outcome="SUCCEEDED", reason="") == 2
    assert seen(ended, outcome="CANCELLED", reason="") == 1
    assert seen(ended, outcome="FAILED", reason="INTERNAL") == 1
    assert seen(ended, outcome="FAILED", reason="PARAMS_REJECTED") == 1
    assert seen(ended, outcome="FAILED", reason="GPU_ERROR") == 0
    assert seen("svdfarm_retries_total", reason="INTERNAL") == 1
    assert seen("svdfarm_retries_total", reason="PARAMS_REJECTED") == 0
    assert seen("svdfarm_shots_failed_total", reason="PARAMS_REJECTED") == 1
    assert seen("svdfarm_stale_reports_total") == 0

    assert seen("svdfarm_queue_wait_seconds_count") == 5
    wait_s = seen("svdfarm_queue_wait_seconds_sum")
    assert wait_s is not None
    assert 0 <= wait_s < 60
    assert seen("svdfarm_claims_total", shape="warm") == 4
    assert seen("svdfarm_claims_total", shape="cold") == 1
    for stage in ("denoise", "write", "upload", "publish"):
        assert seen("svdfarm_stage_seconds_count", stage=stage) == 2
    denoise_s = seen("svdfarm_stage_seconds_sum", stage="denoise")
    assert denoise_s is not None
    assert denoise_s >= 2 * 2 * 0.05  # clips, steps, s

    assert seen("svdfarm_store_up") == 1
    assert seen("svdfarm_shots", state="QUEUED", model="svd-xt") == 1
    assert seen("svdfarm_shots", state="QUEUED", model="tiny") == 0
    assert seen("svdfarm_shots", state="RENDERING", model="tiny") == 0
    assert (seen("svdfarm_queue_oldest_wait_seconds", model="svd-xt") or 0) > 0
    assert seen("svdfarm_queue_oldest_wait_seconds", model="tiny") == 0
    assert seen("svdfarm_workers", state="ACTIVE", **tiny) == 1
    assert seen("svdfarm_workers", state="FAILED", **tiny) == 0
    assert seen("svdfarm_leases") == 0
    assert seen("svdfarm_watchers") == 0

    image_bytes = (IMAGES / "rocket.jpg").stat().st_size
    assert (seen("svdfarm_bytes_total", direction="in") or 0) > 6 * image_bytes + video_bytes
    assert seen("svdfarm_bytes_total", direction="out") == 5 * image_bytes + video_bytes

    assert (seen("svdfarm_worker_busy_seconds_total", worker=worker) or 0) > 2 * 2 * 0.05
    assert seen("svdfarm_gpu_memory_used_bytes", worker=worker) == 6e9
    assert seen("svdfarm_gpu_memory_total_bytes", worker=worker) == 24e9

    rpcs, service = "svdfarm_rpcs_total", "svdfarm.v1.RenderService"
    assert seen(rpcs, method=f"{service}/CreateJob", code="OK") == 5
    assert seen(rpcs, method=f"{service}/WatchJob", code="OK") == 3
    assert seen(rpcs, method=f"{service}/UploadImage", code="OK") == 6
    assert seen(rpcs, method=f"{service}/GetJob", code="NOT_FOUND") == 1
    assert seen("svdfarm_http_requests_total", path="other", code="404") == 1
    assert (seen("svdfarm_http_requests_total", path="/metrics", code="200") or 0) >= 1


def test_no_label_has_what_a_user_wrote(worked: tuple[Seen, str, int]) -> None:
    seen, _, _ = worked
    for text in ("secret-plans", "again", "a job", "none", "jobs/"):
        assert f'"{text}' not in seen.text


def test_a_worker_that_leaves_takes_its_metrics_along(gateway: Gateway, tmp_path: Path) -> None:
    with running_worker(str(gateway.address), tmp_path) as agent:
        name = "svdfarm_gpu_memory_used_bytes"
        eventually(lambda: Seen(gateway)(name, worker=agent.id) is not None)
    eventually(lambda: agent.id not in Seen(gateway).text)


def test_a_report_that_comes_twice_is_stale_the_second_time(
    gateway: Gateway, caller: Caller
) -> None:
    def fail_twice(assign: session_pb.Assign, tell: Tell) -> None:
        error = resources_pb2.Error(reason="PARAMS_REJECTED", message="no")
        for _ in range(2):
            tell(
                session_pb.SessionRequest(failed=session_pb.Failed(lease=assign.lease, error=error))
            )

    with answering_worker(gateway, fail_twice) as settled:
        job = caller.create(caller.shot())
        eventually(lambda: len(settled) == 2)
    assert [answer.accepted for answer in settled] == [True, False]
    seen = Seen(gateway)
    assert seen("svdfarm_stale_reports_total") == 1
    assert seen("svdfarm_shots_failed_total", reason="PARAMS_REJECTED") == 1
    assert caller.shots(job.name)[0].state == Shot.FAILED


def test_plain_text_is_told_to_whoever_asks_for_nothing_else(gateway: Gateway) -> None:
    with urllib.request.urlopen(f"http://{gateway.http}/metrics", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b"# HELP svdfarm_stale_reports_total " in answer.read()


def test_a_refused_caller_is_counted(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", token="0123456789abcdef") as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        with pytest.raises(grpc.RpcError):
            Caller(channel).job("jobs/none")
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/my.own/Name")(b"")
        seen = Seen(gateway, "0123456789abcdef")
    method = "svdfarm.v1.RenderService/GetJob"
    assert seen("svdfarm_rpcs_total", method=method, code="UNAUTHENTICATED") == 1
    assert "my.own" not in seen.text


@pytest.mark.parametrize("error", [StoreAway("unplugged"), ValueError("torn")])
def test_a_store_that_is_away_takes_only_its_own_metrics_along(
    gateway: Gateway, caller: Caller, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    broken, read = [True], levels.read

    def away(*args: Any) -> levels.Levels:
        if broken:
            raise error
        return read(*args)

    caller.create(caller.shot())
    monkeypatch.setattr("farm.gateway.scrape._PATIENCE_S", 0.1)
    monkeypatch.setattr("farm.gateway.scrape._GOOD_FOR_S", 0.0)
    monkeypatch.setattr(levels, "read", away)
    seen = Seen(gateway)
    assert (seen("svdfarm_store_up"), seen("svdfarm_shots_created_total")) == (0, 1)
    assert seen.families["svdfarm_shots"].samples == []
    broken.clear()
    eventually(lambda: Seen(gateway)("svdfarm_store_up") == 1)


def test_many_that_ask_at_once_ask_the_store_once_a_second(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    read = levels.read

    def counted(*args: Any) -> levels.Levels:
        asked.append(args)
        return read(*args)

    monkeypatch.setattr(levels, "read", counted)
    monkeypatch.setattr("farm.gateway.scrape._GOOD_FOR_S", 600.0)
    for _ in range(5):
        Seen(gateway)
    assert len(asked) == 1


def test_each_gateway_tells_of_the_whole_farm(postgres: PostgresServer, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        postgres.database() as url,
        running_gateway(data, database=url) as first,
        running_gateway(data, database=url) as second,
        grpc.insecure_channel(str(first.address)) as channel,
        running_worker(str(first.address), tmp_path, step_s=0.2) as agent,
    ):
        caller = Caller(channel)
        caller.create(*(caller.shot(seed=seed, step_count=100) for seed in range(2)))
        rendering = {"state": "RENDERING", "model": "tiny"}
        for gateway in (first, second):
            eventually(lambda gateway=gateway: Seen(gateway)("svdfarm_shots", **rendering) == 1)
            seen = Seen(gateway)
            assert seen("svdfarm_shots", state="QUEUED", model="tiny") == 1
            assert seen("svdfarm_workers", state="ACTIVE", model="tiny") == 1
        here, there = Seen(first), Seen(second)
        assert here("svdfarm_leases") == 1
        assert (there("svdfarm_leases"), there("svdfarm_shots_created_total")) == (0, 0)
        assert agent.id not in there.text


def test_a_shot_of_an_older_gateway_waits_since_its_job_was_created(
    gateway: Gateway, caller: Caller
) -> None:
    caller.create(caller.shot())
    store = gateway._store

    def forget(conn: Any) -> None:
        conn.execute(schema.shot.update().values(queue_time_s=None))
        conn.execute(schema.job.update().values(create_time_s=1000.0))

    store.database.submit(forget).result()
    told = store.database.submit(levels.read, 0.0, 30.0).result()
    assert told.queued_since_s == {"tiny": 1000.0}


def test_a_pause_of_the_job_hides_its_shots_from_the_oldest(
    gateway: Gateway, caller: Caller
) -> None:
    job = caller.create(caller.shot())
    caller.render.PauseJob(pb.PauseJobRequest(name=job.name))
    seen = Seen(gateway)
    assert seen("svdfarm_shots", state="QUEUED", model="tiny") == 1
    assert seen("svdfarm_queue_oldest_wait_seconds", model="tiny") == 0


def test_a_device_that_cannot_be_asked_fails_no_shot() -> None:
    class Unplugged(FakeRenderer):
        def device_memory(self) -> DeviceMemory | None:
            raise RuntimeError("CUDA error: unspecified launch failure")

    meter = DeviceMeter()
    with meter.busy(Unplugged()):
        pass
    told = meter.heartbeat()
    assert not told.HasField("memory_used_bytes")
    assert told.busy_duration.ToNanoseconds() >= 0


def test_every_reason_is_there_before_it_happens(gateway: Gateway) -> None:
    seen = Seen(gateway)
    for reason in Reason:
        assert seen("svdfarm_attempts_ended_total", outcome=ShotState.FAILED, reason=reason) == 0
