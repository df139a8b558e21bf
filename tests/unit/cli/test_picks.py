"""What words of --shots mean, of shots that are called 1, 10, 2 and so on."""

from __future__ import annotations

import pytest

from farm.cli.exits import CommandFailed
from farm.cli.picks import choose
from svdfarm import RenderParams, Shot, ShotState


def shots(*names: str) -> list[Shot]:
    return [
        Shot(
            name=f"jobs/a/shots/{number}",
            image="images/0",
            params=RenderParams(),
            state=ShotState.QUEUED,
            attempt_count=0,
            video=None,
            error=None,
            render_duration_s=None,
            worker="",
            display_name=name,
            output_name=f"{name}.mp4",
            progress=None,
        )
        for number, name in enumerate(names, start=1)
    ]


def chosen(names: list[str], picks: str) -> list[int]:
    return [int(shot.name.rpartition("/")[2]) for shot in choose(shots(*names), picks)]


AS_FILES = sorted(map(str, range(1, 13)))  # 1, 10, 11, 12, 2: as a glob finds 1.png to 12.png


def test_a_word_that_means_two_shots_is_refused_and_says_how_to_be_exact() -> None:
    with pytest.raises(CommandFailed) as refused:
        chosen(AS_FILES, "10")
    assert str(refused.value) == (
        "--shots: 10 is the name of shot 2 and the number of shot 10: say shots/2 or shots/10"
    )


@pytest.mark.parametrize("picks", ["shots/2", "jobs/a/shots/2"])
def test_a_number_after_shots_is_no_name(picks: str) -> None:
    assert chosen(AS_FILES, picks) == [2]


def test_a_range_after_shots_is_of_numbers() -> None:
    assert chosen(AS_FILES, "shots/9-11") == [9, 10, 11]


def test_a_range_through_a_name_is_refused() -> None:
    with pytest.raises(CommandFailed, match="2 is the name of shot 5 and the number of shot 2"):
        chosen(AS_FILES, "1-3")


def test_a_name_that_is_a_range_too_is_refused() -> None:
    with pytest.raises(CommandFailed, match="2-3 is the name of shot 1 and a range"):
        chosen(["2-3", "b", "c"], "2-3")


def test_a_number_that_names_the_same_shot_is_no_riddle() -> None:
    assert chosen(["1", "2", "3"], "2-3") == [2, 3]


def test_a_name_of_two_shots_is_refused() -> None:
    with pytest.raises(CommandFailed, match="take is the name of shots 1 and 3: say shots/1 or"):
        chosen(["take", "other", "take"], "take")


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(CommandFailed, match="'3-1'; allowed: 1-3, the lower number first"):
        chosen(["a", "b", "c"], "3-1")


@pytest.mark.parametrize("picks", ["jobs/b/shots/1", "\u0661", "0", ""])
def test_what_means_no_shot_is_refused(picks: str) -> None:
    with pytest.raises(CommandFailed, match="allowed: numbers from 1 to 2"):
        chosen(["a", "b"], picks)
