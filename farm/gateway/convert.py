"""Records of the store and messages of the wire, each made from the other."""

from __future__ import annotations

import re

from farm.gateway.attempt_log import from_stored
from farm.jobs import trace_context
from farm.jobs.estimate import Estimate
from farm.jobs.retention import Holdings
from farm.store.records import Attempt, Delivery, Image, Job, Lease, Shot, ShotKey
from farm.wire import duration, params_to_wire, timestamp
from svdfarm.v1 import render_service_pb2 as render_pb
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb

_SHOT_NAME = re.compile(r"jobs/([a-z0-9]{1,32})/shots/([1-9][0-9]{0,5})")


def job_to_wire(job: Job, notice: str = "", delivery: Delivery | None = None) -> pb.Job:
    """A job; `delivery` is of what its webhook was told last."""
    return pb.Job(
        name=job.name,
        display_name=job.display_name,
        state=pb.Job.State.Value(job.state.value),
        priority=job.priority,
        shot_count=job.shot_count,
        succeeded_shot_count=job.counts.succeeded,
        failed_shot_count=job.counts.failed,
        cancelled_shot_count=job.counts.cancelled,
        create_time=timestamp(job.create_time_s),
        start_time=timestamp(job.start_time_s),
        end_time=timestamp(job.end_time_s),
        notice=notice,
        webhook=job.webhook or "",
        tenant=job.tenant,
        delivery=None if delivery is None else _delivery_to_wire(delivery),
    )


def _delivery_to_wire(delivery: Delivery) -> pb.Delivery:
    return pb.Delivery(
        id=delivery.id,
        state=pb.Delivery.State.Value(delivery.state.value),
        attempt_count=delivery.attempt_count,
        next_time=timestamp(delivery.next_time_s),
        message=delivery.message or "",
    )


def shot_to_wire(shot: Shot, progress: pb.Progress | None = None) -> pb.Shot:
    """A shot; `progress` is of its present attempt."""
    message = pb.Shot(
        name=str(shot.key),
        image=f"images/{shot.image_sha256}",
        params=params_to_wire(shot.params),
        state=pb.Shot.State.Value(shot.state.value),
        attempt_count=shot.attempt_count,
        display_name=shot.display_name,
        output_name=shot.output_name,
        worker=f"workers/{shot.worker}" if shot.worker else "",
        progress=progress,
        render_duration=duration(shot.render_duration_s),
        cached_from=shot.cached_from or "",
    )
    if shot.video is not None:
        message.video.CopyFrom(
            pb.Video(
                name=f"{shot.key}/video",
                media_type=shot.params.container.media_type,
                size_bytes=shot.video.size_bytes,
                sha256=shot.video.sha256,
                frame_count=shot.video.frame_count,
                width_px=shot.params.width_px or 0,
                height_px=shot.params.height_px or 0,
            )
        )
    if shot.failure is not None:
        message.error.CopyFrom(pb.Error(reason=shot.failure.reason, message=shot.failure.message))
    return message


def attempt_to_wire(attempt: Attempt) -> pb.Attempt:
    """An attempt."""
    return pb.Attempt(
        name=f"{attempt.shot}/attempts/{attempt.number}",
        worker=f"workers/{attempt.worker}",
        claim_time=timestamp(attempt.claim_time_s),
        start_time=timestamp(attempt.start_time_s),
        end_time=timestamp(attempt.end_time_s),
        outcome=attempt.outcome or "",
        message=attempt.message or "",
        duration=duration(attempt.duration_s),
        log=from_stored(attempt.log),
    )


def estimate_to_wire(
    told: Estimate, shot_count: int, cached_count: int, now_s: float
) -> render_pb.JobEstimate:
    """What a job would take."""
    return render_pb.JobEstimate(
        shot_count=shot_count,
        cached_shot_count=cached_count,
        gpu_duration=duration(told.gpu_s),
        unknown_shot_count=told.unknown_count,
        scaled_shot_count=told.scaled_count,
        gpu_duration_ahead=duration(told.ahead_s),
        worker_count=told.worker_count,
        finish_time=timestamp(None if told.finish_s is None else now_s + told.finish_s),
    )


def image_to_wire(image: Image) -> pb.Image:
    """An image."""
    return pb.Image(
        name=f"images/{image.sha256}",
        size_bytes=image.size_bytes,
        width_px=image.width_px,
        height_px=image.height_px,
    )


def pruned_to_wire(gone: Holdings) -> render_pb.PruneJobsResponse:
    """What was pruned, counted."""
    return render_pb.PruneJobsResponse(
        job_count=len(gone.jobs),
        video_count=sum(job.video_count for job in gone.jobs),
        video_size_bytes=sum(job.video_size_bytes for job in gone.jobs),
        image_count=len(gone.images),
        image_size_bytes=sum(image.size_bytes for image in gone.images),
        orphan_count=len(gone.orphans),
        orphan_size_bytes=sum(file.size_bytes for file in gone.orphans),
    )


def lease_to_wire(lease: Lease) -> session_pb.Lease:
    """A lease."""
    return session_pb.Lease(
        shot=str(lease.shot),
        attempt=lease.attempt,
        token=lease.token,
        traceparent=lease.traceparent,
    )


def lease_from_wire(message: session_pb.Lease) -> Lease:
    """A lease. Raises ValueError for a name that is none."""
    match = _SHOT_NAME.fullmatch(message.shot)
    if match is None:
        raise ValueError(f"{message.shot[:100]!r} is not the name of a shot")
    span = trace_context.read(message.traceparent)
    return Lease(ShotKey(match[1], int(match[2])), message.attempt, message.token, span)
