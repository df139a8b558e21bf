"""How typed programs use the SDK: `make check` has mypy read this; nothing runs it.

A type that became looser fails an `assert_type`, or leaves an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import assert_type

import svdfarm


def use(farm: svdfarm.Client) -> None:
    job = farm.submit([Path("a.jpg"), svdfarm.NewShot(b"...")], progress=lambda done, size: None)
    assert_type(job, svdfarm.JobHandle)
    assert_type(job.wait(60), svdfarm.Job)
    assert_type(job.watch(timeout_s=60), Generator[svdfarm.Job | svdfarm.Shot, None, None])
    for video in job.videos():
        assert_type(video, svdfarm.FinishedVideo)
        assert_type(video.save("out/"), Path)
        assert_type(video.shot.params.seed, int | None)
    assert_type(next(farm.jobs()).state, svdfarm.JobState)
    assert_type(job.requeue([svdfarm.ShotState.FAILED]), int)


async def use_async(farm: svdfarm.AsyncClient) -> None:
    job = await farm.submit("a.jpg", params=svdfarm.RenderParams(seed=1))
    assert_type(job, svdfarm.AsyncJobHandle)
    assert_type(await job.wait(60), svdfarm.Job)
    assert_type(job.watch(timeout_s=60), AsyncGenerator[svdfarm.Job | svdfarm.Shot, None])
    async for video in job.videos():
        assert_type(video, svdfarm.AsyncFinishedVideo)
        assert_type(await video.save("out/"), Path)
    assert_type(await anext(farm.workers()), svdfarm.Worker)


def misuse(farm: svdfarm.Client, job: svdfarm.Job) -> None:
    svdfarm.RenderParams(fps="7")  # type: ignore[arg-type]
    svdfarm.RenderParams(motion=7)  # type: ignore[call-arg]
    farm.submit("a.jpg", progress=lambda done: None)  # type: ignore[arg-type, misc]
    farm.job(job)  # type: ignore[arg-type]
    job.priority = 5  # type: ignore[misc]
