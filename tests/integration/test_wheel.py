"""The wheel has everything inside: clean environments, this checkout not on the path."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from farm.render.probe import probe_video
from tests.running import IMAGES

REPOSITORY = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(sys.executable, *build, "--wheel-dir", folder, REPOSITORY, cwd=folder)
    (wheel,) = folder.glob("svdfarm-*.whl")
    return wheel


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The locked versions, without the hashes: the wheel itself has none."""
    folder = REPOSITORY / "requirements"
    locks = "\n".join((folder / name).read_text() for name in ("dev.txt", "torch-cpu.txt"))
    path = tmp_path_factory.mktemp("pins") / "pins.txt"
    path.write_text("\n".join(re.findall(r"^[a-z0-9-]+==[^\\\n]+", locks, re.MULTILINE)))
    return path


@pytest.mark.timeout(400)
def test_the_base_install_is_a_client(wheel: Path, pins: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "base", with_pip=True)
    python = tmp_path / "base" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", pins, wheel, cwd=tmp_path)
    farm = tmp_path / "base" / "bin" / "farm"
    assert "submit" in run(farm, "--help", cwd=tmp_path)
    run(farm, "init", cwd=tmp_path)
    assert (tmp_path / "jobs.yaml").exists()
    run(python, "-c", "import svdfarm; svdfarm.Client('127.0.0.1:1').close()", cwd=tmp_path)
    (typed,) = tmp_path.glob("base/lib/python*/site-packages/svdfarm/py.typed")
    assert typed.is_file()
    refused = subprocess.run([farm, "gateway"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1
    assert 'pip install "svdfarm[server]"' in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.timeout(900)
def test_the_server_runs_from_the_wheel(wheel: Path, pins: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "server", with_pip=True)
    python = tmp_path / "server" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", pins]
    run(*install, f"{wheel}[server]", cwd=tmp_path)

    farm = tmp_path / "server" / "bin" / "farm"
    small = ["--size", "64x64", "--frames", "3", "--steps", "2", "--seed", "1"]
    image = IMAGES / "rocket.jpg"
    run(farm, "render", image, "-o", tmp_path / "out", "--model", "tiny", *small, cwd=tmp_path)
    assert probe_video(tmp_path / "out" / "rocket.mp4").frame_count == 3

    opened = "from pathlib import Path; from farm.store.store import Store; Store.open(Path('d'))"
    run(python, "-c", f"{opened}.close()", cwd=tmp_path)
    assert (tmp_path / "d" / "farm.db").exists()
