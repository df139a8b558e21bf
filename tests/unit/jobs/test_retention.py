from __future__ import annotations

import pytest

from farm.jobs.retention import (
    EndedJob,
    Holdings,
    KeptFile,
    KeptImage,
    KeptVideos,
    Policy,
    choose,
)
from farm.jobs.states import JobState

NOW = 1000.0
POLICY = Policy(older_than_s=100, grace_s=50)


def job(name: str, age_s: float, state: JobState = JobState.SUCCEEDED) -> EndedJob:
    return EndedJob(name, state, NOW - age_s)


def image(name: str, age_s: float, *jobs: str) -> KeptImage:
    return KeptImage(name, 1, NOW - age_s, frozenset(jobs))


def file(name: str, age_s: float) -> KeptFile:
    return KeptFile(name, 1, NOW - age_s)


@pytest.mark.parametrize(
    ("kept", "policy", "chosen"),
    [
        (Holdings(), POLICY, []),
        (Holdings(jobs=[job("old", 100), job("new", 99)]), POLICY, ["old"]),
        # The clock went back.
        (Holdings(jobs=[job("future", -5)]), Policy(0), []),
        (
            Holdings(jobs=[job("good", 200), job("bad", 200, JobState.FAILED)]),
            Policy(100, frozenset({JobState.FAILED})),
            ["bad"],
        ),
        # Whatever is asked for, and whatever is told to have ended.
        (
            Holdings(jobs=[job("going on", 200, JobState.RUNNING)]),
            Policy(100, frozenset(JobState)),
            [],
        ),
        (Holdings(images=[image("unused", 50), image("just sent", 49)]), POLICY, ["unused"]),
        (
            Holdings(jobs=[job("old", 200)], images=[image("its", 50, "old")]),
            POLICY,
            ["old", "its"],
        ),
        (
            Holdings(jobs=[job("old", 200), job("new", 9)], images=[image("i", 50, "old", "new")]),
            POLICY,
            ["old"],
        ),
        # A job that has not ended is not among those that could go: its images stay.
        (Holdings(images=[image("in use", 999, "running")]), POLICY, []),
        # Somebody has asked for it, and is about to send a job.
        (
            Holdings(jobs=[job("old", 200)], images=[image("wanted", 1, "old")]),
            POLICY,
            ["old"],
        ),
        (Holdings(orphans=[file("lost", 50), file("arriving", 1)]), POLICY, ["lost"]),
    ],
)
def test_choose(kept: Holdings, policy: Policy, chosen: list[str]) -> None:
    found = choose(kept, policy, NOW)
    names = [j.id for j in found.jobs] + [i.sha256 for i in found.images]
    assert names + [f.key for f in found.orphans] == chosen


def test_a_video_that_jobs_share_goes_once_and_with_the_last_of_them() -> None:
    own, shared = KeptVideos(frozenset({"a"}), 2, 20), KeptVideos(frozenset("ab"), 1, 5)
    in_use = KeptVideos(frozenset({"a", "running"}), 1, 100)
    kept = Holdings(jobs=[job("a", 300), job("b", 200)], videos=[own, shared, in_use])

    both = choose(kept, Policy(200), NOW)
    first = choose(kept, Policy(300), NOW)

    told = [(j.id, j.video_count, j.video_size_bytes) for j in both.jobs]
    assert told == [("a", 2, 20), ("b", 1, 5)]
    assert [(j.id, j.video_count, j.video_size_bytes) for j in first.jobs] == [("a", 2, 20)]
