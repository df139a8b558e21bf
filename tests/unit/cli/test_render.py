"""`farm render`: checked first, then rendered with the real engine and tiny weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.render.probe import probe_video
from tests.unit.cli.conftest import Command

QUICK = ("--model", "tiny", "--device", "cpu", "--size", "64x72", "--frames", "2", "--steps", "1")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--size", "65x64"], "--size: width is 65; allowed: a multiple of 8 from 56 to 2048"),
        (["--size", "big"], "--size is 'big'; allowed: WIDTHxHEIGHT"),
        (["--frames", "0"], "--frames is 0; allowed: a whole number from 1 to 128"),
        (["--frames", "2.5"], "--frames"),
        (["--steps", "201"], "--steps is 201"),
        (["--noise-aug-strength", "nan"], "--noise-aug-strength is nan; allowed: a number"),
        (["--min-guidance-scale", "4"], "--min-guidance-scale is 4; allowed: at most"),
        (["--decode-chunk-size", "9", "--frames", "4"], "--decode-chunk-size is 9"),
        (["--seed", "-1"], "--seed is -1"),
        (["--fit", "zoom"], "--fit is 'zoom'; allowed: crop, pad, stretch"),
        (["--tier", "draft"], "--tier is 'draft'; allowed: exact, fast"),
        (["--codec", "gif"], "--codec is 'gif'; allowed: h264, h265, av1, prores, ffv1, png"),
        (["--codec", "av1", "--crf", "0"], "--crf is 0; allowed: a whole number from 1 to 63"),
        (["--codec", "png", "--crf", "17"], "--crf is 17; allowed: none, as codec png has one"),
        (["--device", "tpu"], "--device is 'tpu'; allowed: auto, cpu, cuda"),
        (["--dtype", "int8"], "--dtype is 'int8'"),
        (["--engine", "fast"], "--engine is 'fast'; allowed: default, compiled, stock"),
        (["--memory", "huge"], "--memory is 'huge'; allowed: auto, fast, balanced, low"),
        (["--threads", "0"], "--threads"),
        (["--model", "nope"], "'nope'"),
    ],
)
def test_a_wrong_flag_is_named_with_what_is_allowed(
    flags: list[str], said: str, command: Command, photo: Path, cwd: Path
) -> None:
    ended = command("render", photo, "-o", "out", *flags)

    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert not (cwd / "out").exists()


def test_images_that_cannot_be_read_are_named_before_the_first_is_rendered(
    command: Command, photo: Path, cwd: Path
) -> None:
    (cwd / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    for image in ("no.png", "*.gif", "broken.png"):
        ended = command("render", photo, image, "-o", "out", *QUICK)
        assert ended.code == 1
        assert image in ended.err
        assert not (cwd / "out").exists()


def test_two_images_of_one_name_are_refused(command: Command, photo: Path, cwd: Path) -> None:
    (cwd / "Rocket.png").write_bytes(photo.read_bytes())

    ended = command("render", photo, "Rocket.png", "-o", "out", *QUICK)

    assert ended.code == 1
    assert "would both be out/rocket.mp4" in ended.err


def test_a_video_and_lossless_frames_are_saved_and_never_overwritten_unasked(
    command: Command, photo: Path, cwd: Path
) -> None:
    video = command("render", photo, "-o", "out", *QUICK)
    frames = command("render", photo, "-o", "out", *QUICK, "--codec", "png", "--seed", "1")
    again = command("render", photo, "-o", "out", *QUICK)
    shorter = (*QUICK, "--frames", "1", "--codec", "png", "--overwrite")
    fewer = command("render", photo, "-o", "out", *shorter)

    assert (video.code, video.out) == (0, "saved out/rocket.mp4\n")
    assert "test pattern" in video.err
    assert "rocket: seed " in video.err
    assert (frames.code, frames.out) == (0, "saved out/rocket.zip\n")
    assert "seed" not in frames.err
    assert (again.code, again.out) == (1, "")
    assert "out/rocket.mp4 is there already" in again.err
    assert fewer.code == 0
    found = probe_video(cwd / "out" / "rocket.zip")
    assert (found.frame_count, found.width_px, found.height_px) == (1, 64, 72)
