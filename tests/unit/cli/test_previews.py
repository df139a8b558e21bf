"""Previews on a terminal."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from farm.cli import pictures
from farm.cli.exits import CommandFailed
from farm.cli.live import LiveView
from farm.cli.pictures import Protocol, detect
from farm.cli.previews import Previews
from svdfarm import Progress, ShotState
from tests.unit.cli.conftest import Command
from tests.unit.cli.test_live import JOB, RENDERING
from tests.unit.client.running_farm import running_farm


def jpeg(colour: tuple[int, int, int], width: int = 96, height: int = 32) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "JPEG", quality=95)
    return file.getvalue()


RED, BLUE = jpeg((255, 0, 0)), jpeg((0, 0, 255))
SHOWN = dataclasses.replace(RENDERING, progress=Progress(3, 8, RED))
KITTY, ITERM2, PLAIN = {"TERM": "xterm-kitty"}, {"TERM_PROGRAM": "iTerm.app"}, {"TERM": "xterm"}


def live(environment: dict[str, str], height: int = 40) -> tuple[LiveView, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file,
        width=100,
        height=height,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    return LiveView(console, Previews(console, environment)), file


def screen_of(view: LiveView, *, styles: bool = False) -> str:
    colours = "truecolor" if styles else None
    console = Console(file=io.StringIO(), width=100, force_terminal=styles, color_system=colours)
    with console.capture() as captured:
        console.print(view._render())
    return captured.get()


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        (KITTY, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM": "xterm-ghostty"}, Protocol.KITTY),
        (ITERM2, Protocol.ITERM2),
        ({"TERM_PROGRAM": "WezTerm"}, Protocol.ITERM2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Protocol.ITERM2),
        (PLAIN, Protocol.BLOCKS),
        ({}, Protocol.BLOCKS),
        # tmux hands its own environment on, in which those of the outer terminal are as well.
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/t,1,0"}, Protocol.BLOCKS),
        ({"TERM": "screen", "LC_TERMINAL": "iTerm2"}, Protocol.BLOCKS),
    ],
)
def test_a_terminal_is_known_by_its_variables(
    environment: dict[str, str], protocol: Protocol
) -> None:
    assert detect(environment) is protocol


def test_half_blocks_show_two_pixels_in_a_cell() -> None:
    picture = Image.fromarray(np.array([[[1, 2, 3]], [[4, 5, 6]]], np.uint8))

    text = pictures.draw_blocks(picture, columns=1, rows=1)

    (span,) = text.spans
    assert text.plain == "▀"
    assert "#010203" in str(span.style)
    assert "on #040506" in str(span.style)


def test_a_preview_stands_above_the_bars_in_place_of_the_last() -> None:
    view, _ = live(PLAIN)
    view.job(JOB)

    view.shot(SHOWN)
    red = screen_of(view, styles=True)
    view.shot(dataclasses.replace(SHOWN, progress=Progress(5, 8, BLUE)))
    blue = screen_of(view, styles=True)

    lines = screen_of(view).splitlines()
    assert lines[0] == "rocket step 5"
    assert lines[1:13] == ["▀" * 72] * 12
    assert "step 5/8" in lines[13]
    assert "teaser" in lines[14]
    assert "38;2;254;0;0" in red
    assert "38;2;254;0;0" not in blue


@pytest.mark.parametrize("state", [ShotState.SUCCEEDED, ShotState.QUEUED])
def test_a_preview_goes_when_its_shot_no_longer_renders(state: ShotState) -> None:
    view, _ = live(PLAIN)
    view.job(JOB)
    view.shot(SHOWN)

    view.shot(dataclasses.replace(SHOWN, state=state, progress=None))

    assert "▀" not in screen_of(view)


def test_no_more_previews_are_shown_than_the_terminal_has_lines_for() -> None:
    view, _ = live(PLAIN, height=35)
    view.job(JOB)
    for number in range(1, 4):
        view.shot(dataclasses.replace(SHOWN, name=f"jobs/j/shots/{number}"))

    lines = screen_of(view).splitlines()

    assert sum(line == "rocket step 3" for line in lines) == 2
    assert len(lines) < 35
    assert "teaser" in lines[-1]


def test_kitty_gets_the_whole_picture_and_text_that_stands_for_it() -> None:
    view, file = live(KITTY)
    view.job(JOB)
    noise = np.random.default_rng(0).integers(0, 256, (32, 96, 3)).astype(np.uint8)
    sent = io.BytesIO()
    Image.fromarray(noise).save(sent, "JPEG")

    view.shot(dataclasses.replace(SHOWN, progress=Progress(3, 8, sent.getvalue())))

    parts = re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", file.getvalue(), re.DOTALL)
    control = dict(pair.split("=") for pair in parts[0][0].split(","))
    picture = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in parts))))
    assert (control["a"], control["U"], control["c"], control["r"]) == ("T", "1", "72", "12")
    assert [more for more, _ in parts[1:]] == ["m=1"] * (len(parts) - 2) + ["m=0"]
    assert np.array_equal(picture, Image.open(sent).convert("RGB"))
    number = int(control["i"])
    shown = screen_of(view, styles=True)
    assert f"38;2;{number >> 16};{number >> 8 & 255};{number & 255}m" in shown
    lines = screen_of(view).splitlines()[1:13]
    assert [cell_len(line) for line in lines] == [72] * 12
    assert [line[:3] for line in lines[:2]] == ["\U0010eeee\u0305\u0305", "\U0010eeee\u030d\u0305"]

    view._previews.close()  # type: ignore[union-attr]
    assert f"a=d,d=I,q=2,i={number}" in file.getvalue()


def test_iterm2_gets_the_jpeg_itself_once() -> None:
    view, file = live(ITERM2)
    view.job(JOB)

    view.shot(SHOWN)
    view.shot(dataclasses.replace(SHOWN, progress=Progress(4, 8, RED)))

    (sent,) = re.findall(r"\x1b]1337;File=(.*?):(.*?)\x07", file.getvalue())
    assert sent[0] == f"inline=1;size={len(RED)};width=72;height=12"
    assert base64.b64decode(sent[1]) == RED
    assert len(screen_of(view).splitlines()) == 2  # the bars alone


def test_what_is_no_picture_is_not_shown() -> None:
    view, _ = live(PLAIN)
    view.job(JOB)

    view.shot(dataclasses.replace(SHOWN, progress=Progress(3, 8, b"\x1b[2J")))

    assert "step 3/8" in screen_of(view)
    assert "▀" not in screen_of(view)


def test_a_terminal_without_colours_is_told() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    with pytest.raises(CommandFailed, match="needs a terminal with colours"):
        Previews(console, PLAIN)


def test_a_pipe_gets_no_pictures_and_nothing_is_submitted_for_one(
    on_farm: Command, jobs_yaml: Callable[..., Path]
) -> None:
    ended = on_farm("submit", jobs_yaml("name: one"), "--previews")

    assert (ended.code, ended.out) == (1, "")
    assert "--previews needs a terminal" in ended.err
    assert not Path("out").exists()


def test_json_has_previews_in_base64(
    command: Command, jobs_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    file = jobs_yaml("name: one, steps: 40")
    with running_farm(tmp_path / "farm") as farm:
        farm.add_worker(step_s=0.05)

        ended = command("--address", farm.address, "submit", file, "--previews", "--json")

    shots = [json.loads(line) for line in ended.lines if '"event": "shot"' in line]
    told = [(shot["progress"] or {}).get("preview") for shot in shots]
    assert ended.code == 0
    first = next(preview for preview in told if preview)
    assert Image.open(io.BytesIO(base64.b64decode(first))).size == (24, 8)
