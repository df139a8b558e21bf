"""Between this package's values and the messages of svdfarm.v1: pure functions."""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from svdfarm import resources
from svdfarm.params import RenderParams
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb

S = TypeVar("S", bound=enum.StrEnum)
_Timed: TypeAlias = pb.Job | pb.Delivery | pb.Worker | pb.Attempt | pb.LogLine | rpc.JobEstimate

# The fields that a value and a message share by name.
_NUMBERS = (
    "width_px",
    "height_px",
    "frame_count",
    "step_count",
    "fps",
    "playback_fps",
    "motion_bucket_id",
    "noise_aug_strength",
    "min_guidance_scale",
    "max_guidance_scale",
    "decode_chunk_size",
    "seed",
)


def job_name(name: str) -> str:
    """`jobs/ID` from `jobs/ID` or `ID`."""
    return name if name.startswith("jobs/") else f"jobs/{name}"


def worker_name(name: str) -> str:
    """`workers/ID` from `workers/ID` or `ID`."""
    return name if name.startswith("workers/") else f"workers/{name}"


def plain_name(stem: str) -> str:
    """A shot's name from its image's file name: characters that no name has become '-'."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.")[:128]


def params_to_wire(params: RenderParams) -> pb.RenderParams:
    """Only what is set is sent: an unset field is the farm's to fill."""
    message = pb.RenderParams(model=params.model or "")
    for name in _NUMBERS:
        value = getattr(params, name)
        if value is not None:
            setattr(message, name, value)
    if params.fit is not None:
        message.fit = pb.RenderParams.Fit.Value(params.fit.upper())
    if params.codec is not None:
        message.encoding.codec = params.codec
    if params.crf is not None:
        message.encoding.crf = params.crf
    if params.tier is not None:
        message.tier = params.tier
    return message


def params_from_wire(message: pb.RenderParams) -> RenderParams:
    """The settings as the farm took them; a fit that this version does not know is its number."""
    given = {name: getattr(message, name) for name in _NUMBERS if message.HasField(name)}  # type: ignore[arg-type]
    fits = {number: name.lower() for name, number in pb.RenderParams.Fit.items()}
    return RenderParams.received(
        model=message.model or None,
        fit=fits.get(message.fit, str(message.fit)) if message.fit else None,
        codec=message.encoding.codec or None,
        crf=message.encoding.crf if message.encoding.HasField("crf") else None,
        tier=message.tier or None,
        **given,
    )


def job_from_wire(message: pb.Job) -> resources.Job:
    """A job; a state that this version does not know is RUNNING, as the protocol says."""
    return resources.Job(
        name=message.name,
        display_name=message.display_name,
        state=_state(resources.JobState.RUNNING, pb.Job.State.items(), message.state),
        priority=message.priority,
        shot_count=message.shot_count,
        succeeded_shot_count=message.succeeded_shot_count,
        failed_shot_count=message.failed_shot_count,
        cancelled_shot_count=message.cancelled_shot_count,
        create_time=_time(message, "create_time"),
        start_time=_time(message, "start_time"),
        end_time=_time(message, "end_time"),
        notice=message.notice,
        webhook=message.webhook,
        delivery=_delivery(message.delivery) if message.HasField("delivery") else None,
        tenant=message.tenant,
    )


def shot_from_wire(message: pb.Shot) -> resources.Shot:
    """A shot; a state that this version does not know is RENDERING, as the protocol says."""
    return resources.Shot(
        name=message.name,
        image=message.image,
        params=params_from_wire(message.params),
        state=_state(resources.ShotState.RENDERING, pb.Shot.State.items(), message.state),
        attempt_count=message.attempt_count,
        video=_video(message.video) if message.HasField("video") else None,
        error=_failure(message.error) if message.HasField("error") else None,
        render_duration_s=_seconds(message.render_duration)
        if message.HasField("render_duration")
        else None,
        worker=message.worker,
        display_name=message.display_name,
        output_name=message.output_name,
        progress=_progress(message.progress) if message.HasField("progress") else None,
        cached_from=message.cached_from,
    )


def attempt_from_wire(message: pb.Attempt) -> resources.Attempt:
    """An attempt."""
    shot, _, number = message.name.partition("/attempts/")
    return resources.Attempt(
        name=message.name,
        shot=shot,
        number=int(number),
        worker=message.worker,
        claim_time=_time(message, "claim_time"),
        start_time=_time(message, "start_time"),
        end_time=_time(message, "end_time"),
        outcome=message.outcome,
        message=message.message,
        duration_s=_seconds(message.duration) if message.HasField("duration") else None,
        log=tuple(
            resources.LogLine(_time(line, "time"), line.level, line.event, dict(line.fields))
            for line in message.log
        ),
    )


def estimate_from_wire(message: rpc.JobEstimate) -> resources.Estimate:
    """What a job would take."""
    return resources.Estimate(
        shot_count=message.shot_count,
        cached_shot_count=message.cached_shot_count,
        gpu_duration_s=_seconds(message.gpu_duration),
        unknown_shot_count=message.unknown_shot_count,
        scaled_shot_count=message.scaled_shot_count,
        gpu_duration_ahead_s=_seconds(message.gpu_duration_ahead),
        worker_count=message.worker_count,
        finish_time=_time(message, "finish_time"),
    )


def pruned_from_wire(message: rpc.PruneJobsResponse) -> resources.Pruned:
    """What was pruned."""
    return resources.Pruned(
        job_count=message.job_count,
        video_count=message.video_count,
        video_size_bytes=message.video_size_bytes,
        image_count=message.image_count,
        image_size_bytes=message.image_size_bytes,
        orphan_count=message.orphan_count,
        orphan_size_bytes=message.orphan_size_bytes,
    )


def worker_from_wire(message: pb.Worker) -> resources.Worker:
    """A worker; a state that this version does not know is STARTING, as the protocol says."""
    return resources.Worker(
        name=message.name,
        state=_state(resources.WorkerState.STARTING, pb.Worker.State.items(), message.state),
        device=message.device,
        hostname=message.hostname,
        pid=message.pid,
        shot=message.shot,
        models=tuple(
            resources.Model(m.name, m.width_px, m.height_px, m.frame_count, m.step_count)
            for m in message.models
        ),
        version=message.version,
        connect_time=_time(message, "connect_time"),
        error=_failure(message.error) if message.HasField("error") else None,
        refused_report_count=message.refused_report_count,
        group=message.group,
    )


def _state(unknown: S, names: Iterable[tuple[str, int]], value: int) -> S:
    name = next((name for name, number in names if number == value), "")
    return type(unknown).__members__.get(name, unknown)


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta().total_seconds()


def _time(message: _Timed, field: str) -> datetime | None:
    if not message.HasField(field):  # type: ignore[arg-type]
        return None
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(tzinfo=UTC)


def _delivery(message: pb.Delivery) -> resources.Delivery:
    """A state that this version does not know is PENDING, as the protocol says."""
    return resources.Delivery(
        id=message.id,
        state=_state(resources.DeliveryState.PENDING, pb.Delivery.State.items(), message.state),
        attempt_count=message.attempt_count,
        next_time=_time(message, "next_time"),
        message=message.message,
    )


def _video(message: pb.Video) -> resources.Video:
    return resources.Video(
        name=message.name,
        media_type=message.media_type,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        frame_count=message.frame_count,
    )


def _progress(message: pb.Progress) -> resources.Progress:
    return resources.Progress(message.step, message.step_count, message.preview or None)


def _failure(message: pb.Error) -> resources.Failure:
    return resources.Failure(message.reason, message.message, dict(message.metadata))
