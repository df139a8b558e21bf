"""`farm model` against a hub on this machine that has a small model under Stability's name."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from farm.render.hub import REPOSITORIES, REVISIONS
from farm.render.tiny import tiny_folder

REPOSITORY, REVISION = REPOSITORIES["svd-xt"], REVISIONS["svd-xt"]
Farm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tiny_folder(tmp_path_factory.mktemp("tiny"))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "svdfarm.json"
    }


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that tells what was asked of it."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(with_body=True)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def answer(self, *, with_body: bool) -> None:
            asked.append(f"{self.command} {self.path}")
            prefix = f"/{REPOSITORY}/resolve/{REVISION}/"
            if self.path.partition("?")[0] == f"/api/models/{REPOSITORY}/revision/{REVISION}":
                siblings = [{"rfilename": name} for name in files]
                told = {"id": REPOSITORY, "sha": REVISION, "siblings": siblings}
                self.send(json.dumps(told).encode(), {}, with_body=with_body)
            elif self.path.startswith(f"/api/models/{REPOSITORY}/tree/{REVISION}"):
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in files.items()
                ]
                self.send(json.dumps(tree).encode(), {}, with_body=with_body)
            elif self.path.startswith(prefix) and self.path.removeprefix(prefix) in files:
                name = self.path.removeprefix(prefix)
                data = files[name]
                large = name.endswith(".safetensors")
                git = b"blob %d\0%b" % (len(data), data)
                digest = hashlib.sha256(data) if large else hashlib.sha1(git)
                headers = {"ETag": f'"{digest.hexdigest()}"', "X-Repo-Commit": REVISION}
                self.send(data, headers, with_body=with_body)
            else:
                self.send_error(404)

        def send(self, data: bytes, headers: dict[str, str], *, with_body: bool) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if with_body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def farm(hub: tuple[str, list[str]], tmp_path: Path) -> Farm:
    """The command in a process of its own, with a hub's cache of its own."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        home = {"HF_ENDPOINT": hub[0], "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": ""}
        return subprocess.run(
            [sys.executable, "-m", "farm", "model", *args],
            env={**os.environ, **home, "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
        )

    return run


def test_a_model_is_pulled_once_and_then_is_here(
    farm: Farm, hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    before = farm("list", "--dtype", "float32")
    pulled = farm("pull", "svd-xt", "--dtype", "float32")
    count = len(hub[1])
    again = farm("pull", "svd-xt", "--dtype", "float32")
    after = farm("list", "--dtype", "float32")

    assert "farm model pull svd-xt" in before.stdout
    assert pulled.returncode == 0, pulled.stderr
    assert REVISION[:12] in pulled.stderr
    assert "Stability AI Community License, gated" in pulled.stderr
    assert pulled.stdout.endswith(": 8 files, each as its hash says\n")
    assert count > 0
    assert again.returncode == 0, again.stderr
    assert len(hub[1]) == count  # nobody was asked again
    assert "farm model pull svd-xt" not in after.stdout
    assert str(tmp_path / "hf") in after.stdout


def test_a_damaged_file_is_found_removed_and_fetched_again(farm: Farm, tmp_path: Path) -> None:
    farm("pull", "svd-xt", "--dtype", "float32")
    (weights,) = (tmp_path / "hf").rglob("unet/*.safetensors")
    content = weights.read_bytes()
    weights.resolve().write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    damaged = farm("pull", "svd-xt", "--dtype", "float32")
    mended = farm("pull", "svd-xt", "--dtype", "float32")

    assert damaged.returncode == 1
    assert "is damaged: its SHA-256 is" in damaged.stderr
    assert mended.returncode == 0, mended.stderr
    assert next((tmp_path / "hf").rglob("unet/*.safetensors")).read_bytes() == content


def test_a_damaged_small_file_is_found_too(farm: Farm, tmp_path: Path) -> None:
    farm("pull", "svd-xt", "--dtype", "float32")
    (config,) = (tmp_path / "hf").rglob("scheduler_config.json")
    content = config.read_text()
    config.resolve().write_text(content.replace("700.0", "701.0"))

    damaged = farm("pull", "svd-xt", "--dtype", "float32")
    mended = farm("pull", "svd-xt", "--dtype", "float32")

    assert damaged.returncode == 1
    assert "scheduler_config.json is damaged: git's hash of it is" in damaged.stderr
    assert mended.returncode == 0, mended.stderr
    assert next((tmp_path / "hf").rglob("scheduler_config.json")).read_text() == content


def test_files_whose_names_are_no_hashes_are_told_as_unchecked(farm: Farm, tmp_path: Path) -> None:
    farm("pull", "svd-xt", "--dtype", "float32")
    for path in (tmp_path / "hf").rglob("*.json"):
        if path.is_symlink():  # as the hub's cache lies on a file system without links
            path.resolve().replace(path)

    pulled = farm("pull", "svd-xt", "--dtype", "float32")

    assert pulled.returncode == 0, pulled.stderr
    assert "3 files, each as its hash says; 5 more cannot be checked" in pulled.stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("pull", "tiny"), "'tiny' is no model to fetch; allowed: svd, svd-xt"),
        (("pull", "svd", "--dtype", "int8"), "--dtype is 'int8'; allowed: float16, float32"),
    ],
)
def test_what_cannot_be_pulled_is_refused(farm: Farm, args: tuple[str, ...], told: str) -> None:
    refused = farm(*args)
    assert refused.returncode == 1
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr
