"""A farm on several hosts, as docs/HOSTS.md sets it up: units, certificates, tokens.

Hosts are network namespaces, GPUs are shares of the CPU, and all else is real.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration import units
from tests.integration.units import BIN, Service, running
from tests.netns import Host, network
from tests.running import IMAGES, eventually

HOSTS = Path(__file__).parents[2] / "docs" / "HOSTS.md"
UNITS = sorted(path.name for path in units.FOLDER.glob("*.service"))


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    for name in UNITS:
        text = (units.FOLDER / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/svdfarm/bin", str(BIN)))
    paths = [str(tmp_path / name) for name in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_unit_stops_after_its_program_has() -> None:
    """The gateway's calls have 5 s, a worker's shots 45 and Serve a minute, Ray's drain 55."""
    limits = {name: float(units.read(name)["TimeoutStopSec"][0]) for name in UNITS}
    assert limits.pop("svdfarm-gateway.service") >= 20
    assert min(limits.values()) >= 90
    for name in UNITS:
        assert units.read(name)["KillMode"] == ["mixed"]  # or Ray's processes get SIGTERM too
        assert units.read(name)["Restart"] == ["always"]
        files = [Path(path).name for path in units.read(name)["EnvironmentFile"]]
        assert all((units.FOLDER / file).is_file() for file in files)


