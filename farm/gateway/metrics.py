"""Every metric of a gateway: the names that docs/METRICS.md promises, and what each label may be.

No label has text of a user's, and each has few values: states, reasons and methods are lists of
this program's, models those that the farm's workers served, workers those that are connected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from farm.jobs.retry import Reason
from farm.jobs.states import ShotState
from svdfarm.v1 import resources_pb2 as pb

# What a worker measures, and how long it then takes here until the video is committed.
WORKER_STAGES = ("encode", "denoise", "decode", "write")
STAGES = (*WORKER_STAGES, "upload", "publish")

_WAIT_BUCKETS_S = (0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_STAGE_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_LIVE_STATES = (ShotState.QUEUED, ShotState.RENDERING)
_WORKER_STATES = [name for name in pb.Worker.State.keys() if name != "STATE_UNSPECIFIED"]  # noqa: SIM118 - an enum of protobuf's

Values = Mapping[tuple[str, ...], float]  # by its labels' values


class Metrics:
    """What is counted as it happens, and `now`: what is looked up when somebody asks."""

    def __init__(self) -> None:
        # A second series of each, for nothing that is asked here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = CollectorRegistry()
        self.now = Now()
        registry.register(self.now)
        ProcessCollector(registry=registry)
        self.queue_wait = Histogram(
            "svdfarm_queue_wait_seconds",
            "How long a shot was QUEUED before a worker got it; a pause of its job counts.",
            unit="seconds",
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )
        self._claims = Counter(
            "svdfarm_claims",
            "Shots that were given to a worker: warm where it had rendered that shape before.",
            ["shape"],
            registry=registry,
        )
        self._stages = Histogram(
            "svdfarm_stage_seconds",
            "How long each stage of a shot took that succeeded.",
            ["stage"],
            unit="seconds",
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self._attempts_ended = Counter(
            "svdfarm_attempts_ended",
            "Attempts that ended: SUCCEEDED, CANCELLED, or FAILED with a reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self._retries = Counter(
            "svdfarm_retries",
            "Shots that were queued again, by why the attempt before had failed.",
            ["reason"],
            registry=registry,
        )
        self._shots_failed = Counter(
            "svdfarm_shots_failed",
            "Shots that ended FAILED, by why the last attempt had failed.",
            ["reason"],
            registry=registry,
        )
        self.stale_reports = Counter(
            "svdfarm_stale_reports",
            "Reports that were refused: their attempt had been taken back before.",
            registry=registry,
        )
        self.shots_created = Counter(
            "svdfarm_shots_created", "Shots of jobs that were accepted.", registry=registry
        )
        self.cache_hits = Counter(
            "svdfarm_cache_hits",
            "Shots of those that succeeded at once: the same was rendered before.",
            registry=registry,
        )
        self._bytes = Counter(
            "svdfarm_bytes",
            "Images and videos that came in, from clients and workers, and that went out to them.",
            ["direction"],
            unit="bytes",
            registry=registry,
        )
        self.rpcs = Counter(
            "svdfarm_rpcs",
            "gRPC calls that ended, by method and status code.",
            ["method", "code"],
            registry=registry,
        )
        self.http_requests = Counter(
            "svdfarm_http_requests",
            "HTTP requests that were answered, by path and status code.",
            ["path", "code"],
            registry=registry,
        )
        # There from the start: a rate is of what was seen to grow.
        self.warm_claims, self.cold_claims = map(self._claims.labels, ("warm", "cold"))
        self.bytes_in, self.bytes_out = map(self._bytes.labels, ("in", "out"))
        self.stage = {stage: self._stages.labels(stage) for stage in STAGES}
        self._succeeded = self._attempts_ended.labels(ShotState.SUCCEEDED, "")
        self._cancelled = self._attempts_ended.labels(ShotState.CANCELLED, "")
        for reason in Reason:
            self._attempts_ended.labels(ShotState.FAILED, reason)
            self._retries.labels(reason)
            self._shots_failed.labels(reason)

    def succeeded(self) -> None:
        """Counts an attempt that ended with a video."""
        self._succeeded.inc()

    def cancelled(self) -> None:
        """Counts an attempt that ended because nobody wanted it any more."""
        self._cancelled.inc()

    def failed(self, reason: Reason, state: ShotState) -> None:
        """Counts an attempt that failed; `state` is the shot's from now on."""
        self._attempts_ended.labels(ShotState.FAILED, reason).inc()
        match state:
            case ShotState.QUEUED:
                self._retries.labels(reason).inc()
            case ShotState.FAILED:
                self._shots_failed.labels(reason).inc()


