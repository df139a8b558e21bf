"""jobs.yaml: every mistake at its line and column, everything else expanded as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farm.cli.jobs_file.document import FileUnreadable
from farm.cli.jobs_file.mistakes import JobsFileInvalid
from farm.cli.jobs_file.plan import Plan
from farm.cli.jobs_file.reader import read
from farm.jobs.params import MAX_SHOTS_PER_JOB

SHOTS = "shots: [{image: a.png}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


def plan_of(folder: Path, text: str) -> Plan:
    path = folder / "jobs.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path, draw=lambda number: 1000 + number)


def mistakes_in(folder: Path, text: str) -> str:
    with pytest.raises(JobsFileInvalid) as caught:
        plan_of(folder, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        # keys
        ("shot: [{image: a.png}]", "1:1", "unknown key 'shot'.*Did you mean shots?"),
        (SHOTS + "defaults: {num_frames: 9}", "2:12", "unknown key 'num_frames'.*frames?"),
        (SHOTS + "defaults: {stepz: 9}", "2:12", "unknown key 'stepz'.*Did you mean steps?"),
        (SHOTS + "defaults: {prompt: a cat}", "2:12", "takes no text prompt"),
        (SHOTS + "defaults: {zzz: 9}", "2:12", "unknown key 'zzz'.*Allowed: model, size"),
        ("shots: [{image: a.png, path: b.png}]", "1:24", "unknown key 'path'.*mean image?"),
        ("name: x\nname: y\n" + SHOTS, "2:1", "name is given twice, first on line 1"),
        ("shots: [{image: a.png, seed: 1, seed: 2}]", "1:33", "seed is given twice"),
        ("? [a]\n: 1\n" + SHOTS, "1:3", "a key is a list"),
        # shots
        ("name: x", "1:1", "shots is missing"),
        ("shots: []", "1:8", "shots is an empty list"),
        ("shots:", "1:7", "shots is empty"),
        ("shots: {image: a.png}", "1:8", "shots is a mapping; allowed: a list"),
        ("shots: [a.png]", "1:9", r"shots\[0\] is a.png.*Write {image: a.png}"),
        ("shots: [[a.png]]", "1:9", r"shots\[0\] is a list; allowed: a mapping"),
        ("shots: [{name: x}]", "1:9", r"image is missing"),
        ("shots: [{image: }]", "1:17", "image is empty; allowed: text"),
        ("shots: [{image: [a.png]}]", "1:17", "image is a list"),
        ("shots: [{image: 42}]", "1:17", 'image is 42; allowed: text.*quotes: "42"'),
        ("shots: [{image: '*.gif'}]", "1:17", "no file matches '\\*.gif'"),
        # numbers
        (SHOTS + "defaults: {frames: 0}", "2:20", "frames is 0; .*a whole number from 1 to 128"),
        (SHOTS + "defaults: {frames: 129}", "2:20", "frames is 129"),
        (SHOTS + "defaults: {frames: 12.0}", "2:20", "frames is 12.0; allowed: a whole number"),
        (SHOTS + "defaults: {frames: '12'}", "2:20", 'frames is "12".*stands without quotes'),
        (SHOTS + "defaults: {frames: true}", "2:20", "frames is true"),
        (SHOTS + "defaults: {frames: yes}", "2:20", "frames is yes"),
        (SHOTS + "defaults: {frames: 0x10}", "2:20", "frames is 0x10"),
        (SHOTS + "defaults: {frames: 010}", "2:20", "frames is 010"),
        (SHOTS + "defaults: {frames: 1:30}", "2:20", "frames is 1:30"),
        (SHOTS + "defaults: {frames: }", "2:20", "frames is empty"),
        (SHOTS + "defaults: {frames: [1]}", "2:20", "frames is a list"),
        (SHOTS + "defaults: {steps: 201}", "2:19", "steps is 201"),
        (SHOTS + "defaults: {fps: 61}", "2:17", "fps is 61"),
        (SHOTS + "defaults: {playback_fps: 0}", "2:26", "playback_fps is 0"),
        (SHOTS + "defaults: {motion_bucket_id: 256}", "2:30", "motion_bucket_id is 256"),
        (SHOTS + "defaults: {noise_aug_strength: .nan}", "2:32", "is .nan; allowed: a number"),
        (SHOTS + "defaults: {noise_aug_strength: -0.1}", "2:32", "is -0.1"),
        (SHOTS + "defaults: {max_guidance_scale: .inf}", "2:32", "is .inf"),
        (SHOTS + "defaults: {max_guidance_scale: 1e999}", "2:32", "is 1e999"),
        (SHOTS + "defaults: {max_guidance_scale: 30.1}", "2:32", "from 0 to 30"),
        (SHOTS + "defaults: {decode_chunk_size: 0}", "2:31", "decode_chunk_size is 0"),
        ("shots: [{image: a.png, seed: -1}]", "1:30", r"seed is -1; .*from 0 to 2\^63 - 1"),
        ("shots: [{image: a.png, seed: 9223372036854775808}]", "1:30", "seed is 92233"),
        ("shots: [{image: a.png, seed: " + "9" * 5000 + "}]", "1:30", r"seed is 9+\.\.\."),
        (SHOTS + "priority: 101", "2:11", "priority is 101; .* 0 to 100"),
        (SHOTS + "output: {crf: 52}", "2:15", "crf is 52"),
        # words
        (SHOTS + "defaults: {fit: corp}", "2:17", "crop or pad or stretch.*Did you mean crop?"),
        (SHOTS + "defaults: {tier: fats}", "2:18", "exact or fast.*Did you mean fast?"),
        (SHOTS + "output: {codec: vp9}", "2:17", "output.codec is vp9; allowed: h264 or h265"),
        ("shots: [{image: a.png, name: a/b}]", "1:30", "allowed: letters, digits"),
        ("shots: [{image: a.png, name: ''}]", "1:30", "name is ''"),
        (f"name: {'x' * 129}\n" + SHOTS, "1:7", "has 129 characters; allowed: at most 128"),
        (SHOTS + "output: {dir: 7}", "2:15", "output.dir is 7"),
        # size
        (SHOTS + "defaults: {size: 570x320}", "2:18", "width is 570; .*nearest are 568 and 576"),
        (SHOTS + "defaults: {size: 576x1}", "2:18", "height is 1; allowed: a multiple of 8"),
        (SHOTS + "defaults: {size: 576}", "2:18", "size is 576; allowed: WIDTHxHEIGHT"),
        (SHOTS + "defaults: {size: [64, 64]}", "2:18", "size is a list.*Write 64x64"),
        (SHOTS + "defaults: {size: 64X64}", "2:18", "size is 64X64"),
        # fields that contradict each other
        (
            "shots: [{image: a.png, min_guidance_scale: 4}]",
            "1:44",
            r"min_guidance_scale is 4; allowed: at most max_guidance_scale \(3\)",
        ),
        (
            "shots: [{image: a.png, max_guidance_scale: 0.5}]",
            "1:44",
            "min_guidance_scale is 1; allowed: at most",
        ),
        (
            "shots: [{image: a.png, frames: 4, decode_chunk_size: 5}]",
            "1:54",
            "decode_chunk_size is 5; allowed: from 1 to",
        ),
        # sweeps
        ("shots: [{image: a.png, sweep: {}}]", "1:31", "sweep is empty"),
        ("shots: [{image: a.png, sweep: [1]}]", "1:31", "sweep is a list"),
        ("shots: [{image: a.png, sweep: {seed: []}}]", "1:38", "an empty list"),
        ("shots: [{image: a.png, sweep: {seed: 4}}]", "1:38", "'4' is not a range"),
        ("shots: [{image: a.png, sweep: {seed: '4-1'}}]", "1:38", "smaller end first"),
        ("shots: [{image: a.png, sweep: {seed: '1-4:0'}}]", "1:38", "step from 1"),
        ("shots: [{image: a.png, sweep: {fps: '0-4'}}]", "1:37", "fps is 0 at an end"),
        ("shots: [{image: a.png, sweep: {fps: [7, 99]}}]", "1:41", "fps is 99"),
        ("shots: [{image: a.png, sweep: {fit: crop}}]", "1:37", "a list of values"),
        ("shots: [{image: a.png, sweep: {nois: [1]}}]", "1:32", "unknown key 'nois'"),
        ("shots: [{image: a.png, fps: 7, sweep: {fps: [7]}}]", "1:29", "here and under sweep"),
        ("shots: [{image: a.png, combine: zip}]", "1:33", "without sweep has no meaning"),
        (
            "shots: [{image: a.png, sweep: {fps: [1], seed: '1-2'}, combine: zip}]",
            "1:31",
            "fps has 1, seed has 2",
        ),
        (
            "shots: [{image: a.png, sweep: {fps: [1]}, combine: prod}]",
            "1:52",
            "product or zip.*Did you mean product?",
        ),
        # names of files
        (SHOTS + "output: {name: '{sed}.mp4'}", "2:16", "uses {sed}; allowed: codec, crf"),
        (SHOTS + "output: {name: '{shot!r}.mp4'}", "2:16", "uses {shot}"),
        (SHOTS + "output: {name: '{shot.mp4'}", "2:16", "output name"),
        (SHOTS + "output: {name: '../{shot}.mp4'}", "1:17|1:9", "allowed: letters, digits"),
        (SHOTS + "output: {name: '{shot}.gif'}", "1:17|1:9", "ending in .mp4,"),
        (SHOTS + "output: {codec: ffv1, name: '{shot}.mp4'}", "1:17|1:9", "ending in .mkv,"),
        (SHOTS + "output: {codec: ffv1, crf: 17}", "2:28", "crf is 17; allowed: none, as"),
        (SHOTS + "output: {crf: 52}", "2:15", "allowed: a whole number from 0 to 51 with"),
        (SHOTS + "output: {name: '{shot}_{frames}.mp4'}", "2:16", "which shots.*Set frames"),
        (
            "shots: [{image: a.png, name: x}, {image: b.png, name: X}]",
            "1:55",
            r'shots\[1\] "X": its video would be X.mp4, as that of shots\[0\] "x".*\{index\}',
        ),
        ("shots: [{image: a.png}, {image: a.png}]", "1:25", "as that of shots"),
        # what YAML allows and we do not
        ("shots: &s [{image: a.png}]", "1:8", "an anchor"),
        ("name: *x\n" + SHOTS, "1:7", "an alias"),
        ("name: !!python/object:os.system x\n" + SHOTS, "1:7", "a tag"),
        ("name: !x y\n" + SHOTS, "1:7", "a tag"),
        ("[" * 40, "1:33", "nested deeper than 32"),
        ("---\n" + SHOTS + "---\n" + SHOTS, "3:1", "a second document"),
        ("shots: [{image: a.png]", "1:22", "not YAML"),
        ("\tshots: 1", "1:1", "not YAML"),
        ("- a", "1:1", "the file holds a list"),
        ("", "1:1", "the file is empty"),
        ("# nothing\n", "1:1|2:1", "the file is empty"),
        ("name: \x07\n" + SHOTS, "1:7", "a character that YAML does not allow"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, place: str, said: str, folder: Path) -> None:
    told = mistakes_in(folder, text)

    assert re.match(rf".*/jobs\.yaml:({place}): ", told), told
    assert re.search(said, told, re.DOTALL), told


def test_the_caret_stands_under_what_is_wrong(folder: Path) -> None:
    told = mistakes_in(folder, "shots:\n  - image: a.png\n    size: 570x320  # too odd\n")

    allowed = "allowed: a multiple of 8 from 56 to 2048"
    assert told.split("\n") == [
        f"{folder}/jobs.yaml:3:11: shots[0]: size is 570x320: the width is 570; " + allowed,
        "  3 |     size: 570x320  # too odd",
        "    |           ^^^^^^^",
        "  The nearest are 568 and 576.",
    ]


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(folder: Path) -> None:
    told = mistakes_in(folder, "priority: x\nshots:\n  - {image: a.png, fps: 0, steps: 0}\n")

    assert re.findall(r"jobs\.yaml:(\d+:\d+)", told) == ["1:11", "3:25", "3:35"]


def test_a_file_full_of_mistakes_is_not_a_wall_of_text(folder: Path) -> None:
    told = mistakes_in(folder, "shots:\n" + "  - {image: a.png, fps: 0}\n" * 50)

    assert told.count("fps is 0") == 10
    assert told.endswith("and 40 more")


def test_a_line_of_a_megabyte_is_shown_in_part(folder: Path) -> None:
    told = mistakes_in(folder, f"shots: [{{image: 'data:{'x' * 500_000}', fps: 0}}]")

    assert len(told) < 2000
    assert "^" in told


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x" * (2**20 + 1), "larger than 1 MiB"),
        (b"name: \xff", "not UTF-8 text: byte 6"),
    ],
)
def test_a_file_that_is_no_text_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_bytes(data)

    with pytest.raises(FileUnreadable, match=said):
        read(path, draw=lambda _: 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shots: [{image: a.png, sweep: {seed: '0-9223372036854775807'}}]", "more values than"),
        (
            "shots: [{image: a.png, sweep: {seed: '1-200', fps: '1-60'}}]",
            f"12000 shots; a job holds at most {MAX_SHOTS_PER_JOB}",
        ),
        (
            "shots:\n" + "  - {image: a.png, sweep: {seed: '1-5000'}}\n" * 3,
            "shots makes 15000 with its sweeps",
        ),
        (
            "shots: [{image: '*.png', sweep: {seed: '1-5000'}}]",
            "15000 shots with all files that match",
        ),
        ("shots:\n" + "  - {image: a.png}\n" * 10_001, "shots has 10001 items"),
    ],
)
def test_too_many_shots_are_refused_before_they_are_made(
    text: str, said: str, folder: Path
) -> None:
    assert said in mistakes_in(folder, text)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("{image: a.png}", ["a"]),
        ("{image: a.png, name: x}", ["x"]),
        ("{image: '*.png'}", ["a", "b", "c"]),
        ("{image: '*.png', name: x}", ["x-01", "x-02", "x-03"]),
        ("{image: a.png, sweep: {seed: '1-3'}}", ["a-01", "a-02", "a-03"]),
        ("{image: a.png, sweep: {seed: [5]}}", ["a"]),
        ("{image: '[ab].png', sweep: {seed: '1-2'}}", ["a-01", "a-02", "b-01", "b-02"]),
        ("{image: 'http://x.org/my%20cat.webp?size=9'}", ["my-cat"]),
        ("{image: 'data:image/png;base64,AAAA'}", ["shot-1"]),
    ],
)
def test_shots_are_named_after_entry_file_and_number(
    entry: str, names: list[str], folder: Path
) -> None:
    plan = plan_of(folder, f"shots: [{entry}]")

    assert [shot.name for shot in plan.shots] == names
    assert [shot.output_name for shot in plan.shots] == [f"{name}.mp4" for name in names]


def test_numbers_are_as_wide_as_the_last_one(folder: Path) -> None:
    plan = plan_of(folder, "shots: [{image: a.png, sweep: {seed: '1-100'}}]")

    assert (plan.shots[0].name, plan.shots[99].name) == ("a-001", "a-100")


def test_a_product_varies_its_last_key_fastest_and_zip_goes_side_by_side(folder: Path) -> None:
    sweep = "sweep: {motion_bucket_id: [60, 180], seed: '1-2'}"

    def pairs(combine: str) -> list[tuple[int | None, int | None]]:
        text = f"shots: [{{image: a.png, {sweep}, combine: {combine}}}]"
        return [(s.params.motion_bucket_id, s.params.seed) for s in plan_of(folder, text).shots]

    assert pairs("product") == [(60, 1), (60, 2), (180, 1), (180, 2)]
    assert pairs("zip") == [(60, 1), (180, 2)]


def test_a_sweep_goes_over_the_defaults_and_an_entry_over_both(folder: Path) -> None:
    plan = plan_of(
        folder,
        "defaults: {fps: 5, steps: 9, size: 64x72}\n"
        "shots:\n  - {image: a.png, steps: 3, sweep: {fps: [6]}}\n",
    )

    (shot,) = plan.shots
    assert (shot.params.fps, shot.params.step_count) == (6, 3)
    assert (shot.params.width_px, shot.params.height_px) == (64, 72)
    assert shot.params.motion_bucket_id is None


def test_every_setting_reaches_its_field(folder: Path) -> None:
    plan = plan_of(
        folder,
        """
