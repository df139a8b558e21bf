"""The images install what the lock files say, and nothing runs as root in them.

No image can be built here: their steps run in a folder instead, the worker's with the build of
torch that this machine's pip finds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.check import dockerfile
from deploy.check.chart import CHART, objects, render
from deploy.check.tools import ROOT
from tests.running import free_port, running_gateway, running_worker

TOKEN = "0123456789abcdef"
IMAGES = ("gateway", "worker")


@pytest.mark.parametrize("name", IMAGES)
def test_everything_that_is_copied_is_there(name: str) -> None:
    sources = [
        s for stage in dockerfile.read(name) for (each, _) in dockerfile.copied(stage) for s in each
    ]

    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not dockerfile.is_sent(source)] == []
    assert not dockerfile.is_sent("tests")


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_labelled_and_runs_as_nobody(name: str) -> None:
    *_, final = dockerfile.read(name)
    labels = " ".join(final.rests("LABEL"))

    assert final.rests("USER") == ["10001:10001"]
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    for stage in dockerfile.read(name):
        assert stage.image == "python:3.11-slim-bookworm"


@pytest.mark.parametrize(
    ("name", "locks"), [("gateway", ["gateway"]), ("worker", ["torch-cuda", "server"])]
)
def test_every_package_comes_from_a_lock_with_its_hash(name: str, locks: list[str]) -> None:
    build, _ = dockerfile.read(name)
    packages, tools, farm = [step for step in build.rests("RUN") if "pip install" in step]
    requirements = [f"--requirement requirements/{lock}.txt" for lock in locks]

    assert packages.endswith(f"--require-hashes --no-deps {' '.join(requirements)}")
    assert tools.endswith("--require-hashes --no-deps --requirement requirements/build.txt")
    assert farm.endswith("--no-deps dist/*.whl")


def test_the_worker_has_what_kuberay_calls() -> None:
    *_, final = dockerfile.read("worker")
    (packages,) = [step for step in final.rests("RUN") if "apt-get install" in step]

    assert {"bash", "grep", "wget"} <= set(packages.split())


def test_gateway_and_worker_have_one_version_of_each_package() -> None:
    gateway, server = (
        set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("gateway.txt", "server.txt")
    )

    assert gateway < server


def install(name: str, folder: Path) -> Path:
    """Runs the steps of an image's first stage in `folder`; the bin folder that they make."""
    stage = next(stage for stage in dockerfile.read(name) if stage.name == "build")
    script = "\n".join(["set -euo pipefail", *dockerfile.install(stage, folder)])
    # Where pip finds packages is this machine's own; nothing else of it is.
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **kept}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "opt" / "svdfarm" / "bin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of what the gateway image's steps install."""
    return install("gateway", tmp_path_factory.mktemp("image"))


@pytest.mark.timeout(900)
def test_what_the_worker_image_installs_fits_together_and_starts(tmp_path: Path) -> None:
    programs = install("worker", tmp_path)

    checked = subprocess.run([programs / "pip", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    said = subprocess.run([programs / "farm", "worker", "--help"], capture_output=True, text=True)
    assert "--gateway" in said.stdout


@contextmanager
def chart_gateway(installed: Path, folder: Path) -> Iterator[str]:
    """The installed gateway as the chart's container runs it, on free ports; its address."""
    rendered = objects(render("single-gpu"))
    (gateway,) = [found for found in rendered if found["kind"] == "StatefulSet"]
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", TOKEN) for each in container["env"]}
    ports = [free_port() for _ in range(3)]
    names = ("FARM_ADDRESS", "FARM_WORKER_ADDRESS", "FARM_HTTP")
    environment |= {
        name: f"{environment[name].rpartition(':')[0]}:{port}"
        for name, port in zip(names, ports, strict=True)
    }
    environment |= {"FARM_DATA": str(folder / "data"), "HOME": str(folder)}
    process = subprocess.Popen(
        [str(installed / "farm"), *container["args"]],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            lines = iter(process.stdout.readline, "")
            assert any(line.startswith("ready ") for line in lines)
            yield f"127.0.0.1:{ports[0]}"
        finally:
            process.terminate()
            process.wait(30)
    assert process.returncode == 0


@pytest.mark.timeout(600)
def test_the_gateway_image_serves_and_is_small(installed: Path, tmp_path: Path) -> None:
    listed = subprocess.run(
        [str(installed / "python"), "-m", "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with chart_gateway(installed, tmp_path) as address:
        said = run_helm_test("health", installed / "python", address)

    assert said == "the gateway serves\n"
    names = {line.partition("==")[0] for line in listed.splitlines()}
    assert names.isdisjoint({"torch", "ray", "diffusers", "numpy"})
    files = (installed.parent / "lib").rglob("*")
    assert sum(path.stat().st_size for path in files if path.is_file()) < 250 * 2**20


def test_the_smoke_render_of_helm_test_renders(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", token=TOKEN) as gateway,
        running_worker(str(gateway.address), tmp_path, token=TOKEN),
    ):
        said = run_helm_test("render", Path(sys.executable), str(gateway.address))

    assert said.startswith("rendered ")


def test_the_health_test_fails_where_nobody_serves() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_helm_test("health", Path(sys.executable), f"127.0.0.1:{free_port()}", "timeout=1")


def run_helm_test(name: str, python: Path, address: str, patience: str = "timeout=30") -> str:
    """Runs what a Pod of `helm test` runs; its output."""
    script = (CHART / "files" / "tests" / f"{name}.py").read_text()
    environment = {"FARM_ADDRESS": address, "FARM_TOKEN": TOKEN, "MODEL": "tiny"}
    if path := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = path if python == Path(sys.executable) else ""
    return subprocess.run(
        [str(python), "-c", script.replace("timeout=30", patience)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