@dataclass
class Site:
    """Hosts, and a gateway on the first of them."""

    folder: Path
    gateway: Host
    gpus: list[Host]
    user: Host
    pki: Path
    token: str
    worker_tokens: list[str]

    def farm(self, *arguments: str | Path, **variables: str) -> str:
        """What the command says to a user on a machine of their own."""
        given = {
            **os.environ,
            "FARM_ADDRESS": "grpcs://farm.internal:50051",
            "FARM_TLS_CA": str(self.pki / "ca.crt"),
            "FARM_TOKEN": self.token,
            **variables,
        }
        command = self.user.command(BIN / "farm", *arguments)
        done = subprocess.run(
            command, env=given, cwd=self.folder, capture_output=True, text=True, timeout=150
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def active(self) -> set[str]:
        """On which hosts there are workers that take shots."""
        lines = self.farm("workers", "--json").splitlines()
        found = [json.loads(line) for line in lines]
        return {worker["hostname"] for worker in found if worker["state"] == "ACTIVE"}

    def submit(self, *seeds: int) -> str:
        shots = [
            {"name": f"s{seed}", "image": str(IMAGES / "rocket.jpg"), "seed": seed}
            for seed in seeds
        ]
        defaults = {"model": "tiny", "size": "128x128", "frames": 4, "steps": 200}
        jobs = self.folder / "jobs.yaml"
        jobs.write_text(json.dumps({"defaults": defaults, "shots": shots}))
        return self.farm("submit", jobs, "--detach", "--no-cache").split()[0]

    def shots(self, job: str) -> list[dict[str, Any]]:
        shots: list[dict[str, Any]] = json.loads(self.farm("show", job, "--json"))["shots"]
        return shots

    def given(self, gpu: int) -> dict[str, str]:
        """What is filled in of worker.env."""
        return {
            "FARM_TLS_CA": str(self.pki / "ca.crt"),
            "FARM_WORKER_TOKEN": self.worker_tokens[gpu],
            "FARM_MODEL": "tiny",
            "FARM_WORKERS": "1",
            "HOME": str(self.folder),
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    names = ("gw-1", "gpu-1", "gpu-2", "desk")
    aliases = {"farm.internal": ("gw-1",), "both.internal": ("gpu-1", "gw-1", "gpu-2")}
    with network(*names, aliases=aliases) as (gateway, *gpus, user):
        pki = certificates(folder / "pki")
        site = Site(folder, gateway, gpus, user, pki, "", [])
        site.token = offline_token(folder)
        given = {
            "FARM_DATA": str(folder / "data"),
            "FARM_TLS_CERT": str(pki / "farm.crt"),
            "FARM_TLS_KEY": str(pki / "farm.key"),
        }
        with running("svdfarm-gateway.service", gateway, folder, given) as service:
            service.wait_ready(60)
            for gpu in gpus:
                made = site.farm("token", "create", gpu.name, "--scope", "work")
                site.worker_tokens.append(made.strip())
            yield site
            assert service.stop() == 0


def certificates(folder: Path) -> Path:
    """What the commands of HOSTS.md make."""
    folder.mkdir()
    text = HOSTS.read_text().split("## Certificates", 1)[1]
    commands, *_ = re.findall(r"```sh\n(.*?)```", text.split("\n## ", 1)[0], re.DOTALL)
    subprocess.run(["sh", "-e", "-c", commands], cwd=folder, check=True, capture_output=True)
    return folder


def offline_token(folder: Path) -> str:
    command = ["token", "create", "root", "--scope", "operate", "--scope", "render", "--offline"]
    done = subprocess.run(
        [BIN / "farm", *command, "--data", folder / "data"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_of_a_names_addresses_one_that_answers_is_enough(site: Site) -> None:
    """gw-1 alone has a gateway; one of the others is not even there."""
    address = {
        "FARM_ADDRESS": "grpcs://both.internal:50051",
        "FARM_TLS_SERVER_NAME": "farm.internal",
    }
    with site.gpus[0].cut_off():
        for _ in range(4):  # as each takes them in an order of its own
            assert site.farm("token", "show", **address)


def test_a_host_is_cut_off_and_comes_back_and_nothing_is_lost(site: Site) -> None:
    with ExitStack() as stack:
        services = [
            stack.enter_context(
                running("svdfarm-worker.service", host, site.folder, site.given(number))
            )
            for number, host in enumerate(site.gpus)
        ]
        for service in services:
            service.wait_ready(150)
        assert site.active() == {"gpu-1", "gpu-2"}

        job = site.submit(*range(4))
        eventually(lambda: rendering(site, job) == {"gpu-1", "gpu-2"}, 30)
        with site.gpus[1].cut_off():
            watched = site.farm("watch", job, "--timeout", "100")
        shots = site.shots(job)
        assert {shot["state"] for shot in shots} == {"SUCCEEDED"}, watched
        assert sum(shot["attempt_count"] == 2 for shot in shots) in (1, 2)  # what gpu-2 held
        eventually(lambda: site.active() == {"gpu-1", "gpu-2"}, 60)

        other = site.submit(11, 12)
        site.farm("watch", other, "--timeout", "100")
        assert [shot["attempt_count"] for shot in site.shots(other)] == [1, 1]
        # What gpu-2 held it had rendered too, or let go: nothing of that ended a shot again.
        assert site.shots(job) == shots
        for name in (job, other):
            site.farm("download", name, "--out", site.folder / "out" / name)
        assert len(list((site.folder / "out").rglob("*.mp4"))) == 6
        for service in services:
            assert service.stop() == 0
    eventually(lambda: site.active() == set(), 10)


def rendering(site: Site, job: str) -> set[str]:
    """On which hosts shots of a job render."""
    lines = site.farm("workers", "--json").splitlines()
    found = [json.loads(line) for line in lines]
    return {w["hostname"] for w in found if (w["shot"] or "").startswith(job)}


def test_one_ray_cluster_spans_hosts(site: Site) -> None:
    head, node = site.gpus
    token = {"RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    with ExitStack() as stack:
        # PrivateTmp, by other means: Ray's sockets want a short path, the same one everywhere.
        ray_tmp = stack.enter_context(short_folder())
        machines = [private(ray_tmp, site.folder / f"tmp-{host.name}") for host in (head, node)]
        common = {**token, "RAY_TMPDIR": str(ray_tmp), "HOME": str(site.folder)}
        common["RAY_HEAD"] = f"{head.address}:6379"

        def start(unit: str, number: int, **given: str) -> Service:
            host = (head, node)[number]
            given = {**common, "RAY_NODE_IP": host.address, **given}
            return stack.enter_context(running(unit, host, site.folder, given, machines[number]))

        one = {"RAY_START_ARGS": "--num-cpus=1 --object-store-memory=100000000"}
        head_service = start("svdfarm-ray-head.service", 0, **one)
        head_service.wait_started(120)
        node_service = start("svdfarm-ray-node.service", 1, **one)
        workers = start("svdfarm-ray-workers.service", 0, **{**site.given(0), "FARM_WORKERS": "2"})
        workers.wait_ready(150)
        eventually(lambda: site.active() == {"gpu-1", "gpu-2"}, 60)
        job = site.submit(21, 22)
        site.farm("watch", job, "--timeout", "100")
        assert {shot["attempt_count"] for shot in site.shots(job)} == {1}
        assert workers.stop() == 0
        assert node_service.stop() in (0, 1)  # 1 is Ray's own, for a node that was told to go
        eventually(lambda: site.active() == set(), 10)


@contextmanager
def short_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def private(shared: Path, own: Path) -> tuple[str, ...]:
    """What has a program find `own` at `shared`."""
    own.mkdir()
    mount = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mount, str(own), str(shared))
