from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.jobs import names
from farm.jobs.codec import Container
from svdfarm import Client, FinishedVideo, RenderParams
from svdfarm.errors import SaveFailed, TargetExists
from tests.hostile import names as hostile
from tests.hostile.case import try_all
from tests.running import IMAGES
from tests.unit.client.running_farm import running_farm

FIELDS = {"shot": "x", "index": 1, "seed": 5, "fit": "crop", "extension": "mp4"}


def test_every_hostile_name_is_refused() -> None:
    def fill(template: str) -> str:
        return names.fill_template(template, FIELDS, Container.MP4)

    def from_file(stem: str) -> str:
        return names.check_shot_name(names.shot_name_from_file(stem))

    count = 0
    for cases, ask in (
        (hostile.output_names(), names.check_output_name),
        (hostile.shot_names(), names.check_shot_name),
        (hostile.templates(), fill),
        (hostile.stems(), from_file),
    ):
        tally = try_all(cases, ask, names.NameInvalid)
        assert tally.wrong == []
        count += tally.count
    assert count >= 200


def test_a_refusal_quotes_no_more_than_a_line() -> None:
    with pytest.raises(names.NameInvalid) as refused:
        names.check_output_name("x" * 10**6)

    assert len(str(refused.value)) < 500


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedVideo]:
    """A video on a farm, with its `save`."""
    with running_farm(tmp_path_factory.mktemp("farm")) as farm:
        farm.add_worker()
        with Client(farm.address) as client:
            params = RenderParams(width_px=64, height_px=64, frame_count=2, step_count=1)
            job = client.submit([IMAGES / "rocket.jpg"], params=params)
            yield next(iter(job.videos()))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.write_bytes(b"mine")
    return path


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("made", ["symlink", "dangling", "folder", "hard link", "pipe"])
def test_a_video_is_saved_in_its_folder_or_not_at_all(
    finished: FinishedVideo, tmp_path: Path, outside: Path, made: str, overwrite: bool
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    target, nowhere, other = folder / "x.mp4", tmp_path / "nowhere", tmp_path / "other"
    other.mkdir()
    match made:
        case "symlink":
            target.symlink_to(outside)
        case "dangling":
            target.symlink_to(nowhere)
        case "folder":
            target.symlink_to(other)
        case "hard link":
            target.hardlink_to(outside)
        case "pipe":
            os.mkfifo(target)

    try:
        finished.save(target, overwrite=overwrite)
        saved = True
    except (TargetExists, SaveFailed):
        saved = False

    assert outside.read_bytes() == b"mine"
    assert not nowhere.exists()
    assert list(folder.glob(".*")) == []
    assert saved is overwrite or made == "folder"
    if saved and made != "folder":
        assert not target.is_symlink()
        assert hashlib.sha256(target.read_bytes()).hexdigest() == finished.video.sha256
