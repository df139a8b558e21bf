"""Frames to files of every codec, looked at from outside: by decoding them with ffmpeg."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from farm.jobs.codec import Codec
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render import ffmpeg
from farm.render.encode import encode
from farm.render.errors import EncodeFailed, EncoderMissing, ParamsRejected, VideoUnreadable
from farm.render.probe import VideoFacts, probe_video, read_pictures
from farm.render.receipt import read_receipt

Clip = tuple[RenderParams, Path]  # the settings, and where the file is to go


@pytest.fixture(scope="module")
def frames(picture: Image.Image) -> np.ndarray:
    """(5, 56, 72, 3): the picture, panned."""
    wide = np.asarray(picture.resize((120, 56)), np.float32) / 255
    return np.stack([wide[:, shift * 4 : shift * 4 + 72] for shift in range(5)])


@pytest.fixture(scope="module")
def params() -> RenderParams:
    return resolve(RenderParams(width_px=72, height_px=56, frame_count=5), TINY, seed=1)


@pytest.fixture(params=list(Codec))
def clip(request: pytest.FixtureRequest, params: RenderParams, tmp_path: Path) -> Clip:
    codec = Codec(request.param)
    of_codec = dataclasses.replace(params, codec=codec, crf=None)
    return resolve(of_codec, TINY, seed=1), tmp_path / f"clip.{codec.container}"


def decoded(path: Path, frames: np.ndarray) -> np.ndarray:
    """The video's pixels in [0, 1], as a player that takes BT.709 for granted sees them."""
    if path.suffix == ".zip":
        return np.stack(list(read_pictures(path))).astype(np.float32) / 255
    matrix = "in_color_matrix=bt709:in_range=tv:" if path.suffix != ".mkv" else ""
    done = subprocess.run(
        [
            *(ffmpeg.binary(), "-v", "error", "-i", path),
            *("-vf", f"scale={matrix}flags=accurate_rnd+full_chroma_int"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(frames.shape).astype(np.float32) / 255


def stream(path: Path) -> str:
    """What ffmpeg says of the video in a file."""
    done = subprocess.run(
        [ffmpeg.binary(), "-hide_banner", "-i", path], capture_output=True, text=True
    )
    (found,) = re.findall(r"Video: (.*)", done.stderr)
    return str(found)


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


def test_every_codec_keeps_frames_and_size(frames: np.ndarray, clip: Clip) -> None:
    params, path = clip

    encode(frames, params, {}, path)

    found = probe_video(path)
    assert found == VideoFacts(5, 72, 56, None if params.codec == "png" else 7)


def test_one_frame_of_the_least_size_is_a_video_too(frames: np.ndarray, clip: Clip) -> None:
    params, path = clip

    encode(frames[:1, :56, :56], params, {}, path)

    found = probe_video(path)
    assert (found.frame_count, found.width_px, found.height_px) == (1, 56, 56)


def test_colours_survive(clip: Clip) -> None:
    # Smooth, saturated colours: a wrong matrix or range costs 10 dB and more.
    y, x = np.mgrid[0:144, 0:256].astype(np.float32)
    still = np.stack([x / 255, y / 143, 1 - x / 255], axis=-1)
    frames = np.repeat(still[None], 4, axis=0)
    params, path = clip

    encode(frames, params, {}, path)

    seen = decoded(path, frames)
    assert psnr(seen, frames) > 45
    assert abs(float(seen.mean() - frames.mean())) < 0.25 / 255  # truncation: 0.5


@pytest.mark.parametrize("codec", [Codec.FFV1, Codec.PNG])
def test_a_lossless_codec_loses_nothing(
    frames: np.ndarray, params: RenderParams, tmp_path: Path, codec: Codec
) -> None:
    path = tmp_path / f"clip.{codec.container}"

    encode(frames, dataclasses.replace(params, codec=codec, crf=None), {}, path)

    assert np.array_equal(decoded(path, frames) * 255, (frames * 255).round())


def test_a_photographs_detail_survives(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    smooth = (frames[:, :-1] + frames[:, 1:])[:, ::2] / 2
    smooth = np.repeat(np.repeat(smooth, 4, axis=1)[:, :104], 4, axis=2)
    path = tmp_path / "clip.mp4"

    encode(smooth, params, {}, path)

    assert psnr(decoded(path, smooth), smooth) > 30


@pytest.mark.parametrize(
    ("codec", "said"),
    [
        (Codec.H264, r"h264 \(High\) \(avc1 .*\), yuv420p\(tv, bt709, progressive\)"),
        (Codec.H265, r"hevc \(Main 10\) \(hvc1 .*\), yuv420p10le\(tv, bt709, progressive\)"),
        (Codec.AV1, r"av1 .*\(Main\) \(av01 .*\), yuv420p10le\(tv, bt709, progressive\)"),
        (Codec.PRORES, r"prores \(4444\) \(ap4h .*\), yuv444p12le\(tv, bt709, progressive\)"),
        (Codec.FFV1, r"ffv1, bgr0\(pc, gbr/bt709/bt709, progressive\)"),
    ],
)
def test_profile_and_colours_are_told_in_the_file(
    frames: np.ndarray, params: RenderParams, tmp_path: Path, codec: Codec, said: str
) -> None:
    path = tmp_path / f"clip.{codec.container}"

    encode(frames, resolve(dataclasses.replace(params, codec=codec, crf=None), TINY, 1), {}, path)

    # Matrix, primaries and curve: ffmpeg names bt709 once where all three are.
    assert re.match(said, stream(path)), stream(path)


def test_the_same_frames_give_the_same_file_on_any_number_of_processors(
    frames: np.ndarray, clip: Clip
) -> None:
    params, path = clip
    processors = os.sched_getaffinity(0)
    if len(processors) == 1:
        pytest.skip("takes two processors")
    moving = np.concatenate([frames, 1 - frames, frames[:, ::-1]])

    encode(moving, params, {}, path)
    on_all = path.read_bytes()
    try:
        os.sched_setaffinity(0, {min(processors)})
        encode(moving, params, {}, path)
    finally:
        os.sched_setaffinity(0, processors)

    assert path.read_bytes() == on_all


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
    frames: np.ndarray, clip: Clip, receipt: dict[str, Any]
) -> None:
    params, path = clip

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


def test_pictures_are_named_in_order_and_are_diffusers_own(
    frames: np.ndarray, params: RenderParams, tmp_path: Path
) -> None:
    from diffusers.image_processor import VaeImageProcessor

    path = tmp_path / "clip.zip"

    encode(frames, dataclasses.replace(params, codec=Codec.PNG, crf=None), {"a": 1}, path)

    with zipfile.ZipFile(path) as archive:
        pictures = [f"{index:05d}.png" for index in range(5)]
        assert archive.namelist() == [*pictures, "receipt.json"]
        assert json.loads(archive.read("receipt.json")) == {"a": 1}
        for name, theirs in zip(pictures, VaeImageProcessor.numpy_to_pil(frames), strict=True):
            with archive.open(name) as file, Image.open(file) as ours:
                assert np.array_equal(np.asarray(ours), np.asarray(theirs))


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
from farm.jobs.codec import Codec
from farm.render.encode import encode
from farm.render.errors import DiskFull
folder = Path(sys.argv[1])
frames = np.random.default_rng(0).random((8, 144, 256, 3), np.float32)
for codec in Codec:
    params = resolve(RenderParams(codec=codec, crf=1 if codec == "av1" else None), TINY, seed=0)
    try:
        encode(frames, params, {}, folder / f"clip.{codec.container}")
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

    assert done.stdout.splitlines() == ["full: DISK_FULL True", "[]"] * len(Codec), done.stderr


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_video_cut_short_is_unreadable(frames: np.ndarray, clip: Clip, part: float) -> None:
    params, path = clip
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


def png(width_px: int, height_px: int) -> bytes:
    written = io.BytesIO()
    Image.new("1", (width_px, height_px)).save(written, "PNG")
    return written.getvalue()


@pytest.mark.parametrize(
    ("count", "size_px", "told"),
    [
        (129, (8, 8), "holds 129 files; a clip has at most 128"),
        (1, (2049, 8), "width_px is 2049, above 2048"),
        (1, (8, 2049), "height_px is 2049, above 2048"),
        (1, (15_000, 15_000), "could be decompression bomb"),
        (1, (10_000, 10_000), "width_px is 10000, above 2048"),  # of which Pillow warns
    ],
)
def test_pictures_that_no_clip_has_are_unreadable_before_they_are_decoded(
    tmp_path: Path, count: int, size_px: tuple[int, int], told: str
) -> None:
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            archive.writestr(f"{index:05d}.png", png(*size_px))

    with pytest.raises(VideoUnreadable, match=told):
        probe_video(path)


@pytest.mark.parametrize("content", [bytes(1 << 26), b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(99)])
def test_a_zip_of_what_is_no_picture_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00000.png", content)

    with pytest.raises(VideoUnreadable, match=r"'00000\.png'"):
        probe_video(path)


def test_an_encrypted_picture_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("00000.png", png(8, 8))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\3\4") + 6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)

    with pytest.raises(VideoUnreadable, match="is encrypted"):
        probe_video(path)


@pytest.mark.parametrize("levels", [40, 100_000])
def test_a_receipt_that_is_deeply_nested_is_told(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("receipt.json", '{"a":' + "[" * levels + "]" * levels + "}")

    with pytest.raises(VideoUnreadable, match="carries no receipt"):
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
