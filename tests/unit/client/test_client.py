"""The client against a real gateway and a worker with the fake renderer."""

from __future__ import annotations

import hashlib
import io
import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image as PillowImage

import svdfarm
from svdfarm import Client, JobState, NewShot, Rejected, RenderParams, Shot, ShotState
from tests.running import free_port
from tests.unit.client.running_farm import RunningFarm, running_farm

SMALL = RenderParams(model="tiny", width_px=64, height_px=64, frame_count=3, step_count=2)


def test_every_video_arrives_once_and_as_the_farm_hashed_it(
    client: Client, photo: Path, tmp_path: Path
) -> None:
    shots = [NewShot(photo, SMALL, name=f"take-{n}") for n in range(3)]
    handle = client.submit(shots, display_name="takes")

    saved = {video.save(tmp_path): video for video in handle.videos(timeout_s=60)}

    assert {path.name for path in saved} == {"take-0.mp4", "take-1.mp4", "take-2.mp4"}
    for path, video in saved.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == video.video.sha256
        assert path.stat().st_size == video.video.size_bytes
    job = handle.get()
    assert (job.state, job.display_name) == (JobState.SUCCEEDED, "takes")
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in saved}


def test_an_image_may_come_as_path_text_bytes_or_pillow_image(client: Client, photo: Path) -> None:
    with PillowImage.open(photo) as picture:
        handle = client.submit(
            [photo, str(photo), photo.read_bytes(), picture.resize((64, 64))], params=SMALL
        )

    shots = list(handle.shots())

    assert shots[0].image == shots[1].image == shots[2].image != shots[3].image
    assert [shot.display_name for shot in shots] == ["rocket", "rocket-2", "shot-3", "shot-4"]


def test_a_glob_makes_one_shot_per_file_in_order_of_name(client: Client, photo: Path) -> None:
    handle = client.submit(f"{photo.parent}/*.png", params=SMALL)

    names = [shot.display_name for shot in handle.shots()]

    assert names == ["astronaut", "chelsea", "coffee"]


def test_the_farm_reports_every_setting_it_rendered_with(client: Client, photo: Path) -> None:
    given = RenderParams(
        model="tiny",
        width_px=64,
        height_px=72,
        frame_count=3,
        step_count=2,
        fps=9,
        playback_fps=12,
        motion_bucket_id=200,
        noise_aug_strength=0.02,
        min_guidance_scale=1.1,
        max_guidance_scale=2.2,
        decode_chunk_size=2,
        seed=2**63 - 1,
        fit="pad",
        codec="h264",
        crf=20,
        tier="fast",
    )

    handle = client.submit(photo, params=given)

    (shot,) = handle.shots()
    assert shot.params == given


def test_the_same_request_id_gives_the_same_job_and_other_content_is_refused(
    client: Client, photo: Path
) -> None:
    request_id = str(uuid.uuid4())
    first = client.submit(photo, params=SMALL, request_id=request_id)

    again = client.submit(photo, params=SMALL, request_id=request_id)

    assert again.name == first.name
    with pytest.raises(svdfarm.Rejected):
        client.submit(photo, params=RenderParams(model="tiny"), request_id=request_id)


def test_a_refused_shot_is_named_with_its_field_and_nothing_is_submitted(
    client: Client, photo: Path
) -> None:
    before = [job.name for job in client.jobs()]
    wrong = RenderParams(model="tiny", min_guidance_scale=4)  # wrong beside the farm's default

    with pytest.raises(svdfarm.ShotRejected) as caught:
        client.submit([NewShot(photo, SMALL), NewShot(photo, wrong)])

    (violation,) = caught.value.violations
    assert (violation.shot_index, violation.shot_field) == (1, "min_guidance_scale")
    assert violation.message == "is 4; allowed: at most max_guidance_scale (3)"
    assert [job.name for job in client.jobs()] == before


def test_an_image_that_the_farm_cannot_decode_names_its_shots(client: Client, photo: Path) -> None:
    broken = b"\x89PNG\r\n\x1a\n" + uuid.uuid4().bytes

    with pytest.raises(svdfarm.ShotRejected) as caught:
        client.submit([photo, broken], params=SMALL)

    assert [v.field for v in caught.value.violations] == ["shots[1].image"]


def test_progress_of_an_upload_is_told_after_each_image(client: Client, photo: Path) -> None:
    data = photo.read_bytes()
    images = [data, data + bytes(1), data + bytes(2), data]  # as cameras end them
    size_bytes = sum(len(image) for image in images[:3])
    told: list[tuple[int, int]] = []

    client.submit(images, params=SMALL, progress=lambda *bytes_: told.append(bytes_))

    assert [total for _, total in told] == [size_bytes] * 3
    assert told == sorted(told)
    assert told[-1] == (size_bytes, size_bytes)


