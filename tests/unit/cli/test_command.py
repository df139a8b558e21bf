"""The command itself: usage, settings, start, and what it does without the server packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import farm as package
from farm.cli.jobs_file.reader import read
from farm.settings import KEYS, Settings, SettingsInvalid
from tests.running import free_port
from tests.unit.cli.conftest import Command
from tests.unit.client.running_farm import RunningFarm

# What no client verb may load: the base install has none of it.
SERVER_PACKAGES = (
    "torch",
    "ray",
    "PIL",
    "numpy",
    "sqlalchemy",
    "structlog",
    "diffusers",
    "huggingface_hub",
)


def python(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *args], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["submti", "x"], "Did you mean 'submit'"),
        (["submit"], "Missing argument 'FILE'"),
        (["submit", "x", "--no-such-flag"], "--no-such-flag"),
        (["submit", "x", "--timeout", "soon"], "--timeout"),
        (["submit", "x", "--timeout", "-1"], "--timeout"),
        (["show"], "JOB"),
        (["download", "x"], "--out"),
        (["jobs", "--limit", "0"], "--limit"),
        (["jobs", "--address", "nowhere"], "address is 'nowhere'; allowed: HOST:PORT"),
        (["--address", "http://x:1", "jobs"], "address is 'http://x:1'"),
        (["submit", "no.yaml"], "no.yaml: no such file; `farm init no.yaml` writes one"),
        (["submit", "."], "is a directory"),
    ],
)
def test_a_wrong_call_ends_with_1_and_says_why(
    args: list[str], said: str, command: Command
) -> None:
    ended = command(*args)

    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert said in ended.err


def test_help_and_version_succeed(command: Command) -> None:
    assert command("--version").out == f"svdfarm {package.__version__}\n"
    verbs = (
        "submit",
        "watch",
        "jobs",
        "show",
        "download",
        "pause",
        "resume",
        "cancel",
        "delete",
        "priority",
        "requeue",
        "prune",
    )
    for verb in ([], *([verb] for verb in verbs)):
        assert command(*verb, "--help").code == 0


def test_help_is_plain_even_where_colour_is_forced() -> None:
    script = "import os; os.environ.update(FORCE_COLOR='1', GITHUB_ACTIONS='1')\n"
    script += "from farm.cli import main; main(['submit', '--help'])"

    ended = python(script)

    assert "Usage: farm submit" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_help_and_client_verbs_load_no_server_package(farm: RunningFarm, cwd: Path) -> None:
    script = (
        "import sys; from farm.cli.app import run\n"
        "run(['--help']); early = 'grpc' in sys.modules or 'yaml' in sys.modules\n"
        "run(['jobs', '--address', sys.argv[1]]); run(['submit', 'x.yaml'])\n"
        f"print(early, [m for m in {SERVER_PACKAGES!r} if m in sys.modules])"
    )

    ended = python(script, farm.address)

    assert ended.stdout.splitlines()[-1] == "False []", ended.stderr


@pytest.mark.parametrize(
    "verb",
    [
        ["render", "x.png", "-o", "out"],
        ["gateway"],
        ["model", "list"],
        ["model", "pull", "svd"],
        ["sheet", "a"],
        ["submit", "x.yaml", "--draft"],
    ],
)
def test_without_the_server_packages_their_extra_is_named(verb: list[str], cwd: Path) -> None:
    (cwd / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (cwd / "x.yaml").write_text("shots: [{image: x.png}]")
    script = f"import sys\nfor m in {SERVER_PACKAGES!r}: sys.modules[m] = None\n"
    script += "from farm.cli import main; main(sys.argv[1:])"

    ended = python(script, *verb)

    assert ended.returncode == 1
    assert ended.stderr == (
        'error: this needs the server packages: pip install "svdfarm[server]"\n'
    )


def test_flags_go_over_variables_and_variables_over_the_file(
    farm: RunningFarm, command: Command, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    quick = ("--connect-timeout", "0")

    (cwd / "farm.toml").write_text(f'address = "{farm.address}"\n')
    assert command("jobs", *quick).code == 0
    monkeypatch.setenv("FARM_ADDRESS", nobody)
    assert command("jobs", *quick).code == 5
    assert command("--address", farm.address, "jobs", *quick).code == 0
    assert command("--address", nobody, "jobs", *quick, "--address", farm.address).code == 0


def test_a_database_that_cannot_be_used_is_refused_without_its_password(cwd: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "farm", "gateway", "--data", "data"],
        env={**os.environ, "FARM_DATABASE": "mysql://me:s3cret@host/farm"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "begins with mysql://; allowed: postgresql://USER:PASSWORD@HOST:PORT/" in ended.stderr
    assert "s3cret" not in ended.stderr + ended.stdout


@pytest.mark.parametrize("verb", ["gateway", "up"])
def test_artifacts_that_cannot_be_kept_are_refused(cwd: Path, verb: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "farm", verb, "--data", "data", "--artifacts", "gs://videos"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "artifacts 'gs://videos'; write s3://BUCKET or s3://BUCKET/PREFIX" in ended.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("adress = 'x:1'", "unknown key 'adress'; did you mean address?"),
        ("zzz = 1", "unknown key 'zzz'; allowed: address"),
        ("workers = '2'", "workers is '2'; allowed: a whole number"),
        ("direct_upload = 1", "direct_upload is 1; allowed: true or false"),
        ("workers = true", "workers is True; allowed: a whole number"),
        ("address = ", "farm.toml: "),
    ],
)
def test_a_wrong_farm_toml_is_refused_with_the_key(
    text: str, said: str, command: Command, cwd: Path
) -> None:
    (cwd / "farm.toml").write_text(text)

    ended = command("jobs")

    assert ended.code == 1
    assert "farm.toml" in ended.err
    assert said in ended.err


@pytest.mark.parametrize("verb", ["gateway", "up"])
def test_direct_upload_without_a_bucket_is_refused(cwd: Path, verb: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "farm", verb, "--data", "data", "--address", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "FARM_DIRECT_UPLOAD": "true"},
    )
    assert ended.returncode == 1
    assert "give one with --artifacts s3://BUCKET/PREFIX, or leave it out" in ended.stderr


def test_a_variable_of_the_wrong_type_is_named(cwd: Path) -> None:
    with pytest.raises(SettingsInvalid, match="FARM_WORKERS is 'two'; allowed: a whole number"):
        Settings.load({"FARM_WORKERS": "two"}, cwd)
    with pytest.raises(SettingsInvalid, match="FARM_DIRECT_UPLOAD is 'on'; allowed: true or"):
        Settings.load({"FARM_DIRECT_UPLOAD": "on"}, cwd)


def test_every_setting_can_come_from_the_environment(cwd: Path) -> None:
    settings = Settings.load({f"FARM_{key.upper()}": "1" for key in KEYS}, cwd)

    assert {key: settings.find(key, None) for key in KEYS} == {
        key: kind("1") for key, kind in KEYS.items()
    }


def test_init_writes_a_file_that_submit_can_read_and_never_overwrites(
    command: Command, cwd: Path, photo: Path
) -> None:
    (cwd / "images").mkdir()
    (cwd / "images" / "rocket.jpg").write_bytes(photo.read_bytes())

    assert command("init").code == 0
    assert command("submit", "jobs.yaml", "--dry-run").code == 0
    before = (cwd / "jobs.yaml").read_bytes()
    refused = command("init")

    assert refused.code == 1
    assert "jobs.yaml is there already" in refused.err
    assert (cwd / "jobs.yaml").read_bytes() == before


def test_what_init_has_commented_out_is_right_too(command: Command, cwd: Path, photo: Path) -> None:
    for folder, name in (("images", "rocket.jpg"), ("frames", "a.png")):
        (cwd / folder).mkdir()
        (cwd / folder / name).write_bytes(photo.read_bytes())
    command("init")
    path = cwd / "jobs.yaml"
    # Commented-out settings are a key and a colon; sentences are not.
    path.write_text(re.sub(r"(?m)^( *)# ( *(?:- )?[a-z_]+: )", r"\1\2", path.read_text()))

    plan = read(path, draw=lambda _: 0)

    assert len(plan.shots) == 1 + 1 + 12
    assert plan.shots[0].params.decode_chunk_size == 8
    assert plan.shots[-1].name == "wild-12"


def test_the_example_is_four_shots_with_names_of_their_own(command: Command, photo: Path) -> None:
    example = photo.parents[1] / "jobs.yaml"

    ended = command("submit", example, "--dry-run")

    assert ended.code == 0
    assert [line.split()[0] for line in ended.lines[1:]] == [
        "rocket",
        "astronaut",
        "coffee",
        "chelsea",
    ]


def test_an_output_that_is_full_is_told_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "farm", "--help"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr == "error: the output cannot be written: no space left on device\n"
