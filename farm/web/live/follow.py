"""What feeds the topics: WatchJob for a job, and a question each second for lists."""

from __future__ import annotations

import asyncio
import time
from zlib import crc32

from farm.web.farm import Calls
from farm.web.live.topic import Fragment, Topic
from farm.web.pages.html import Html
from farm.web.plots.history import History, Seen
from farm.web.plots.svg import bars, line
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2, worker_service_pb2

JOBS_A_PAGE = 25
_LIST_EVERY_S = 1.0
_PLOTS_EVERY_S = 10.0
_WORKERS_EVERY_S = 2.0
_ENDED_EVERY_S = 3.0
_STEPS_OF_SHOTS = 50  # jobs of more show their progress by shots, not by steps
_STEPS_OF_JOBS = 8


async def follow_job(topic: Topic, calls: Calls, name: str, html: Html) -> None:
    """A job's page: its head and its shots, with previews."""
    token = ""
    while True:
        request = pb.WatchJobRequest(name=name, resume_token=token, previews=True)
        watch = calls.watch(request)
        try:
            async for response in watch:
                token = response.resume_token
                if response.HasField("job"):
                    topic.put(head_fragment(response.job, html))
                else:
                    for fragment in shot_fragments(response.shot, html):
                        topic.put(fragment)
        finally:
            watch.cancel()
        await _requeued(calls, name, html)


async def follow_jobs(topic: Topic, calls: Calls, history: History, html: Html) -> None:
    """The newest page of the list, and the plots beside it."""
    plotted_s = -_PLOTS_EVERY_S
    while True:
        page = await calls.ask(calls.render.ListJobs, pb.ListJobsRequest(page_size=JOBS_A_PAGE))
        for row in [await row_of(calls, job, html) for job in reversed(page.jobs)]:
            topic.put(row)
        if time.monotonic() - plotted_s >= _PLOTS_EVERY_S:
            topic.put(plots_fragment(await history.look(calls), html))
            plotted_s = time.monotonic()
        there = {f"job-{html.id(job.name)}" for job in page.jobs} | {"plots"}
        for gone in set(topic.ids) - there:
            topic.drop(gone)
        await asyncio.sleep(_LIST_EVERY_S)


async def follow_workers(topic: Topic, calls: Calls, html: Html) -> None:
    """The page of the workers."""
    while True:
        request = worker_service_pb2.ListWorkersRequest(page_size=1000)
        page = await calls.ask(calls.worker.ListWorkers, request)
        for worker in page.workers:
            topic.put(worker_fragment(worker, html))
        there = {f"worker-{html.id(worker.name)}" for worker in page.workers}
        for gone in set(topic.ids) - there:
            topic.drop(gone)
        await asyncio.sleep(_WORKERS_EVERY_S)


async def row_of(calls: Calls, job: resources_pb2.Job, html: Html) -> Fragment:
    """A job in the list, by steps where it renders few shots."""
    done = html.job_percent(job)
    if job.state == resources_pb2.Job.RUNNING and job.shot_count <= _STEPS_OF_SHOTS:
        request = pb.ListShotsRequest(parent=job.name, page_size=_STEPS_OF_SHOTS)
        shots = (await calls.ask(calls.render.ListShots, request)).shots
        done = html.steps_percent(job, shots)
    version = str(crc32(job.SerializeToString(deterministic=True) + bytes([done])))
    image = await html.images.of(calls, job)
    return Fragment(
        f"job-{html.id(job.name)}",
        version,
        lambda: html.part("job_row", job=job, image=image, percent=done, version=version),
        into="jobs",
    )


def plots_fragment(seen: Seen, html: Html) -> Fragment:
    """The last hour."""
    version = str(crc32(repr(seen).encode()))
    drawn = {"queue": line(seen.waiting), "throughput": bars(seen.done)}
    return Fragment(
        "plots", version, lambda: html.part("plots", seen=seen, version=version, **drawn)
    )


def head_fragment(job: resources_pb2.Job, html: Html) -> Fragment:
    """A job's name, state, progress and buttons."""
    version = str(crc32(job.SerializeToString(deterministic=True)))
    return Fragment("head", version, lambda: html.part("job_head", job=job, version=version))


def shot_fragments(shot: resources_pb2.Shot, html: Html) -> list[Fragment]:
    """A shot's card, and within it what changes with each step: the card may hold the focus."""
    still = resources_pb2.Shot()
    still.CopyFrom(shot)
    still.ClearField("progress")
    version = str(crc32(still.SerializeToString(deterministic=True)))
    step = str(crc32(shot.progress.SerializeToString(deterministic=True)))
    number = html.number(shot.name)
    card = Fragment(
        f"shot-{number}",
        version,
        lambda: html.part("shot_card", shot=shot, version=version, step=step),
        number,
    )
    if shot.state != resources_pb2.Shot.RENDERING:
        return [card]
    now = Fragment(
        f"shot-{number}-now",
        step,
        lambda: html.part("shot_now", shot=shot, step=step),
        number,
    )
    return [card, now]


def worker_fragment(worker: resources_pb2.Worker, html: Html) -> Fragment:
    """A worker."""
    version = str(crc32(worker.SerializeToString(deterministic=True)))
    return Fragment(
        f"worker-{html.id(worker.name)}",
        version,
        lambda: html.part("worker_card", worker=worker, version=version),
        into="workers",
    )


async def _requeued(calls: Calls, name: str, html: Html) -> None:
    """Waits until a job that has ended goes on."""
    while True:
        await asyncio.sleep(_ENDED_EVERY_S)
        job = await calls.ask(calls.render.GetJob, pb.GetJobRequest(name=name))
        if job.state not in html.ended_states:
            return