@dataclass(frozen=True)
class OfFarm:
    """What the store told, of the whole farm."""

    shots: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by state and model
    oldest_wait_s: Mapping[str, float] = field(default_factory=dict)  # by model
    workers: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by state and model


@dataclass(frozen=True)
class Device:
    """What a worker told of itself last."""

    worker: str
    busy_s: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None


class Now(Collector):
    """What there is; filled in before each look."""

    def __init__(self) -> None:
        self.farm: OfFarm | None = None  # None: the store did not answer
        self.leases = 0
        self.watchers = 0
        self.disk_free_bytes = 0
        self.disk_reserve_bytes = 0
        self.devices: tuple[Device, ...] = ()

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's hook."""
        farm = self.farm or OfFarm()
        models = {model for _, model in (*farm.shots, *farm.workers)}
        yield _gauge(
            "svdfarm_store_up",
            "1 where the store answered this look, else 0, and what it would tell is missing.",
            {(): float(self.farm is not None)},
        )
        yield _gauge(
            "svdfarm_shots",
            "Shots of the whole farm that wait (QUEUED) or that a worker holds (RENDERING).",
            _filled(farm.shots, _LIVE_STATES, models - {""}),
            ["state", "model"],
        )
        yield _gauge(
            "svdfarm_queue_oldest_wait_seconds",
            "How long the oldest QUEUED shot waits; those of paused jobs are left out.",
            {(model,): farm.oldest_wait_s.get(model, 0.0) for model in models - {""}},
            ["model"],
            unit="seconds",
        )
        yield _gauge(
            "svdfarm_workers",
            "Connected workers of the whole farm; one without a model yet has an empty one.",
            _filled(farm.workers, _WORKER_STATES, models),
            ["state", "model"],
        )
        yield _gauge(
            "svdfarm_leases",
            "Leases of the workers that are connected to this gateway.",
            {(): self.leases},
        )
        yield _gauge(
            "svdfarm_watchers", "Calls that watch a job at this gateway.", {(): self.watchers}
        )
        yield _gauge(
            "svdfarm_disk_free_bytes",
            "What is left of the data folder's disk.",
            {(): self.disk_free_bytes},
            unit="bytes",
        )
        yield _gauge(
            "svdfarm_disk_reserve_bytes",
            "What is kept back of it for what was accepted: below it nothing new is.",
            {(): self.disk_reserve_bytes},
            unit="bytes",
        )
        busy = CounterMetricFamily(
            "svdfarm_worker_busy_seconds",
            "How long clips were on a worker's device: its rate is the device's utilisation.",
            labels=["worker"],
            unit="seconds",
        )
        for device in self.devices:
            if device.busy_s is not None:
                busy.add_metric([device.worker], device.busy_s)
        yield busy
        yield _gauge(
            "svdfarm_gpu_memory_used_bytes",
            "Memory in use on a worker's GPU, by everybody there.",
            _told((device.worker, device.memory_used_bytes) for device in self.devices),
            ["worker"],
            unit="bytes",
        )
        yield _gauge(
            "svdfarm_gpu_memory_total_bytes",
            "Memory of a worker's GPU.",
            _told((device.worker, device.memory_total_bytes) for device in self.devices),
            ["worker"],
            unit="bytes",
        )


def _gauge(
    name: str, about: str, values: Values, labels: Collection[str] = (), *, unit: str = ""
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, about, labels=list(labels), unit=unit)
    for of, value in values.items():
        gauge.add_metric(of, value)
    return gauge


def _filled(
    counted: Mapping[tuple[str, str], int], states: Iterable[str], models: Collection[str]
) -> Values:
    """With a zero where there is none: a line in a graph has no gaps then."""
    return {(state, model): counted.get((state, model), 0) for state in states for model in models}


def _told(values: Iterable[tuple[str, float | None]]) -> Values:
    return {(worker,): value for worker, value in values if value is not None}
