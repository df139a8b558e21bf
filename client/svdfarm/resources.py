"""What the farm has, as frozen values: jobs, shots, videos and workers."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from svdfarm.params import RenderParams

OnBytes = Callable[[int, int], None]  # (bytes so far, bytes in all)


class JobState(enum.StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether the job has ended: it changes only if somebody requeues shots of it."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class ShotState(enum.StrEnum):
    """Where a shot is in its life."""

    QUEUED = "QUEUED"
    RENDERING = "RENDERING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether the shot has ended: only a requeue changes it, and never one that succeeded."""
        return self in {ShotState.SUCCEEDED, ShotState.FAILED, ShotState.CANCELLED}


class WorkerState(enum.StrEnum):
    """Where a worker is in its life."""

    STARTING = "STARTING"
    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    CORDONED = "CORDONED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Failure:
    """Why a shot or a worker failed: `reason` for programs, `message` for people."""

    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Video:
    """A finished video as the farm keeps it."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    frame_count: int


@dataclass(frozen=True)
class Progress:
    """How many denoising steps of the present attempt are done."""

    step: int
    step_count: int
    preview: bytes | None = None  # a small JPEG of some frames so far, where watch asked for it


class DeliveryState(enum.StrEnum):
    """Where a message to a webhook is in its life."""

    PENDING = "PENDING"  # to be sent, for the first time or again
    DELIVERED = "DELIVERED"
    GIVEN_UP = "GIVEN_UP"


@dataclass(frozen=True)
class Delivery:
    """What became of the message to a job's webhook about the job's last ending."""

    id: str  # the header webhook-id
    state: DeliveryState
    attempt_count: int
    next_time: datetime | None  # of the next attempt
    message: str  # how the last attempt failed


@dataclass(frozen=True)
class Job:
    """A batch of shots."""

    name: str
    display_name: str
    state: JobState
    priority: int
    shot_count: int
    succeeded_shot_count: int
    failed_shot_count: int
    cancelled_shot_count: int
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    notice: str  # why nothing happens just now; mostly empty
    webhook: str = ""
    delivery: Delivery | None = None  # of an ended job with a webhook, and from `get` alone
    tenant: str = ""  # whose it is


@dataclass(frozen=True)
class Shot:
    """One image on its way to one video."""

    name: str
    image: str
    params: RenderParams
    state: ShotState
    attempt_count: int
    video: Video | None
    error: Failure | None
    render_duration_s: float | None
    worker: str
    display_name: str
    output_name: str
    progress: Progress | None
    cached_from: str = ""  # the shot whose video this is, where it was rendered before


@dataclass(frozen=True)
class LogLine:
    """One event in a worker's log: for people, as names may change between releases."""

    time: datetime | None
    level: str  # info, warning or error
    event: str  # such as shot.rendered
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Attempt:
    """One worker's try at a shot."""

    name: str
    shot: str
    number: int
    worker: str
    claim_time: datetime | None  # when the shot was given to the worker
    start_time: datetime | None  # None: the worker has not said that it began
    end_time: datetime | None  # None: it goes on
    outcome: str  # SUCCEEDED, CANCELLED, or an error's reason; empty while it goes on
    message: str  # of one that failed
    duration_s: float | None  # how long it took its worker
    log: tuple[LogLine, ...] = ()  # of its worker, where it was asked for, once that has reported


@dataclass(frozen=True)
class Estimate:
    """What a job would take, by what the farm has rendered before."""

    shot_count: int
    cached_shot_count: int  # whose video is there already
    gpu_duration_s: float  # of the others, without those of `unknown_shot_count`
    unknown_shot_count: int  # whose model has not rendered there yet
    scaled_shot_count: int  # unlike any that were rendered there: in proportion to their size
    gpu_duration_ahead_s: float  # of the shots that go first
    worker_count: int  # that take such shots now
    finish_time: datetime | None  # if it was submitted now; None: that cannot be told


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or would be: jobs with their videos, and what nothing uses."""

    job_count: int
    video_count: int
    video_size_bytes: int
    image_count: int
    image_size_bytes: int
    orphan_count: int  # files that belong to nothing
    orphan_size_bytes: int


@dataclass(frozen=True)
class Model:
    """A model that a worker serves, with the defaults that depend on it."""

    name: str
    width_px: int
    height_px: int
    frame_count: int
    step_count: int


@dataclass(frozen=True)
class Worker:
    """One GPU of the farm, or a share of a CPU."""

    name: str
    state: WorkerState
    device: str
    hostname: str
    pid: int
    shot: str  # empty when idle
    models: tuple[Model, ...]
    version: str
    connect_time: datetime | None
    error: Failure | None
    refused_report_count: int = 0  # reports that came after their attempt was taken back
    group: str = ""  # of workers that are scaled together; empty: it is in none
