"""Drafts, contact sheets and promotions, against a real farm."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from farm.cli import drafts, ladder
from farm.cli.exits import CommandFailed
from farm.cli.picks import choose
from farm.cli.planning import read_plan
from svdfarm import Client, RenderParams
from svdfarm.errors import SaveFailed
from tests.running import running_gateway, running_worker
from tests.unit.cli.conftest import Command
from tests.unit.cli.test_submit import ONE, TWO, job_name, objects
from tests.unit.client.running_farm import RunningFarm, running_farm

JobsYaml = Callable[..., Path]
SMALL = RenderParams(model="tiny", width_px=64, height_px=64, frame_count=3, step_count=2)
SWEEP = "name: rocket, sweep: {seed: '1-4'}"


@pytest.fixture
def full(cwd: Path, photo: Path) -> Path:
    """A jobs.yaml of four seeds at a size and steps that drafts can be smaller than."""
    path = cwd / "full.yaml"
    path.write_text(
        "defaults: {model: tiny, size: 256x192, frames: 3, steps: 10}\n"
        f"shots:\n  - {{image: {photo}, {SWEEP}}}\n"
    )
    return path


def shots_of(on_farm: Command, job: str) -> list[dict[str, object]]:
    (whole,) = objects(on_farm("show", job, "--json"))
    shots = whole["shots"]
    assert isinstance(shots, list)
    return shots


def test_a_draft_renders_small_and_makes_a_sheet(on_farm: Command, full: Path, cwd: Path) -> None:
    ended = on_farm("submit", full, "--draft")

    assert ended.code == 0
    job = job_name(ended)
    names = sorted(path.name for path in (cwd / "out").iterdir())
    assert names == [
        *[f"draft-rocket-0{n}.mp4" for n in range(1, 5)],
        f"sheet-{job.removeprefix('jobs/')}.png",
    ]
    assert f"farm promote {job} --shots N,..." in ended.err
    for shot in shots_of(on_farm, job):
        params = shot["params"]
        assert isinstance(params, dict)
        assert (params["width_px"], params["height_px"], params["step_count"]) == (128, 96, 4)
        assert params["frame_count"] == 3


def test_a_draft_needs_no_token_that_sees_the_workers(
    command: Command, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    farms_own = "the-farms-own-token-of-a-test"
    with (
        running_gateway(tmp_path / "data", token=farms_own) as gateway,
        running_worker(str(gateway.address), tmp_path, token=farms_own),
        Client(str(gateway.address), farms_own) as operator,
    ):
        monkeypatch.setenv("FARM_ADDRESS", str(gateway.address))
        monkeypatch.setenv("FARM_TOKEN", operator.create_token("an editor", ["render"]).text)

        ended = command("submit", full, "--draft")

    assert ended.code == 0


def test_picks_are_promoted_with_their_images_and_seeds(
    on_farm: Command, full: Path, cwd: Path
) -> None:
    draft = job_name(on_farm("submit", full, "--draft"))
    for path in (cwd / "full.yaml", *(cwd / "out").iterdir()):
        path.unlink()

    ended = on_farm("promote", draft, "--shots", "2,4", "--size", "256x192", "--steps", "10")

    assert ended.code == 0
    assert sorted(p.name for p in (cwd / "out").iterdir()) == ["rocket-02.mp4", "rocket-04.mp4"]
    before, after = shots_of(on_farm, draft), shots_of(on_farm, job_name(ended))
    assert [shot["image"] for shot in after] == [before[n]["image"] for n in (1, 3)]
    for shot, drafted in zip(after, (before[1], before[3]), strict=True):
        params, small = shot["params"], drafted["params"]
        assert isinstance(params, dict)
        assert isinstance(small, dict)
        sizes = {"width_px": 256, "height_px": 192, "step_count": 10}
        assert params == small | sizes


def test_without_a_size_picks_get_the_models_own(
    on_farm: Command, jobs_yaml: JobsYaml, photo: Path
) -> None:
    file = jobs_yaml(SWEEP)
    file.write_text(f"shots: [{{image: {photo}, model: tiny, frames: 3, {SWEEP}}}]\n")
    draft = job_name(on_farm("submit", file, "--draft"))
    promoted = on_farm("promote", draft, "--shots", "rocket-03", "--detach")
    assert "to be rendered: 1 shot of tiny at 256x144 in 8 steps" in promoted.err
    made = job_name(promoted)
    (shot,) = shots_of(on_farm, made)
    params = shot["params"]
    assert isinstance(params, dict)
    assert (params["width_px"], params["height_px"]) == (256, 144)
    assert params["seed"] == 3


def test_a_draft_of_another_size_is_not_promoted_without_one(
    on_farm: Command, full: Path, cwd: Path
) -> None:
    full.write_text(full.read_text().replace("256x192", "512x320"))
    draft = job_name(on_farm("submit", full, "--draft"))
    before = on_farm("jobs", "--json").out

    refused = on_farm("promote", draft, "--shots", "1", "--steps", "10")

    assert refused.code == 1
    told = "this draft was not made from tiny's own 256x144: say --size WxH"
    assert refused.err == f"error: rocket-01 (256x160, 4 steps): {told}\n"
    assert on_farm("jobs", "--json").out == before


def test_a_draft_of_other_steps_is_not_promoted_without_them(on_farm: Command, full: Path) -> None:
    full.write_text(full.read_text().replace("steps: 10", "steps: 50"))
    draft = job_name(on_farm("submit", full, "--draft"))
    refused = on_farm("promote", draft, "--shots", "1", "--size", "256x192")
    assert refused.code == 1
    assert "tiny's own 8 steps: say --steps N" in refused.err


def test_picks_of_two_models_get_what_each_model_has(
    on_farm: Command, cwd: Path, photo: Path
) -> None:
    file = cwd / "mixed.yaml"
    own = "- {{image: {photo}, name: {model}, model: {model}, seed: 1}}"
    shots = "\n  ".join(own.format(photo=photo, model=model) for model in ("tiny", "svd-xt"))
    file.write_text(f"shots:\n  {shots}\n")
    draft = job_name(on_farm("submit", file, "--draft", "--detach"))

    promoted = on_farm("promote", draft, "--shots", "1-2", "--detach")

    told = "1 shot of tiny at 256x144 in 8 steps, 1 shot of svd-xt at 1024x576 in 25 steps"
    assert f"to be rendered: {told}\n" in promoted.err
    sizes = []
    for shot in shots_of(on_farm, job_name(promoted)):
        params = shot["params"]
        assert isinstance(params, dict)
        sizes.append((params["model"], params["width_px"], params["step_count"]))
    assert sizes == [("tiny", 256, 8), ("svd-xt", 1024, 25)]


def test_a_draft_names_the_model_that_it_was_made_for(
    client: Client, photo: Path, tmp_path: Path
) -> None:
    client.submit(photo, params=SMALL).wait(timeout_s=30)  # its worker is there by then
    file = tmp_path / "bare.yaml"
    file.write_text(f"shots: [{{image: {photo}}}]\n")
    (shot,) = drafts.shrink(client, read_plan(file, lambda _: 1)).shots
    assert (shot.params.model, shot.params.width_px) == ("tiny", 128)


def test_a_promotion_onto_files_that_are_there_is_refused_before_it_is_sent(
    on_farm: Command, full: Path, cwd: Path
) -> None:
    draft = job_name(on_farm("submit", full, "--draft"))
    (cwd / "out" / "rocket-02.mp4").write_bytes(b"precious")
    before = on_farm("jobs", "--json").out
    whole = ("--size", "256x192", "--steps", "10")

    refused = on_farm("promote", draft, "--shots", "1-2", *whole)

    assert refused.code == 1
    assert "out/rocket-02.mp4 is there already" in refused.err
    assert on_farm("jobs", "--json").out == before
    assert on_farm("promote", draft, "--shots", "1-2", *whole, "--overwrite").code == 0


def test_a_sheet_that_cannot_be_saved_leaves_the_drafts_exit_code(
    on_farm: Command, full: Path, cwd: Path
) -> None:
    request = ("--request-id", "6f1e9b57-1b0e-4d2f-9d53-0a4a4b7c2a11")
    first = on_farm("submit", full, "--draft", *request)
    again = on_farm("submit", full, "--draft", *request)  # the same job: its sheet is there

    assert (first.code, again.code) == (0, 0)
    assert f"no sheet: out/sheet-{job_name(first).removeprefix('jobs/')}.png is there" in again.err
    assert f"farm promote {job_name(first)}" in again.err


def test_a_sheet_in_a_folder_that_cannot_be_made_is_refused(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    (cwd / "file").write_text("")
    refused = on_farm("sheet", job, "-o", "file/sheet.png")
    assert (refused.code, refused.err) == (1, "error: file: not a folder\n")


def test_a_sheets_videos_stay_in_its_folder(client: Client, photo: Path, tmp_path: Path) -> None:
    made = client.submit(photo, params=SMALL)
    made.wait(timeout_s=30)
    (shot,) = made.shots()
    folder = tmp_path / "deep"
    folder.mkdir()

    with pytest.raises(SaveFailed, match=r"'\.\./x', which is no plain file name"):
        ladder.fetch(made, replace(shot, output_name="../x"), folder)

    assert not (tmp_path / "x").exists()
    assert ladder.fetch(made, shot, folder).parent == folder


def test_a_sheet_shows_frames_of_every_clip(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE, TWO)))

    made = on_farm("sheet", job, "--out", "pictures/all.png")
    of_one = on_farm("sheet", job, "--out", "one.jpg", "--shots", "two", "--frames", "2")
    again = on_farm("sheet", job, "--out", "one.jpg")

    assert (made.code, of_one.code) == (0, 0)
    with Image.open(cwd / "pictures" / "all.png") as both, Image.open(cwd / "one.jpg") as one:
        assert both.width > one.width > 2 * 192
        assert both.height > 2 * 192
        # Frames of the two clips, not paper: each has colours of its own.
        first = both.crop((10, 30, 190, 190))
        assert max(ImageStat.Stat(first).stddev) > 3
    assert again.code == 1
    assert "one.jpg is there already" in again.err


def test_a_sheet_says_which_shots_failed(
    command: Command, jobs_yaml: JobsYaml, tmp_path: Path
) -> None:
    with running_farm(tmp_path) as farm:
        farm.add_worker(fails=True)
        job = job_name(command("submit", jobs_yaml(ONE), "--address", farm.address))
        made = command("sheet", job, "--address", farm.address, "-o", "sheet.png")
    assert made.code == 0
    assert (tmp_path / "sheet.png").is_file()


def test_picks_that_are_not_there_are_refused(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    refused = on_farm("promote", job, "--shots", "1,5")
    assert refused.code == 1
    assert "--shots has '5'; allowed: numbers from 1 to 1" in refused.err


@pytest.mark.parametrize("size", ["big", "64X64", "\uff16\uff14x64", "64x64 "])
def test_a_size_that_is_none_is_refused(on_farm: Command, size: str) -> None:
    refused = on_farm("promote", "a", "--shots", "1", "--size", size)
    told = f"--size is {size!r}; allowed: WIDTHxHEIGHT, such as 1024x576"
    assert (refused.code, refused.err) == (1, f"error: {told}\n")


def test_a_kind_of_picture_that_nobody_writes_is_refused(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    refused = on_farm("sheet", job, "-o", "sheet.doc")
    assert refused.code == 1
    assert "allowed: .png, .jpg, .jpeg, .webp" in refused.err
    assert not (cwd / "sheet.doc").exists()


def test_ranges_and_names_choose_in_the_jobs_order(on_farm: Command, full: Path) -> None:
    job = job_name(on_farm("submit", full, "--detach"))
    with Client(os.environ["FARM_ADDRESS"]) as client:
        shots = list(client.job(job).shots())
    assert [s.display_name for s in choose(shots, "4, 1-2")] == [
        "rocket-01",
        "rocket-02",
        "rocket-04",
    ]
    assert [s.display_name for s in choose(shots, "rocket-03")] == ["rocket-03"]
    with pytest.raises(CommandFailed, match="has '5'"):
        choose(shots, "1-9")


def test_a_video_that_cannot_be_had_spoils_no_sheet(
    farm: RunningFarm, on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE, TWO)))
    for video in (farm.folder / "data" / "blobs" / "videos" / job.removeprefix("jobs/")).glob(
        "1-*"
    ):
        video.unlink()

    made = on_farm("sheet", job, "-o", "sheet.png")

    assert made.code == 0
    with Image.open(cwd / "sheet.png") as sheet:
        assert sheet.width > 2 * 192
