"""What a terminal shows while a job runs."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from farm.cli.live import LiveView
from farm.cli.views import PlainView
from svdfarm import Failure, Job, JobState, Progress, RenderParams, Shot, ShotState, Video

JOB = Job(
    name="jobs/j",
    display_name="teaser",
    state=JobState.RUNNING,
    priority=0,
    shot_count=3,
    succeeded_shot_count=0,
    failed_shot_count=0,
    cancelled_shot_count=0,
    create_time=None,
    start_time=None,
    end_time=None,
    notice="",
)
SHOT = Shot(
    name="jobs/j/shots/1",
    image="images/0",
    params=RenderParams(step_count=8),
    state=ShotState.QUEUED,
    attempt_count=0,
    video=None,
    error=None,
    render_duration_s=None,
    worker="",
    display_name="rocket",
    output_name="rocket.mp4",
    progress=None,
)
RENDERING = dataclasses.replace(
    SHOT, state=ShotState.RENDERING, attempt_count=1, progress=Progress(3, 8)
)
VIDEO = Video("jobs/j/shots/1/video", "video/mp4", 1, "0" * 64, 14)


def screen_of(view: LiveView) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(view._render())
    return captured.get()


def live(job: Job, *shots: Shot) -> tuple[LiveView, io.StringIO]:
    file = io.StringIO()
    view = LiveView(Console(file=file, width=100, force_terminal=True, highlight=False))
    view.job(job)
    for shot in shots:
        view.shot(shot)
    return view, file


def test_a_shot_shows_its_step_and_a_waiting_one_that_it_waits() -> None:
    waiting = dataclasses.replace(SHOT, name="jobs/j/shots/2", display_name="wild")

    view, _ = live(JOB, RENDERING, waiting)

    rocket, wild, whole = screen_of(view).splitlines()
    assert "rocket" in rocket
    assert "step 3/8" in rocket
    assert "queued" in wild
    assert "teaser" in whole
    assert "RUNNING 0/3 shots" in whole


def test_after_its_last_step_a_shot_is_decoding_and_a_second_attempt_is_told() -> None:
    again = dataclasses.replace(RENDERING, attempt_count=2, progress=Progress(8, 8))

    view, _ = live(JOB, again)

    assert "decoding (attempt 2)" in screen_of(view)


def test_of_many_shots_only_those_that_render_are_shown() -> None:
    many = dataclasses.replace(JOB, shot_count=5000)
    waiting = [dataclasses.replace(SHOT, name=f"jobs/j/shots/{n}") for n in range(2, 5000)]

    view, _ = live(many, RENDERING, *waiting)

    assert len(screen_of(view).splitlines()) == 2


def test_a_failed_shot_leaves_a_line_with_its_reason() -> None:
    failed = dataclasses.replace(
        RENDERING,
        state=ShotState.FAILED,
        progress=None,
        error=Failure("OUT_OF_MEMORY", "too large\x1b[2J"),
    )

    view, file = live(JOB, RENDERING, failed)

    assert "rocket FAILED OUT_OF_MEMORY: too large?[2J" in file.getvalue()
    assert "rocket" not in screen_of(view)


def test_a_saved_video_is_told_with_its_path() -> None:
    view, file = live(JOB)

    view.saved(SHOT, VIDEO, Path("out/rocket.mp4"), skipped=False)

    assert "saved out/rocket.mp4\n" in file.getvalue()


def test_a_pipe_gets_one_line_per_change_of_state(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = PlainView()

    view.job(JOB)
    view.job(JOB)
    for shot in (SHOT, RENDERING, dataclasses.replace(RENDERING, progress=Progress(4, 8))):
        view.shot(shot)
    view.shot(dataclasses.replace(SHOT, attempt_count=1))

    assert capsys.readouterr().out.splitlines() == [
        "jobs/j RUNNING 0 of 3 shots ended",
        "rocket RENDERING step 3 of 8",
        "rocket QUEUED again after attempt 1",
    ]
