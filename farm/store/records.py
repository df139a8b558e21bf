"""Rows as values: what the store takes and gives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from farm.jobs import trace_context
from farm.jobs.access import DEFAULT_TENANT
from farm.jobs.codec import Codec, Container
from farm.jobs.params import Fit, RenderParams
from farm.jobs.states import JobState, ShotCounts, ShotState, Wish
from farm.jobs.tiers import Tier
from farm.jobs.webhooks import DeliveryState


@dataclass(frozen=True, order=True)
class ShotKey:
    """One shot of one job; shots are numbered from 1."""

    job_id: str
    number: int

    def __str__(self) -> str:
        return f"jobs/{self.job_id}/shots/{self.number}"


@dataclass(frozen=True)
class NewShot:
    """A shot to be created; `params` are resolved."""

    display_name: str
    output_name: str
    image_sha256: str
    params: RenderParams
    cache_key: str | None = None  # None: it is to be rendered, whatever is there


@dataclass(frozen=True)
class NewJob:
    """A job to be created; `request_sha256` is the digest of the request's content."""

    display_name: str
    priority: int
    shots: tuple[NewShot, ...]
    request_id: str | None
    request_sha256: str
    webhook: str | None = None
    tenant: str = DEFAULT_TENANT
    traceparent: str = ""  # of the call, where spans of the first shots are wanted


@dataclass(frozen=True)
class Job:
    """A job as it is stored."""

    number: int
    id: str
    display_name: str
    priority: int
    wish: Wish
    state: JobState
    shot_count: int
    counts: ShotCounts
    create_time_s: float
    start_time_s: float | None
    end_time_s: float | None
    webhook: str | None
    tenant: str = DEFAULT_TENANT

    @property
    def name(self) -> str:
        """The resource name."""
        return f"jobs/{self.id}"


@dataclass(frozen=True)
class Delivery:
    """How far the message about a job's ending is on its way to the job's webhook."""

    id: str
    state: DeliveryState
    attempt_count: int
    next_time_s: float | None  # of the next attempt; set in PENDING
    message: str | None  # how the last attempt failed


@dataclass(frozen=True)
class Video:
    """A published video."""

    key: str
    sha256: str
    size_bytes: int
    frame_count: int


@dataclass(frozen=True)
class Failure:
    """Why a shot failed."""

    reason: str
    message: str


@dataclass(frozen=True)
class Shot:
    """A shot as it is stored."""

    key: ShotKey
    state: ShotState
    display_name: str
    output_name: str
    image_sha256: str
    params: RenderParams
    attempt_count: int
    worker: str | None
    render_duration_s: float | None
    video: Video | None
    failure: Failure | None
    cached_from: str | None = None  # the name of the shot whose video it shares
    traceparent: str = ""  # of the call that queued it, where its spans are wanted


@dataclass(frozen=True)
class Attempt:
    """One worker's try at a shot."""

    shot: ShotKey
    number: int
    worker: str
    claim_time_s: float
    start_time_s: float | None  # None: its worker never said that it began
    end_time_s: float | None  # None: it goes on
    outcome: str | None
    message: str | None
    render_duration_s: float | None  # as its worker told it at success
    log: str | None = None  # what its worker logged, as farm.gateway.attempt_log has it

    @property
    def duration_s(self) -> float | None:
        """How long it took its worker; None where it never began or goes on."""
        if self.render_duration_s is not None:
            return self.render_duration_s
        if self.start_time_s is None or self.end_time_s is None:
            return None
        return self.end_time_s - self.start_time_s


@dataclass(frozen=True)
class Lease:
    """The right of one worker to render one attempt of one shot."""

    shot: ShotKey
    attempt: int
    token: str
    traceparent: str = field(default="", compare=False)  # of the attempt's span

    @property
    def ids(self) -> dict[str, str | int]:
        """What a line of the log says of it."""
        trace = trace_context.ids(self.traceparent)
        return {"shot": str(self.shot), "attempt": self.attempt, **trace}

    def video_key(self, sha256: str, container: Container) -> str:
        """Where this attempt publishes these bytes: nobody else ever writes there."""
        name = f"{self.shot.number}-{self.attempt}-{sha256[:16]}.{container}"
        return f"videos/{self.shot.job_id}/{name}"


@dataclass(frozen=True)
class Traced:
    """What the span of a shot tells, and whose it is."""

    shot: ShotKey
    state: ShotState
    attempt_count: int
    model: str
    traceparent: str  # of the call that queued it
    time_s: float  # when that was
    error_reason: str | None


def spans_of(key: ShotKey, attempt: int, traceparent: str | None) -> tuple[str, str]:
    """The spans of a shot and of an attempt, by the call that queued the shot; "" without one."""
    shot = trace_context.inside(traceparent or "", str(key))
    return shot, trace_context.inside(shot, f"attempt {attempt}")


def lease_of(row: Any) -> Lease:
    """The lease that a row of `schema.shot` tells of."""
    key = ShotKey(row.job_id, row.number)
    _, span = spans_of(key, row.attempt_count, row.traceparent)
    return Lease(key, row.attempt_count, row.token, span)


@dataclass(frozen=True)
class HeldLease:
    """A lease and its holder."""

    lease: Lease
    worker: str


@dataclass(frozen=True)
class Image:
    """An uploaded image, addressed by its content."""

    sha256: str
    size_bytes: int
    width_px: int
    height_px: int


def image_key(sha256: str) -> str:
    """Where an image's bytes are."""
    return f"images/{sha256}"


def params_to_json(params: RenderParams) -> dict[str, Any]:
    """Every set field; the enums as their words.

    Tier exact is not written: a version before tiers reads what it can render.
    """
    stored = {k: v for k, v in dataclasses.asdict(params).items() if v is not None}
    if params.tier is Tier.EXACT:
        del stored["tier"]
    return stored


def params_from_json(stored: dict[str, Any]) -> RenderParams:
    """The inverse of `params_to_json`. A field of a newer version is an error, never dropped."""
    values = dict(stored)
    if "fit" in values:
        values["fit"] = Fit(values["fit"])
    if "codec" in values:
        values["codec"] = Codec(values["codec"])
    values["tier"] = Tier(values.get("tier", Tier.EXACT))
    return RenderParams(**values)


def storable(text: str) -> str:
    """What a worker said, without what a database cannot keep: NUL and lone surrogates."""
    return text.encode(errors="replace").decode().replace("\0", "�")
