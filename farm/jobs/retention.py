"""What may be collected: a pure function of what the farm keeps, a policy and the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from farm.jobs.states import FINAL_JOB_STATES, JobState

# An image comes before its job, and a video's file before its row.
GRACE_S = 24 * 3600.0


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended; once `choose` has chosen it, with the videos that go with it."""

    id: str
    state: JobState
    end_time_s: float
    video_count: int = 0
    video_size_bytes: int = 0


@dataclass(frozen=True)
class KeptVideos:
    """Files that the same jobs name: a shot may share the video of one rendered before."""

    job_ids: frozenset[str]  # whether they have ended or not; at least one
    count: int
    size_bytes: int


@dataclass(frozen=True)
class KeptImage:
    """An uploaded image, when it was last asked for, and the jobs that use it."""

    sha256: str
    size_bytes: int
    want_time_s: float
    job_ids: frozenset[str]


@dataclass(frozen=True)
class KeptFile:
    """A file among the images and videos."""

    key: str
    size_bytes: int
    modify_time_s: float


@dataclass(frozen=True)
class Holdings:
    """What is kept and might be collected."""

    jobs: Sequence[EndedJob] = ()
    images: Sequence[KeptImage] = ()
    orphans: Sequence[KeptFile] = ()  # files that no row names
    videos: Sequence[KeptVideos] = ()


@dataclass(frozen=True)
class Policy:
    """Which ended jobs are too old."""

    older_than_s: float  # ended at least so long ago
    states: frozenset[JobState] = FINAL_JOB_STATES
    grace_s: float = GRACE_S  # of what no job uses


def choose(kept: Holdings, policy: Policy, now_s: float) -> Holdings:
    """What of `kept` may be collected: old jobs, then images and files that nothing uses.

    An image goes only if no other job uses it than those that go, and nobody has asked for it
    within the grace. A video goes with the last of the jobs that name it, if all of them go.
    """
    jobs = [
        job
        for job in kept.jobs
        if job.state in policy.states & FINAL_JOB_STATES
        and now_s - job.end_time_s >= policy.older_than_s
    ]
    gone = {job.id for job in jobs}
    images = [
        image
        for image in kept.images
        if image.job_ids <= gone and now_s - image.want_time_s >= policy.grace_s
    ]
    orphans = [f for f in kept.orphans if now_s - f.modify_time_s >= policy.grace_s]
    return Holdings(_with_videos(jobs, kept.videos), images, orphans)


def _with_videos(jobs: Sequence[EndedJob], videos: Sequence[KeptVideos]) -> list[EndedJob]:
    place = {job.id: n for n, job in enumerate(jobs)}
    counts: Counter[str] = Counter()
    sizes_bytes: Counter[str] = Counter()
    for kept in videos:
        if kept.job_ids <= place.keys():
            last = max(kept.job_ids, key=place.__getitem__)
            counts[last] += kept.count
            sizes_bytes[last] += kept.size_bytes
    return [
        replace(job, video_count=counts[job.id], video_size_bytes=sizes_bytes[job.id])
        for job in jobs
    ]
