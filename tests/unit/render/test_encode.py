"""Frames to MP4 and PNG, looked at from outside: by decoding them with ffmpeg."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from farm.jobs.params import TINY, RenderParams, resolve
from farm.render import ffmpeg
from farm.render.encode import encode, write_frames
from farm.render.errors import EncodeFailed, EncoderMissing, ParamsRejected, VideoUnreadable
from farm.render.probe import VideoFacts, probe_video, read_receipt


@pytest.fixture(scope="module")
def frames(picture: Image.Image) -> np.ndarray:
    """(5, 56, 72, 3): the picture, panned."""
    wide = np.asarray(picture.resize((120, 56)), np.float32) / 255
    return np.stack([wide[:, shift * 4 : shift * 4 + 72] for shift in range(5)])


@pytest.fixture(scope="module")
def params() -> RenderParams:
    return resolve(RenderParams(width_px=72, height_px=56, frame_count=5), TINY, seed=1)


def decoded(path: Path, frames: np.ndarray) -> np.ndarray:
    """The video's pixels in [0, 1], as a player that takes BT.709 for granted sees them."""
    done = subprocess.run(
        [
            ffmpeg.binary(),
            "-v",
            "error",
            "-i",
            path,
            "-vf",
            "scale=in_color_matrix=bt709:in_range=tv:flags=accurate_rnd+full_chroma_int",
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(frames.shape).astype(np.float32) / 255


def psnr(left: np.ndarray, right: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((left - right) ** 2)))


@pytest.mark.parametrize(("fps", "playback_fps"), [(7, 7), (7, 24), (30, 1)])
def test_a_video_has_the_frames_size_and_rate_that_went_in(
    frames: np.ndarray, params: RenderParams, tmp_path: Path, fps: int, playback_fps: int
) -> None:
    path = tmp_path / "clip.mp4"

    encode(frames, dataclasses.replace(params, fps=fps, playback_fps=playback_fps), {}, path)

    assert probe_video(path) == VideoFacts(5, 72, 56, playback_fps)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_one_frame_is_a_video_too(frames: np.ndarray, params: RenderParams, tmp_path: Path) -> None:
    encode(frames[:1], params, {}, tmp_path / "clip.mp4")

    assert probe_video(tmp_path / "clip.mp4") == VideoFacts(1, 72, 56, 7)


def test_colours_survive(params: RenderParams, tmp_path: Path) -> None:
    # Smooth, saturated colours: a wrong matrix or range costs 10 dB and more.
    y, x = np.mgrid[0:144, 0:256].astype(np.float32)
    still = np.stack([x / 255, y / 143, 1 - x / 255], axis=-1)
    frames = np.repeat(still[None], 4, axis=0)
    path = tmp_path / "clip.mp4"

    encode(frames, params, {}, path)

    seen = decoded(path, frames)
    assert psnr(seen, frames) > 45
    assert abs(float(seen.mean() - frames.mean())) < 0.25 / 255  # truncation: 0.5


def test_a_photographs_detail_survives(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    smooth = (frames[:, :-1] + frames[:, 1:])[:, ::2] / 2
    smooth = np.repeat(np.repeat(smooth, 4, axis=1)[:, :104], 4, axis=2)
    path = tmp_path / "clip.mp4"

    encode(smooth, params, {}, path)

    assert psnr(decoded(path, smooth), smooth) > 30


def test_the_file_is_tagged_bt709_in_limited_range(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"

    encode(frames, params, {}, path)

    said = subprocess.run(
        [ffmpeg.binary(), "-hide_banner", "-i", path], capture_output=True, text=True
    ).stderr
    assert re.search(r"Video: h264 \(High\) .*yuv420p\(tv, bt709", said)


def test_playing_can_start_before_the_download_ends(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"

    encode(frames, params, {}, path)

    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_crf_decides_the_size(frames: np.ndarray, params: RenderParams, tmp_path: Path) -> None:
    for crf in (5, 40):
        encode(frames, dataclasses.replace(params, crf=crf), {}, tmp_path / f"{crf}.mp4")

    assert (tmp_path / "5.mp4").stat().st_size > 2 * (tmp_path / "40.mp4").stat().st_size


RECEIPTS: list[dict[str, Any]] = [
    {"seed": 2**63 - 1, "noise_aug_strength": 0.02, "chunk": None, "params": {"fit": "crop"}},
    {"note": "= ; # \\ \n \r \t ' \" % [ ] { } comment=x\nencoder=y"},
    {"note": "grüße 日本語 🚀 \u2028 \x00 \x7f"},
    {"note": "\\n\\=\\\\;"},
    {"long": "x" * 50_000},
    {},
]


@pytest.mark.parametrize("receipt", RECEIPTS, ids=lambda receipt: repr(receipt)[:30])
def test_a_receipt_comes_back_as_it_went_in(
    frames: np.ndarray, params: RenderParams, tmp_path: Path, receipt: dict[str, Any]
) -> None:
    path = tmp_path / "clip.mp4"

    encode(frames, params, receipt, path)

    assert read_receipt(path) == receipt


def test_a_video_without_a_receipt_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    subprocess.run(
        [ffmpeg.binary(), "-v", "error", "-f", "lavfi", "-i", "color=s=64x64:d=1", path], check=True
    )

    with pytest.raises(VideoUnreadable, match="carries no receipt"):
        read_receipt(path)


@pytest.mark.parametrize("name", ["-y.mp4", "a:b.mp4", "sp ace %05d 'q'.mp4", "ümlaut.mp4"])
def test_any_file_name_will_do(
    frames: np.ndarray,
    params: RenderParams,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    encode(frames, params, {"a": 1}, Path(name))

    assert probe_video(Path(name)).frame_count == 5
    assert read_receipt(Path(name)) == {"a": 1}


def test_frames_are_written_lossless_and_rounded(frames: np.ndarray, tmp_path: Path) -> None:
    levels = np.linspace(0, 1, 72 * 56 * 3, dtype=np.float32).reshape(1, 56, 72, 3)

    paths = write_frames(np.concatenate([levels, frames]), tmp_path / "clip")

    assert [path.name for path in paths] == [f"{index:05d}.png" for index in range(6)]
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == [p.name for p in paths]
    written = np.asarray(Image.open(paths[0]))
    assert np.array_equal(written, (levels[0] * 255).round().astype(np.uint8))
    assert abs(float(written.mean() - levels.mean() * 255)) < 0.01  # truncation: 0.5


def test_frames_on_disk_are_diffusers_own(frames: np.ndarray, tmp_path: Path) -> None:
    from diffusers.image_processor import VaeImageProcessor

    paths = write_frames(frames, tmp_path)

    for path, theirs in zip(paths, VaeImageProcessor.numpy_to_pil(frames), strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(theirs))


def test_a_missing_ffmpeg_says_what_to_install(
    frames: np.ndarray, params: RenderParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")

    with pytest.raises(EncoderMissing, match=r"/nowhere/ffmpeg.*Install imageio-ffmpeg"):
        encode(frames, params, {}, tmp_path / "clip.mp4")
    assert not list(tmp_path.iterdir())


def test_a_failing_ffmpeg_is_quoted_and_leaves_no_file(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    # x264 takes no odd sizes in 4:2:0.
    with pytest.raises(EncodeFailed, match=r"(?s)ffmpeg ended with code \d+.*not divisible by 2"):
        encode(frames[:, :55, :71], params, {}, tmp_path / "clip.mp4")
    assert not list(tmp_path.iterdir())


def test_a_failed_encoding_keeps_the_video_that_was_there(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    encode(frames, params, {"take": 1}, path)

    with pytest.raises(EncodeFailed):
        encode(frames[:, :55, :71], params, {"take": 2}, path)

    assert read_receipt(path) == {"take": 1}


def test_a_folder_that_cannot_be_written_is_named(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EncodeFailed, match="cannot be written"):
        encode(frames, params, {}, tmp_path / "file" / "clip.mp4")


def test_unresolved_settings_are_refused(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ParamsRejected, match="resolve"):
        encode(frames, RenderParams(), {}, tmp_path / "clip.mp4")


FILL = """
import sys, numpy as np
from pathlib import Path
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.encode import encode, write_frames
from farm.render.errors import DiskFull
folder = Path(sys.argv[1])
frames = np.random.default_rng(0).random((8, 144, 256, 3), np.float32)
params = resolve(RenderParams(), TINY, seed=0)
for write in (lambda: encode(frames, params, {}, folder / "clip.mp4"),
              lambda: write_frames(frames, folder)):
    try:
        write()
    except DiskFull as error:
        print("full:", error.reason, "No space" in str(error) or "no space" in str(error))
    print(sorted(path.name for path in folder.iterdir()))
"""


def test_a_full_disk_is_named_and_left_clean(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "$3" "$1"'
    own = [shutil.which("unshare") or "unshare", "--mount", "--map-root-user", "--user"]
    if subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("a disk of one's own takes unprivileged user namespaces")

    done = subprocess.run(
        [*own, "sh", "-c", mount, "sh", small, sys.executable, FILL], capture_output=True, text=True
    )

    said = done.stdout.splitlines()
    assert said[:3] == ["full: DISK_FULL True", "[]", "full: DISK_FULL True"], done.stderr
    assert not [name for name in said[3] if "partial" in name]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_video_cut_short_is_unreadable(
    frames: np.ndarray, params: RenderParams, tmp_path: Path, part: float
) -> None:
    path = tmp_path / "clip.mp4"
    encode(frames, params, {}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])

    with pytest.raises(VideoUnreadable, match="does not decode"):
        probe_video(path)


@pytest.mark.parametrize("data", [b"", b"hello", json.dumps({"a": 1}).encode() * 100])
def test_what_is_no_video_is_unreadable(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)

    with pytest.raises(VideoUnreadable):
        probe_video(path)
    with pytest.raises(VideoUnreadable):
        read_receipt(path)


def test_a_playlist_is_not_followed(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    encode(frames, params, {}, tmp_path / "real.mp4")
    path = tmp_path / "clip.mp4"
    path.write_text("ffconcat version 1.0\nfile real.mp4\n")

    with pytest.raises(VideoUnreadable):
        probe_video(path)


def test_a_missing_video_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(VideoUnreadable, match="No such file"):
        probe_video(tmp_path / "nowhere.mp4")
