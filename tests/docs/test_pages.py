"""Each page's commands and programs, run in its order in one shell and one folder."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.docs import stand_ins
from tests.docs.blocks import ONLY_READ, ROOT, Block, blocks, pages
from tests.integration.conftest import RunningFarm, farm_up
from tests.postgres import PostgresServer
from tests.running import free_port
from tests.s3 import S3Server

# Not run here, with the reason.
ELSEWHERE = ONLY_READ | {
    "docs/SDK.md": "tests/unit/client/test_examples.py runs it, and looks at what it saves",
}
# On the farm that `farm up` starts for all pages; others have a gateway of their own, whose worker
# has a fake GPU, as they change it for everybody or start it in another way.
COMMON = (
    "README.md",
    "docs/start.md",
    "docs/guides/batch.md",
    "docs/guides/sweep.md",
    "docs/guides/ladder.md",
    "docs/guides/kubernetes.md",
    "docs/guides/weights.md",
    "docs/RECEIPTS.md",
    "docs/HTTP.md",
    "docs/TRACES.md",
)
PORTS = re.compile(r"\b(50051|50052|50061|8080|8081|8000)\b")
pytestmark = pytest.mark.timeout(480)  # with the start of the farm of all pages
LIMIT_S = 300  # of a page; on a quiet machine none takes a third of it


def scripts() -> dict[str, str]:
    """Of each page that has something to run: a shell script, whose comments name its lines."""
    found = {page: "".join(_steps(page)) for page in pages() if page not in ELSEWHERE}
    return {page: script for page, script in found.items() if script}


def _steps(page: str) -> Iterator[str]:
    for block in blocks(page):
        match block:
            case Block(kind="bash" | "sh"):
                yield f"# {block}\n{block.text}"
            case Block(title=str(name)):
                yield f"# {block}\ncat > {name} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n"
            case Block(kind="python"):
                yield f"# {block}\npython - <<'END-OF-FILE'\n{block.text}END-OF-FILE\n"


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    """`farm up`, with the smallest model that the farm has."""
    with farm_up(tmp_path_factory.mktemp("docs"), "--model", "tiny") as farm:
        yield farm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader is: beside some photographs, in the root of the source."""
    here = tmp_path / "here"
    (here / "frames").mkdir(parents=True)
    for name in ("rocket.jpg", "coffee.png"):
        shutil.copy(ROOT / "examples" / "images" / name, here)
    shutil.copy(ROOT / "examples" / "images" / "chelsea.png", here / "frames")
    shutil.copytree(ROOT / "examples", here / "examples")
    for name in ("deploy", "requirements"):
        (here / name).symlink_to(ROOT / name)
    (here / "my-values.yaml").touch()  # a reader's own
    (here / ".venv" / "bin").mkdir(parents=True)
    (here / ".venv" / "bin" / "activate").touch()
    return here


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and stand-ins first on PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in stand_ins.STAND_INS:
        program = programs / name
        program.write_text(
            f"#!/bin/sh\nPYTHONPATH={ROOT}:{ROOT / 'client'} "
            f'exec {sys.executable} -m tests.docs.stand_ins {name} "$@"\n'
        )
        program.chmod(0o755)
    (tmp_path / "home").mkdir()
    ours = {n: v for n, v in os.environ.items() if not n.startswith(("FARM_", "AWS_", "HF_"))}
    return ours | {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
        "HF_TOKEN": "",
        stand_ins.SERVERS: str(tmp_path / "servers"),
    }


@pytest.mark.parametrize("page", scripts())
def test_the_page_does_what_it_says(
    page: str, folder: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    script = scripts()[page]
    verbs = set(re.findall(r"^farm (\w+)", script, re.MULTILINE))
    ports = {port: free_port() for port in PORTS.findall(script)} | {"50051": free_port()}
    if page in COMMON:
        farm: RunningFarm = request.getfixturevalue("common")
        ports |= {"50051": _port(farm.address), "8080": _port(farm.http)}
        environment[stand_ins.COMMON] = farm.address
    elif verbs and verbs.isdisjoint({"up", "gateway"}):
        script = f"farm up\n{script}"
    environment["FARM_ADDRESS"] = f"127.0.0.1:{ports['50051']}"
    environment["FARM_HTTP"] = f"127.0.0.1:{ports.get('8080', 0)}"
    script = PORTS.sub(lambda match: str(ports[match[0]]), script)
    for words, real in _really(page, folder.parent, request).items():
        assert words in script
        script = script.replace(words, real)

    code, said = _run(script, folder, environment)

    assert code == 0, f"{said}\n{environment}"


def _really(page: str, folder: Path, request: pytest.FixtureRequest) -> Mapping[str, str]:
    """What the test has in place of a document's servers and machines."""
    match page:
        case "docs/guides/s3.md":
            s3: S3Server = request.getfixturevalue("s3_server")
            return {"http://127.0.0.1:8333": s3.endpoint}
        case "docs/guides/postgresql.md":
            url: URL = request.getfixturevalue("database")
            return {
                "createdb farm\n": "",
                "postgresql://postgres@127.0.0.1/farm": f"'{url.render_as_string(False)}'",
                "/srv/farm": f"{folder}/srv",
            }
        case "docs/TOKENS.md":
            return {"/srv/farm": f"{folder}/srv"}
        case "docs/guides/machines.md":
            return {"gateway-host": "localhost"}
        case _:
            return {}


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[URL]:
    """An empty one, which a gateway gives its tables."""
    with postgres.database() as url:
        yield url


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _run(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Runs it to its end, ends what it started, and says how it went."""
    whole = f"set -euo pipefail\ntrap 'echo \"line $LINENO: $BASH_COMMAND\" >&2' ERR\n{script}"
    path = folder.parent / "script.sh"
    path.write_text(whole)
    with (folder.parent / "said").open("w+") as said:
        shell = subprocess.Popen(
            ["bash", path],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = shell.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            _end_group(shell.pid)
            shell.wait()
            _end_servers(Path(environment[stand_ins.SERVERS]))
        said.seek(0)
        return code, said.read()


def _end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all have ended by themselves
        os.killpg(group, signal.SIGKILL)


def _end_servers(note: Path) -> None:
    """Ends them, the newest first, as people would."""
    for line in reversed(note.read_text().splitlines() if note.exists() else []):
        pid, _, command = line.partition(" ")
        process = os.pidfd_open(int(pid))
        try:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            ended, _, _ = select.select([process], [], [], 30)
            assert ended, f"does not end: {command}"
        finally:
            os.close(process)
