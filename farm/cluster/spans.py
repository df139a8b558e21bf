"""The spans that a worker tells of an attempt: inside that of the attempt, its gateway's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from farm import tracing
from farm.cluster.reports import reason_of
from farm.render.errors import RenderCancelled, RenderError
from farm.render.renderer import Rendered, Video
from svdfarm.v1 import session_service_pb2 as pb


@contextmanager
def rendering(
    lease: pb.Lease, worker: str, device: str, came_s: float
) -> Iterator[Callable[[Rendered], Rendered]]:
    """The with block renders a shot that came to this worker then, and hands over its clip."""
    begun_s = time.time()
    tracing.tell(lease.traceparent, "wait", came_s, begun_s, {"svdfarm.worker": worker})
    clips: list[Rendered] = []
    error = ""

    def keep(clip: Rendered) -> Rendered:
        clips.append(clip)
        return clip

    try:
        yield keep
    except RenderError as failed:
        error = "" if isinstance(failed, RenderCancelled) else failed.reason
        raise
    except Exception as failed:
        error = reason_of(failed)
        raise
    finally:
        ended_s = time.time()
        about = {"svdfarm.worker": worker, "svdfarm.device": device}
        render = tracing.tell(lease.traceparent, "render", begun_s, ended_s, about, error=error)
        for clip in clips:
            _tell_stages(render, clip, ended_s)


def _tell_stages(render: str, clip: Rendered, ended_s: float) -> None:
    """One follows the other, and nothing that takes time comes after the last."""
    start_s = ended_s - sum(clip.durations_s.values())
    for stage, took_s in clip.durations_s.items():
        about = {"svdfarm.steps": clip.params.step_count or 0} if stage == "denoise" else {}
        tracing.tell(render, stage, start_s, start_s + took_s, about)
        start_s += took_s


def written(lease: pb.Lease, video: Video) -> None:
    """A video was written and checked just now."""
    ended_s = time.time()
    about = {"svdfarm.video_bytes": video.size_bytes}
    started_s = ended_s - video.durations_s.get("write", 0.0)
    tracing.tell(lease.traceparent, "write", started_s, ended_s, about)
