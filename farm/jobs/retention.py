"""What may be collected: a pure function of what the farm keeps, a policy and the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farm.jobs.states import FINAL_JOB_STATES, JobState

# An image comes before its job, and a video's file before its row.
GRACE_S = 24 * 3600.0


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended, and what its videos take."""

    id: str
    state: JobState
    end_time_s: float
    video_count: int
    video_size_bytes: int


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


@dataclass(frozen=True)
class Policy:
    """Which ended jobs are too old."""

    older_than_s: float  # ended at least so long ago
    states: frozenset[JobState] = FINAL_JOB_STATES
    grace_s: float = GRACE_S  # of what no job uses


def choose(kept: Holdings, policy: Policy, now_s: float) -> Holdings:
    """What of `kept` may be collected: old jobs, then images and files that nothing uses.

    An image goes only if no other job uses it than those that go, and nobody has asked for it
    within the grace.
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
    return Holdings(jobs, images, orphans)
