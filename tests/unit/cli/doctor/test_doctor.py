"""`farm doctor` as a whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from farm.cli.doctor import report
from farm.cli.doctor.check import Check, State, fail, ok, warn
from farm.cli.doctor.examine import ended
from tests.running import free_port
from tests.unit.cli.conftest import Command

REPOSITORY = Path(__file__).parents[4]
ALWAYS = ["python", "packages", "torch", "ffmpeg", "images"]
ALWAYS += ["cpu", "data", "model", "svd-xt", "gateway"]
SECRET = "hf_aTokenThatNobodyMaySee"


def test_a_farm_is_examined_from_end_to_end(
    on_farm: Command, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    flags = ("--data", cwd / "data", "--http", f"127.0.0.1:{free_port()}", "--device", "cpu")

    ended = on_farm("doctor", *flags, "--json")
    checks = {check["name"]: check for check in map(json.loads, ended.lines)}

    assert [name for name in checks if name in ALWAYS] == ALWAYS
    assert checks["python"]["advice"] is None
    assert "the default on a CPU" in checks["model"]["found"]
    assert "a token is set (HF_TOKEN)" in checks["svd-xt"]["found"]
    assert "1 of 1 worker active" in checks["gateway"]["found"]
    assert "tiny (test pattern)" in checks["worker"]["found"]
    assert ended.code == any(check["state"] == "fail" for check in checks.values())
    assert SECRET not in ended.out + ended.err
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--device", "gpu"], "--device is 'gpu'; allowed: auto, cpu, cuda"),
        (["--no-such-flag"], "--no-such-flag"),
    ],
)
def test_a_wrong_flag_is_refused(args: list[str], said: str, command: Command) -> None:
    ended = command("doctor", *args)

    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert said in ended.err


@pytest.fixture(params=["alone", "beside packaging"])
def base_site(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the packages of a base install, and no other."""
    site = tmp_path / "site"
    site.mkdir()
    waiting, seen = ["svdfarm"], set()
    if request.param != "alone":  # many programs bring it along
        waiting.append("packaging")
    while waiting:
        distribution = metadata.distribution(waiting.pop())
        if distribution.name in seen:
            continue
        seen.add(distribution.name)
        for part in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            target = site / part
            if not (target.exists() or part.endswith(".pth")):
                target.symlink_to(Path(str(distribution.locate_file(part))))
        wanted = map(Requirement, distribution.requires or [])
        waiting += [r.name for r in wanted if not r.marker or r.marker.evaluate({"extra": ""})]
    return site


def test_a_base_install_says_so_and_checks_what_it_can(base_site: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "client", base_site)))
    free = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    flags = ["--address", free[0], "--http", free[1], "--data", str(tmp_path)]

    done = subprocess.run(
        [sys.executable, "-S", "-m", "farm", "doctor", *flags],
        env={"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.stderr == ""
    assert "the [server] packages are not installed" in done.stdout
    names = [line.split()[1] for line in done.stdout.splitlines()[:-1]]
    assert names == ["python", "packages", "gpu", "data", "gateway", "http"]
    assert done.stdout.splitlines()[-1] == "0 failed, 1 warned"
    assert done.returncode == 0


def test_a_token_in_the_hubs_file_is_found_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    script = "from farm.cli.doctor.model import check_model\n"
    script += "print(check_model('svd-xt', on_gpu=False, hub_token_set=False)[1].found)"

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    told = f"not in the hub's cache; a token is set ({tmp_path / 'token'})\n"
    assert done.stdout == told, done.stderr
    assert SECRET not in done.stderr


def test_a_check_that_hangs_or_breaks_stops_no_other() -> None:
    never = threading.Event()

    def hang() -> list[Check]:
        never.wait()
        return []

    def lack() -> list[Check]:
        raise ModuleNotFoundError("No module named 'psutil'", name="psutil")

    found = list(
        ended(
            {
                "disk": hang,
                "odd": lambda: [ok("odd", str(1 // 0))],
                "base": lack,
                "fine": lambda: [ok("fine", "a"), ok("fine", "b")],
            },
            0.05,
        )
    )
    never.set()

    assert [(check.name, check.state) for check in found] == [
        ("disk", State.FAIL),
        ("odd", State.FAIL),
        ("fine", State.OK),
        ("fine", State.OK),
    ]
    assert "no answer within 0.05 s" in found[0].found
    assert "ZeroDivisionError" in found[1].found


CHECKS = [
    ok("python", "3.11.7"),
    warn("gpu", "0: a GPU whose description is longer than what is left of a line of 80", "Do."),
    ok("svd-xt", "not in use", "Accept the licence."),
]


def test_only_a_failed_check_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.show(CHECKS, as_json=False) == 0
    assert report.show([*CHECKS, fail("http", "held", "Stop it.")], as_json=False) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 failed, 1 warned"


def test_a_pipe_gets_one_line_a_check_without_what_moves_the_cursor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.show([*CHECKS, ok("worker", "evil\x1b[2J\r")], as_json=False)

    assert capsys.readouterr().out.splitlines() == [
        "ok    python    3.11.7",
        f"warn  gpu       {CHECKS[1].found}. Do.",
        "ok    svd-xt    not in use. Accept the licence.",
        "ok    worker    evil?[2J?",
        "0 failed, 1 warned",
    ]


def test_json_has_every_key_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(CHECKS, as_json=True)

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"name": c.name, "state": c.state, "found": c.found, "advice": c.advice or None}
        for c in CHECKS
    ]


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_marks_and_text_in_columns(
    colour: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")

    report.show(CHECKS, as_json=False)
    out = capsys.readouterr().out
    lines = [line.rstrip() for line in out.splitlines()]

    assert ("\x1b[33mwarn" in out) is colour
    if not colour:
        assert "\x1b" not in out
        assert max(map(len, lines)) <= 80
        assert lines == [
            "ok    python    3.11.7",
            "warn  gpu       0: a GPU whose description is longer than what is left of a line",
            "                of 80",
            "                Do.",
            "ok    svd-xt    not in use",
            "                Accept the licence.",
            "0 failed, 1 warned",
        ]
