"""A job of one shot as OpenAI's object `video`."""

from __future__ import annotations

import re
from typing import Any

from farm.web.refusals import Refused, unknown
from svdfarm.v1 import resources_pb2 as pb

_ID = re.compile(r"video_([a-z0-9]{1,32})")
_S = pb.Shot.State
_STATUS = {
    _S.QUEUED: "queued",
    _S.RENDERING: "in_progress",
    _S.SUCCEEDED: "completed",
    _S.FAILED: "failed",
    _S.CANCELLED: "failed",  # OpenAI has no other word for it; error.code is cancelled
}


def job_name(video_id: str) -> str:
    """The job of a video. Raises Refused, 404."""
    match = _ID.fullmatch(video_id)
    if match is None:
        raise unknown("video", video_id)
    return f"jobs/{match[1]}"


def video_id(job: str) -> str:
    """What a job is called as a video."""
    return f"video_{job.removeprefix('jobs/')}"


def is_video(job: pb.Job) -> bool:
    """Whether it is listed as one: a job of several shots is not."""
    return job.shot_count == 1


def video_of(job: pb.Job, shot: pb.Shot) -> dict[str, Any]:
    """The object, as JSON has it."""
    params = shot.params
    done = shot.state == _S.SUCCEEDED
    return {
        "id": video_id(job.name),
        "object": "video",
        "model": params.model,
        "status": _STATUS.get(shot.state, "in_progress"),
        "progress": progress_percent(shot),
        "created_at": job.create_time.seconds,
        "completed_at": job.end_time.seconds if done and job.HasField("end_time") else None,
        "expires_at": None,
        "size": f"{params.width_px}x{params.height_px}",
        "seconds": f"{params.frame_count / params.playback_fps:.4g}",
        "prompt": None,
        "remixed_from_video_id": None,
        "error": _error(shot),
        "num_frames": params.frame_count,
        "num_inference_steps": params.step_count,
        "fps": params.fps,
        "playback_fps": params.playback_fps,
        "motion_bucket_id": params.motion_bucket_id,
        "noise_aug_strength": params.noise_aug_strength,
        "min_guidance_scale": params.min_guidance_scale,
        "max_guidance_scale": params.max_guidance_scale,
        "seed": params.seed,
        "tier": params.tier,
    }


def progress_percent(shot: pb.Shot) -> int:
    """From 0 to 100: of the denoising steps; 100 is the video itself, and nothing else."""
    if shot.state == _S.SUCCEEDED:
        return 100
    if shot.state != _S.RENDERING or not shot.progress.step_count:
        return 0
    return min(99, 100 * shot.progress.step // shot.progress.step_count)


def not_ready(shot: pb.Shot) -> Refused:
    """409 for the content of a video that there is not, or not yet."""
    status = _STATUS.get(shot.state, "in_progress")
    if status == "failed":
        return Refused(409, f"the video has failed: {_words(shot)}", "video_failed")
    return Refused(
        409, f"the video is {status}, {progress_percent(shot)} %; ask again", "video_not_ready"
    )


def _error(shot: pb.Shot) -> dict[str, str] | None:
    if shot.state == _S.CANCELLED:
        return {"code": "cancelled", "message": _words(shot)}
    if shot.state == _S.FAILED:
        return {"code": shot.error.reason.lower(), "message": _words(shot)}
    return None


def _words(shot: pb.Shot) -> str:
    return shot.error.message or "it was cancelled"
