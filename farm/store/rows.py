"""Database rows read as records."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from farm.jobs.states import JobState, ShotCounts, ShotState, Wish
from farm.store.records import Failure, Job, Shot, ShotKey, Video, params_from_json


def job_from_row(row: Row[Any]) -> Job:
    """A row of `schema.job`."""
    return Job(
        number=row.number,
        id=row.id,
        display_name=row.display_name,
        priority=row.priority,
        wish=Wish(row.wish),
        state=JobState(row.state),
        shot_count=row.shot_count,
        counts=counts_from_row(row),
        create_time_s=row.create_time_s,
        start_time_s=row.start_time_s,
        end_time_s=row.end_time_s,
        webhook=row.webhook,
        tenant=row.tenant,
    )


def counts_from_row(row: Row[Any]) -> ShotCounts:
    """The counters of a row of `schema.job`."""
    return ShotCounts(
        queued=row.queued_count,
        rendering=row.rendering_count,
        succeeded=row.succeeded_count,
        failed=row.failed_count,
        cancelled=row.cancelled_count,
    )


def shot_from_row(row: Row[Any]) -> Shot:
    """A row of `schema.shot`."""
    video = failure = None
    if row.video_key is not None:
        video = Video(row.video_key, row.video_sha256, row.video_size_bytes, row.video_frame_count)
    if row.error_reason is not None:
        failure = Failure(row.error_reason, row.error_message)
    return Shot(
        key=ShotKey(row.job_id, row.number),
        state=ShotState(row.state),
        display_name=row.display_name,
        output_name=row.output_name,
        image_sha256=row.image_sha256,
        params=params_from_json(row.params),
        attempt_count=row.attempt_count,
        worker=row.worker,
        render_duration_s=row.render_duration_s,
        video=video,
        failure=failure,
        cached_from=row.cached_from,
        traceparent=row.traceparent or "",
    )
