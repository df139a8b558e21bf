"""submit, watch, show, download, cancel, jobs and workers against a real farm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running import free_port
from tests.unit.cli.conftest import Command, Ended
from tests.unit.client.running_farm import RunningFarm, running_farm

JobsYaml = Callable[..., Path]
ONE, TWO = "name: one, seed: 1", "name: two, seed: 2"
# No worker of these tests serves it: the shot waits.
WAITS = "name: waits, model: svd"


def objects(ended: Ended) -> list[dict[str, object]]:
    return [json.loads(line) for line in ended.lines]


def job_name(ended: Ended) -> str:
    (name,) = {word for word in ended.out.split() if word.startswith("jobs/")}
    return name


def test_submit_saves_every_video_and_says_where(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    ended = on_farm("submit", jobs_yaml(ONE, TWO), "--out", "films")

    assert ended.code == 0
    assert {"saved films/one.mp4", "saved films/two.mp4"} < set(ended.lines)
    assert sorted(path.name for path in (cwd / "films").iterdir()) == ["one.mp4", "two.mp4"]
    assert ended.lines[-1].endswith("SUCCEEDED 2 of 2 shots ended")
    assert "test pattern" in ended.err


def test_the_output_folder_of_the_file_is_against_the_working_directory(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    (cwd / "deep").mkdir()
    file = jobs_yaml(ONE, name="deep/jobs.yaml")
    file.write_text(file.read_text() + "output: {dir: films, name: '{shot}_{seed}.mp4'}\n")

    assert on_farm("submit", file).code == 0

    assert (cwd / "films" / "one_1.mp4").is_file()


def test_submit_again_skips_the_same_bytes_and_keeps_other_files(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    file = jobs_yaml(ONE)
    on_farm("submit", file)
    again = on_farm("submit", file)
    target = cwd / "out" / "one.mp4"
    target.write_bytes(b"precious")

    refused = on_farm("submit", file)
    kept = target.read_bytes()
    replaced = on_farm("submit", file, "--overwrite")

    assert again.code == 0
    assert "skipped out/one.mp4 (the same bytes are there)" in again.lines
    assert (refused.code, kept) == (1, b"precious")
    assert "out/one.mp4 is there already with other bytes" in refused.err
    assert (replaced.code, target.read_bytes()[4:8]) == (0, b"ftyp")


def test_a_file_that_cannot_be_the_same_is_refused_before_the_job_exists(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    (cwd / "out").mkdir()
    (cwd / "out" / "one.mp4").write_bytes(b"precious")
    before = on_farm("jobs", "--json").out

    ended = on_farm("submit", jobs_yaml("name: one"))

    assert ended.code == 1
    assert "out/one.mp4 is there already" in ended.err
    assert "--overwrite" in ended.err
    assert on_farm("jobs", "--json").out == before


def test_json_gives_one_object_a_line_from_first_change_to_last(
    on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    ended = on_farm("submit", jobs_yaml(ONE), "--json")

    events = objects(ended)
    assert ended.code == 0
    assert {event["event"] for event in events} == {"job", "shot", "saved", "note"}
    (saved,) = [event for event in events if event["event"] == "saved"]
    shots = [event for event in events if event["event"] == "shot"]
    video = shots[-1]["video"]
    assert isinstance(video, dict)
    assert (saved["path"], saved["skipped"]) == ("out/one.mp4", False)
    assert (saved["sha256"], saved["size_bytes"]) == (video["sha256"], video["size_bytes"])
    assert (events[-1]["event"], events[-1]["state"]) == ("job", "SUCCEEDED")


def test_a_detached_job_is_named_by_the_first_word_and_shown_whole(
    on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    name = job_name(on_farm("submit", jobs_yaml(ONE), "--detach"))
    watched = on_farm("watch", name)

    (shown,) = objects(on_farm("show", name.removeprefix("jobs/"), "--json"))

    assert watched.code == 0
    assert (shown["name"], shown["state"]) == (name, "SUCCEEDED")
    assert isinstance(shown["shots"], list)
    (shot,) = shown["shots"]
    assert shot["name"].startswith(f"{name}/shots/")
    assert (shot["state"], shot["attempt_count"], shot["error"]) == ("SUCCEEDED", 1, None)
    assert set(shot["video"]) >= {"sha256", "size_bytes"}
    assert (shot["display_name"], shot["output_name"]) == ("one", "one.mp4")
    assert (shot["params"]["seed"], shot["params"]["width_px"]) == (1, 64)
    assert shot["worker"].startswith("workers/")


def test_detach_in_json_is_an_object_with_the_name(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    (submitted,) = objects(on_farm("submit", jobs_yaml(ONE), "--detach", "--json"))

    assert str(submitted["name"]).startswith("jobs/")
    assert submitted["shot_count"] == 1


def test_download_saves_what_is_there_and_skips_it_the_next_time(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    name = job_name(on_farm("submit", jobs_yaml(ONE, TWO), "--detach"))
    on_farm("watch", name)

    first = on_farm("download", name, "--out", "films")
    second = on_farm("download", name, "--out", "films")

    assert (first.code, second.code) == (0, 0)
    assert first.lines == ["saved films/one.mp4", "saved films/two.mp4"]
    assert all(line.startswith("skipped films/") for line in second.lines)


def test_watch_with_a_folder_saves_videos_too(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    name = job_name(on_farm("submit", jobs_yaml(ONE), "--detach"))

    assert "saved films/one.mp4" in on_farm("watch", name, "-o", "films").lines


def test_cancelled_jobs_end_with_3(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    name = job_name(on_farm("submit", jobs_yaml(WAITS), "--detach"))

    cancelled = on_farm("cancel", name)
    watched = on_farm("watch", name)
    downloaded = on_farm("download", name, "--out", "films")

    assert (cancelled.code, cancelled.out.split()[:2]) == (0, [name, "CANCELLED"])
    assert (watched.code, downloaded.code) == (3, 3)


def test_a_timeout_ends_with_4_and_says_how_to_go_on(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    ended = on_farm("submit", jobs_yaml(WAITS), "--timeout", "0.3")

    assert ended.code == 4
    name = job_name(ended)
    assert f"farm watch {name} --out out" in ended.err
    on_farm("cancel", name)


def test_no_farm_ends_with_5_and_says_how_to_start_one(
    command: Command, jobs_yaml: JobsYaml
) -> None:
    address = f"127.0.0.1:{free_port()}"

    for verb in (
        ["submit", jobs_yaml(ONE)],
        ["jobs"],
        ["watch", "x"],
        ["download", "x", "-o", "y"],
    ):
        ended = command(*verb, "--address", address, "--connect-timeout", "0.1")
        assert ended.code == 5
        assert address in ended.err
        assert "farm up" in ended.err


def test_the_same_request_id_is_the_same_job(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    file, key = jobs_yaml("name: one"), str(uuid.uuid4())
    file.write_text(file.read_text() + "output: {name: '{shot}_{seed}.mp4'}\n")

    first = on_farm("submit", file, "--request-id", key)
    second = on_farm("submit", file, "--request-id", key)

    assert job_name(first) == job_name(second)
    assert (first.code, second.code) == (0, 0)
    assert any(line.startswith("skipped ") for line in second.lines)


@pytest.mark.parametrize("key", ["x", "", "00000000-0000-1000-8000-000000000000"])
def test_a_request_id_that_is_no_uuid4_is_refused(
    key: str, command: Command, jobs_yaml: JobsYaml
) -> None:
    ended = command("submit", jobs_yaml(ONE), "--request-id", key)

    assert ended.code == 1
    assert "UUID of version 4" in ended.err


def test_what_the_farm_refuses_is_told_at_its_line(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    before = on_farm("jobs", "--json").out
    file = jobs_yaml(ONE, "name: two, model: svdd")

    ended = on_farm("submit", file)

    assert ended.code == 1
    assert f"{file}:4:" in ended.err
    assert 'shots[1] "two": model ' in ended.err
    assert "^^^^" in ended.err
    assert on_farm("jobs", "--json").out == before


def test_an_image_that_the_farm_cannot_decode_is_told_at_its_line(
    on_farm: Command, cwd: Path
) -> None:
    (cwd / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + uuid.uuid4().bytes)
    (cwd / "jobs.yaml").write_text("shots:\n  - name: bad\n    image: broken.png\n")

    ended = on_farm("submit", "jobs.yaml")

    assert ended.code == 1
    assert 'jobs.yaml:3:12: shots[0] "bad": image ' in ended.err


def test_missing_images_are_all_named_before_anything_is_sent(command: Command, cwd: Path) -> None:
    (cwd / "text.png").write_text("hello")
    (cwd / "jobs.yaml").write_text("shots: [{image: no.png}, {image: text.png}]\n")

    ended = command("submit", "jobs.yaml", "--address", "127.0.0.1:1")

    assert ended.code == 1
    assert "1:17: shots[0]: image: no.png: no such file" in ended.err
    assert "1:34: shots[1]: image: text.png is no image" in ended.err


def test_a_dry_run_needs_no_farm_and_prints_the_shots(
    command: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    file = jobs_yaml("name: one, sweep: {seed: '1-3'}")

    nobody = ("--address", "127.0.0.1:1", "--connect-timeout", "0")
    text = command("submit", file, "--dry-run", *nobody)
    planned = objects(command("submit", file, "--dry-run", "--json", *nobody))

    assert text.code == 0
    assert [line.split()[0] for line in text.lines] == ["SHOT", "one-01", "one-02", "one-03"]
    assert "tiny (test pattern)" in text.out
    assert "nothing was sent, and no farm could be asked" in text.err
    assert [shot["output_name"] for shot in planned] == ["one-01.mp4", "one-02.mp4", "one-03.mp4"]
    assert not (cwd / "out").exists()


def test_failed_shots_end_with_2(command: Command, jobs_yaml: JobsYaml, tmp_path: Path) -> None:
    with running_farm(tmp_path) as farm:
        farm.add_worker(fails=True)

        ended = command("submit", jobs_yaml(ONE), "--address", farm.address)
        shown = command("show", job_name(ended), "--address", farm.address, "--json")

    assert ended.code == 2
    assert any("one FAILED PARAMS_REJECTED: " in line for line in ended.lines)
    shots = objects(shown)[0]["shots"]
    assert isinstance(shots, list)
    assert shots[0]["error"]["reason"] == "PARAMS_REJECTED"
    assert shots[0]["error"]["message"]


def test_workers_are_one_object_each(on_farm: Command) -> None:
    (worker,) = objects(on_farm("workers", "--json"))

    assert set(worker) >= {"name", "state", "pid", "device", "shot"}
    assert (worker["state"], worker["pid"], worker["shot"]) == ("ACTIVE", os.getpid(), None)


def test_jobs_are_listed_newest_first(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    names = [job_name(on_farm("submit", jobs_yaml(ONE), "--detach")) for _ in range(2)]

    listed = objects(on_farm("jobs", "--json", "--limit", "2"))

    assert [job["name"] for job in listed] == names[::-1]


def test_an_unknown_job_is_refused(on_farm: Command) -> None:
    for verb in (["show"], ["watch"], ["cancel"], ["download", "-o", "x"]):
        ended = on_farm(*verb, "nowhere")
        assert ended.code == 1
        assert ended.err.startswith("error: ")


def test_a_wrong_token_is_refused_at_once(
    command: Command, jobs_yaml: JobsYaml, tmp_path: Path
) -> None:
    with running_farm(tmp_path, "a-long-and-random-one") as farm:
        refused = command("submit", jobs_yaml(ONE), "--address", farm.address)
        taken = command("--token", farm.token or "", "jobs", "--address", farm.address)

    assert refused.code == 1
    assert "FARM_TOKEN" in refused.err
    assert taken.code == 0


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(
    farm: RunningFarm, on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "farm", "submit", str(jobs_yaml(WAITS))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    name = started.stdout.readline().split()[0]
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=30)

    assert started.returncode == 130
    assert f"farm watch {name} --out out" in err
    assert "Traceback" not in err
    (shown,) = objects(on_farm("show", name, "--json"))
    assert shown["state"] == "QUEUED"
    on_farm("cancel", name)


def test_a_reader_that_leaves_the_pipe_is_no_error(farm: RunningFarm, on_farm: Command) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "farm", "jobs", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert started.stdout is not None
    started.stdout.close()
    assert started.stderr is not None
    assert started.stderr.read() == b""
    started.stderr.close()
    started.wait(30)


def test_a_folder_in_a_videos_place_is_told(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    (cwd / "other" / "one.mp4").mkdir(parents=True)

    refused = on_farm("download", job, "--out", "other")

    assert refused.code == 1
    assert "other/one.mp4 is a folder" in refused.err + refused.out
    assert not list((cwd / "other" / "one.mp4").iterdir())


def test_a_codec_in_a_shot_is_sent_to_its_place(command: Command, jobs_yaml: JobsYaml) -> None:
    refused = command("submit", jobs_yaml(f"{ONE}, codec: av1"), "--dry-run")
    assert refused.code == 1
    assert "codec belongs under output:, for all shots." in refused.err
