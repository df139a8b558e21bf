"""What a worker tells the gateway of a shot."""

from __future__ import annotations

from farm.cluster.attempt_log import AttemptLog
from farm.jobs.retry import Reason
from farm.render.renderer import Video
from farm.wire import duration
from svdfarm.v1 import resources_pb2
from svdfarm.v1 import session_service_pb2 as pb


def progress(
    lease: pb.Lease, step: int, step_count: int, preview: bytes = b""
) -> pb.SessionRequest:
    """So far it is; at step 0 it has begun."""
    told = resources_pb2.Progress(step=step, step_count=step_count, preview=preview)
    return pb.SessionRequest(progress=pb.LeaseProgress(lease=lease, progress=told))


def done(lease: pb.Lease, video: Video) -> pb.SessionRequest:
    """It is rendered, and this is the video that was sent."""
    told = resources_pb2.Video(
        media_type=video.media_type,
        size_bytes=video.size_bytes,
        sha256=video.sha256,
        frame_count=video.frame_count,
        width_px=video.width_px,
        height_px=video.height_px,
    )
    took = duration(sum(video.durations_s.values()))
    report = pb.Done(lease=lease, video=told, render_duration=took)
    for stage, seconds in video.durations_s.items():
        report.stage_durations[stage].FromMicroseconds(round(seconds * 1e6))
    return pb.SessionRequest(done=report)


def failed(lease: pb.Lease, reason: str, message: str) -> pb.SessionRequest:
    """It ended without a video."""
    error = resources_pb2.Error(reason=reason, message=message)
    return pb.SessionRequest(failed=pb.Failed(lease=lease, error=error))


def released(lease: pb.Lease) -> pb.SessionRequest:
    """It was cancelled, and the device has let go of it."""
    return pb.SessionRequest(released=pb.Released(lease=lease))


def with_log(report: pb.SessionRequest, log: AttemptLog) -> pb.SessionRequest:
    """The same with all that was logged so far."""
    told = pb.SessionRequest()
    told.CopyFrom(report)
    match told.WhichOneof("message"):
        case "done":
            told.done.log.extend(log.lines())
        case "failed":
            told.failed.log.extend(log.lines())
        case "released":
            told.released.log.extend(log.lines())
    return told


def reason_of(error: Exception) -> Reason:
    """What to call an error that the renderer does not know."""
    # By name: this module runs without torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Reason.OUT_OF_MEMORY
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
        return Reason.GPU_ERROR
    return Reason.INTERNAL