name: all
priority: 50
defaults: {model: svd-xt, size: 1024x576, fit: pad, frames: 25, steps: 30, fps: 8,
           playback_fps: 24, motion_bucket_id: 100, noise_aug_strength: 2e-2,
           min_guidance_scale: 1, max_guidance_scale: 3.5, decode_chunk_size: 8, tier: fast}
output: {dir: films, crf: 20, codec: h264, name: "{shot}_m{motion_bucket_id}_s{seed}.mp4"}
shots: [{image: a.png, seed: 9223372036854775807}]
""",
    )

    assert (plan.name, plan.priority, plan.output_dir) == ("all", 50, "films")
    (shot,) = plan.shots
    assert shot.output_name == "a_m100_s9223372036854775807.mp4"
    assert vars(shot.params) == {
        "model": "svd-xt",
        "width_px": 1024,
        "height_px": 576,
        "frame_count": 25,
        "step_count": 30,
        "fps": 8,
        "playback_fps": 24,
        "motion_bucket_id": 100,
        "noise_aug_strength": 0.02,
        "min_guidance_scale": 1,
        "max_guidance_scale": 3.5,
        "decode_chunk_size": 8,
        "tier": "fast",
        "seed": 2**63 - 1,
        "fit": "pad",
        "codec": "h264",
        "crf": 20,
    }


def test_a_setting_that_the_name_shows_is_made_explicit(folder: Path) -> None:
    plan = plan_of(
        folder,
        "output: {name: '{shot}_{index}_{seed}_{fps}_{frames}.mp4'}\n"
        "defaults: {model: tiny}\nshots: [{image: a.png}, {image: b.png, seed: 3}]\n",
    )

    assert [s.output_name for s in plan.shots] == ["a_1_1000_7_14.mp4", "b_2_3_7_14.mp4"]
    assert [(s.params.seed, s.params.fps, s.params.frame_count) for s in plan.shots] == [
        (1000, 7, 14),
        (3, 7, 14),
    ]


def test_paths_are_relative_to_the_file(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "d.png").write_bytes(b"")

    plan = plan_of(folder, "shots: [{image: deep/d.png}, {image: '**/*d.png', name: again}]")

    assert [shot.image for shot in plan.shots] == [str(folder / "deep" / "d.png")] * 2


def test_windows_line_ends_and_a_byte_order_mark_are_no_mistake(folder: Path) -> None:
    path = folder / "jobs.yaml"
    path.write_bytes("\ufeffname: x\r\nshots:\r\n  - image: a.png\r\n".encode())

    assert [shot.name for shot in read(path, draw=lambda _: 0).shots] == ["a"]
