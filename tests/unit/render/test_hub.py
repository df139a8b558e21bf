"""Stability's checkpoints where the hub cannot be reached or refuses: quick, and in words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from farm.render.errors import ModelUnavailable
from farm.render.hub import REVISIONS, fetch

FETCH = """
import sys
from pathlib import Path
from farm.render.errors import ModelUnavailable
from farm.render.errors import ModelUnavailable
from farm.render.hub import fetch
try:
    print(fetch(sys.argv[1], "float16", Path(sys.argv[2])))
except ModelUnavailable as error:
    print(error.reason, error)
"""


def fetch_from(endpoint: str, cache_dir: Path, **environment: str) -> tuple[str, float]:
    """What fetching svd-xt says, and the seconds it took, process start included."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", FETCH, "svd-xt", str(cache_dir)],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.perf_counter() - started


@pytest.fixture(params=[401, 403])
def gate(request: pytest.FixtureRequest) -> Iterator[str]:
    """A hub that knows the repository and lets nobody in."""

    class Gate(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            self.send_response(request.param)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = refuse  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Gate) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_gated_repository_says_how_to_get_in(gate: str, tmp_path: Path) -> None:
    said, seconds = fetch_from(gate, tmp_path)

    assert said.startswith("MODEL_UNAVAILABLE Model svd-xt cannot be had")
    assert "gated" in said
    assert "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt" in said
    for advice in ("Accept the licence", "HF_TOKEN", "hf auth login", "local copy"):
        assert advice in said
    assert seconds < 8


def test_no_network_says_so_and_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        said, seconds = fetch_from(f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path)

    assert "MODEL_UNAVAILABLE" in said
    assert "cannot be reached from here" in said
    for advice in ("accept the licence", "HF_TOKEN", "hf auth login", "local copy"):
        assert advice in said
    assert seconds < 8


def test_a_hub_that_never_answers_is_given_up_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        said, seconds = fetch_from(f"http://127.0.0.1:{mute.getsockname()[1]}", tmp_path)

    assert "cannot be reached from here" in said
    assert seconds < 8


def test_offline_mode_is_named(tmp_path: Path) -> None:
    said, seconds = fetch_from("http://127.0.0.1:1", tmp_path, HF_HUB_OFFLINE="1")

    assert "HF_HUB_OFFLINE is set" in said
    assert seconds < 8


@pytest.fixture
def cached(folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Puts a whole checkpoint into the cache, as that commit and the newest one."""
    repository = tmp_path / "models--stabilityai--stable-video-diffusion-img2vid-xt"

    def cached(commit: str) -> Path:
        (repository / "snapshots").mkdir(parents=True)
        (repository / "snapshots" / commit).symlink_to(folder)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
        return repository / "snapshots" / commit

    return cached


def test_a_complete_copy_in_the_cache_needs_no_network(
    cached: Callable[[str], Path], tmp_path: Path
) -> None:
    there = cached(REVISIONS["svd-xt"])

    said, _ = fetch_from("http://127.0.0.1:1", tmp_path)

    assert said.strip() == str(there)


def test_a_revision_that_is_no_commit_names_no_path(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"revision is '\.\./x'; allowed: a commit"):
        fetch("svd-xt", "float16", tmp_path, "../x")


def test_another_commit_in_the_cache_is_only_taken_by_name(
    cached: Callable[[str], Path], tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    there = cached(commit)

    said, _ = fetch_from("http://127.0.0.1:1", tmp_path)

    assert "cannot be reached from here" in said
    assert fetch("svd-xt", "float16", tmp_path, commit) == there