def test_a_shot_is_made_again_with_another_codec(client: Client, photo: Path) -> None:
    crisp = replace(SMALL, codec="h264", crf=51)
    done = client.submit([NewShot(photo, crisp, name="take", output_name="film.mp4")])
    (shot,) = done.shots()

    made = client.submit([NewShot.again(shot, codec="prores")])

    (again,) = made.shots()
    assert (again.params.codec, again.params.crf, again.output_name) == ("prores", None, "take.mov")
    same = NewShot.again(shot, codec="h264", step_count=3)
    assert (same.params.crf, same.output_name) == (51, "film.mp4")
    assert NewShot.again(shot, codec="h265", crf=20).params.crf == 20


def test_progress_is_not_told_where_the_farm_has_every_image(client: Client, photo: Path) -> None:
    (shot,) = client.submit(photo, params=SMALL).shots()
    told: list[tuple[int, int]] = []
    client.submit(NewShot.again(shot), progress=lambda *bytes_: told.append(bytes_))
    assert told == []


def test_cancel_ends_a_job_that_waits(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=RenderParams(model="svd"))

    handle.cancel()

    assert handle.wait(timeout_s=30).state is JobState.CANCELLED
    assert [shot.state for shot in handle.shots()] == [ShotState.CANCELLED]


def test_single_shots_are_cancelled_and_the_job_goes_on(client: Client, photo: Path) -> None:
    handle = client.submit([photo] * 3, params=RenderParams(model="svd"))
    first, second, _ = handle.shots()

    assert handle.cancel([]).cancelled_shot_count == 0  # none, and not all
    job = handle.cancel([first, second.name])

    assert (job.state, job.cancelled_shot_count) == (JobState.QUEUED, 2)
    wanted = [ShotState.CANCELLED, ShotState.CANCELLED, ShotState.QUEUED]
    assert [shot.state for shot in handle.shots()] == wanted
    with pytest.raises(svdfarm.NotFound, match="shots/4"):
        handle.cancel([f"{handle.name}/shots/4"])
    handle.cancel()


def test_a_paused_job_goes_on_when_it_is_resumed(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=RenderParams(model="svd"))

    assert handle.pause().state is JobState.PAUSED
    assert handle.resume().state is JobState.QUEUED

    handle.cancel()


def test_cancelled_shots_are_requeued_where_they_are_asked_for(client: Client, photo: Path) -> None:
    handle = client.submit([photo, photo], params=RenderParams(model="svd"))
    handle.cancel()
    first, _ = handle.shots()

    assert handle.requeue() == 0
    with pytest.raises(svdfarm.Rejected, match="is CANCELLED; ask for"):
        handle.requeue(shots=[first])
    assert handle.requeue([ShotState.CANCELLED], [first]) == 1
    assert handle.requeue([ShotState.CANCELLED]) == 1

    assert [shot.state for shot in handle.shots()] == [ShotState.QUEUED] * 2
    handle.cancel()


def test_prune_tells_what_it_deleted(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=RenderParams(model="svd"))
    handle.cancel()
    cancelled = [JobState.CANCELLED]

    would = client.prune(timedelta(0), cancelled, dry_run=True)
    kept = handle.get()
    gone = client.prune(timedelta(0), cancelled)

    assert kept.state is JobState.CANCELLED
    assert gone == would
    assert gone.job_count >= 1
    assert [job for job in client.jobs() if job.state is JobState.CANCELLED] == []
    with pytest.raises(svdfarm.Rejected, match="RUNNING"):
        client.prune(timedelta(0), [JobState.RUNNING])


def test_an_update_changes_what_is_given(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=RenderParams(model="svd"), display_name="a", priority=5)

    named = handle.update(display_name="b")
    moved = handle.update(priority=0)

    assert (named.display_name, named.priority) == ("b", 5)
    assert (moved.display_name, moved.priority) == ("b", 0)
    with pytest.raises(svdfarm.Rejected, match="update_mask is empty"):
        handle.update()
    handle.cancel()


def test_only_a_job_that_has_ended_is_deleted(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=RenderParams(model="svd"))

    with pytest.raises(svdfarm.Rejected) as refused:
        handle.delete()
    handle.cancel()
    handle.delete()

    assert refused.value.reason == "JOB_NOT_ENDED"
    with pytest.raises(svdfarm.NotFound):
        handle.get()


def test_waiting_ends_at_its_timeout_and_names_the_job(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=RenderParams(model="svd"))

    with pytest.raises(svdfarm.DeadlineExceeded, match=handle.name):
        handle.wait(timeout_s=0.3)

    handle.cancel()


def test_a_job_is_found_by_its_bare_id(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=SMALL)

    found = client.job(handle.name.removeprefix("jobs/"))

    assert found.get().name == handle.name


@pytest.mark.parametrize("name", ["jobs/nowhere", "nowhere", "jobs/a/b", "jobs/"])
def test_an_unknown_job_is_not_found_or_refused(client: Client, name: str) -> None:
    with pytest.raises((svdfarm.NotFound, svdfarm.Rejected)):
        client.job(name).get()
    with pytest.raises((svdfarm.NotFound, svdfarm.Rejected)):
        client.job(name).wait(timeout_s=10)


def test_workers_are_listed(client: Client) -> None:
    (worker,) = client.workers()

    assert worker.state is svdfarm.WorkerState.ACTIVE
    assert [model.name for model in worker.models] == ["tiny"]


def test_a_video_is_downloaded_by_its_name(client: Client, photo: Path, tmp_path: Path) -> None:
    handle = client.submit(photo, params=SMALL)
    (video,) = handle.videos(timeout_s=60)

    path = client.download(f"{video.shot.name}/video", tmp_path / "clip.mp4")

    assert path.read_bytes() == video.read()


def test_an_image_comes_back_as_it_was_sent(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=SMALL)
    (shot,) = handle.shots()

    assert client.image(shot.image.removeprefix("images/")) == photo.read_bytes()
    with pytest.raises(svdfarm.NotFound, match="images/0000"):
        client.image("0" * 64)


def test_a_shot_without_a_video_has_nothing_to_download(
    client: Client, photo: Path, tmp_path: Path
) -> None:
    handle = client.submit(photo, params=RenderParams(model="svd"))
    (shot,) = handle.shots()

    with pytest.raises(svdfarm.NotFound, match="no video"):
        client.download(f"{shot.name}/video", tmp_path / "clip.mp4")

    assert list(tmp_path.iterdir()) == []
    handle.cancel()


def test_a_missing_token_is_told_apart_from_a_missing_farm(tmp_path: Path, photo: Path) -> None:
    token = "a-long-and-random-one"
    with running_farm(tmp_path, token) as farm:
        for wrong in (None, "another-long-random-one"):
            with Client(farm.address, wrong) as client, pytest.raises(svdfarm.Unauthenticated):
                list(client.jobs())
        with Client(farm.address, token) as client:
            assert list(client.jobs()) == []


def test_no_farm_is_unreachable_after_the_connect_timeout() -> None:
    told: list[str] = []
    address = f"127.0.0.1:{free_port()}"
    with (
        Client(
            address, connect_timeout_s=0.3, on_waiting=lambda reason, _: told.append(reason)
        ) as client,
        pytest.raises(svdfarm.Unreachable, match=address),
    ):
        list(client.jobs())

    assert len(told) == 1


def test_submit_and_watch_outlive_a_restart_of_the_gateway(tmp_path: Path, photo: Path) -> None:
    with running_farm(tmp_path) as farm, Client(farm.address, connect_timeout_s=30) as client:
        handle = client.submit([photo, photo], params=SMALL)
        events = handle.watch(timeout_s=60)
        next(events)

        farm.stop()
        restart = threading.Thread(target=farm.start)
        restart.start()
        late = client.submit(photo, params=SMALL)  # the farm is away when this is called
        restart.join()
        farm.add_worker()

        ended = [event for event in events if not isinstance(event, Shot)][-1]
        assert ended.state is JobState.SUCCEEDED
        assert late.wait(timeout_s=60).state is JobState.SUCCEEDED


async def test_the_client_works_where_a_loop_runs(client: Client, photo: Path) -> None:
    handle = client.submit(photo, params=SMALL)  # as in a notebook

    (video,) = handle.videos(timeout_s=60)

    assert len(video.read()) == video.video.size_bytes


def test_thousands_of_shots_are_listed_whole(
    client: Client, farm: RunningFarm, photo: Path
) -> None:
    waiting = RenderParams(model="svd", step_count=1)
    handle = client.submit([NewShot(photo, waiting, name=f"s-{n}") for n in range(2001)])

    names = [shot.display_name for shot in handle.shots()]

    assert names == [f"s-{n}" for n in range(2001)]
    handle.cancel()


def test_a_picture_of_another_mode_is_sent_as_png(client: Client) -> None:
    picture = PillowImage.new("L", (32, 32), 100)
    file = io.BytesIO()
    picture.save(file, format="PNG")

    handle = client.submit(picture, params=SMALL)

    (shot,) = handle.shots()
    assert shot.image == f"images/{hashlib.sha256(file.getvalue()).hexdigest()}"


@pytest.mark.parametrize("timeout_s", [-1.0, float("nan")])
def test_a_timeout_that_is_none_is_refused(farm: RunningFarm, timeout_s: float) -> None:
    with Client(farm.address) as client, pytest.raises(Rejected, match="timeout_s is"):
        client.job("jobs/none").wait(timeout_s)


def test_an_endless_timeout_is_endless(farm: RunningFarm, photo: Path) -> None:
    with Client(farm.address) as client:
        job = client.submit(photo, params=SMALL)
        assert job.wait(float("inf")).state is JobState.SUCCEEDED
