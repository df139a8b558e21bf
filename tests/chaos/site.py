"""The farm of a run: database, artifacts and a small disk, gateways and workers as processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, make_url

from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.fake import FakeRenderer
from farm.store.bucket import Bucket
from tests.chaos import moves, network, versions
from tests.chaos.history import History
from tests.chaos.network import Network
from tests.chaos.preloaded import preloaded
from tests.chaos.processes import Program, Supervisor
from tests.chaos.versions import ROOT
from tests.chaos.wire import Wire
from tests.chaos.worker import FRAMES, SIZE_PX
from tests.postgres import PostgresServer, running_postgres
from tests.running import IMAGES, free_port
from tests.s3 import KEYS, Faults, S3Server, faulty, running_s3

LEASE_S = 2.0
STEP_S = 0.03
RESERVE_BYTES = 16 * 2**20
_DISK_BYTES = 2**30


@dataclass(frozen=True)
class Plan:
    """What a run is made of."""

    seed: int
    seconds: float
    database: str = "sqlite"  # or postgres
    artifacts: str = "folder"  # or s3
    direct_upload: bool = False
    workers: int = 4
    submitters: int = 4
    watchers: int = 8
    downloaders: int = 9
    owners: int = 2
    lease_s: float = LEASE_S
    older: str = ""  # the commit whose farm all programs run at first; else this one's
    jobs: int = 0  # goes on until so many were accepted, each of one short shot
    lose_answers: float = 0.0  # this share of the answers to writes, as long as faults last
    faults: tuple[str, ...] = ()  # all that can be staged, where empty
    counts: Mapping[str, int] = field(
        default_factory=dict
    )  # so many of each, however long it takes

    @property
    def gateways(self) -> int:
        """SQLite's is alone."""
        return 2 if self.database == "postgres" else 1


@dataclass
class Site:
    """What faults and the checker get their hands on."""

    plan: Plan
    folder: Path
    data: Path
    url: URL
    history: History
    disk_is_small: bool = False
    network: Network | None = None  # the workers' own
    older: Path | None = None  # the code of an earlier version, of a rollout
    accepted: set[str] = field(default_factory=set)  # jobs, as far as their clients know
    postgres: PostgresServer | None = None
    s3: S3Server | None = None
    s3_faults: Faults | None = None
    bucket: Bucket | None = None  # as the checker sees it: not by way of the proxy
    gateways: list[Program] = field(default_factory=list)
    workers: list[Program] = field(default_factory=list)
    clocks: list[Path] = field(default_factory=list)  # of each program: see clock.c
    wires: list[Wire] = field(default_factory=list)  # of each worker, to any gateway

    @property
    def host(self) -> str:
        """Where workers find what is on this machine."""
        return self.network.host if self.network else "127.0.0.1"

    @property
    def addresses(self) -> list[str]:
        """Where clients come to."""
        return [gateway.said for gateway in self.gateways]

    def inside(self, gateway: str) -> Path:
        """Where a gateway's process looks for faults of its own."""
        return self.folder / "inside" / gateway


@contextlib.contextmanager
def prepared(plan: Plan, folder: Path) -> Iterator[Site]:
    """What has to be there before the farm's own processes are, and stays after they have ended."""
    history = History(folder / "history.jsonl")
    data = folder / "data"
    with contextlib.ExitStack() as stack:
        stack.callback(history.close)
        # Below the reserve nothing is begun: thousands of videos need room.
        size_bytes = _DISK_BYTES * (4 if plan.jobs else 1)
        small = stack.enter_context(small_disk(data, size_bytes))
        site = Site(plan, folder, data, make_url(f"sqlite:///{data}/farm.db"), history, small)
        site.network = stack.enter_context(network.apart())
        if plan.older:
            site.older = versions.check_out(plan.older, folder / "older")
        if plan.database == "postgres":
            site.postgres = stack.enter_context(running_postgres())
            site.url = stack.enter_context(site.postgres.database("template1"))
        if plan.artifacts == "s3":
            os.environ.update(KEYS)
            site.s3 = stack.enter_context(running_s3())
            site.s3_faults = stack.enter_context(faulty(site.s3, site.host))
            site.bucket = site.s3.bucket()
        yield site


@contextlib.contextmanager
def running(site: Site) -> Iterator[None]:
    """The farm's processes, started again whenever they end."""
    clip = site.folder / "clip.mp4"
    make_clip(clip)
    with contextlib.ExitStack() as stack, Supervisor(site.history) as supervisor:
        for number in range(site.plan.gateways):
            name = f"gateway-{number}"
            site.inside(name).mkdir(parents=True)
            command = [
                *_clock(site, name),
                *_gateway_command(site),
                f"--inside={site.inside(name)}",
            ]
            program = Program(name, command, site.folder / f"{name}.log", site.older or ROOT)
            site.gateways.append(supervisor.add(program))
        moves.watch(site.url)  # the first gateway has made the tables
        (site.folder / "workers").mkdir()
        for number in range(site.plan.workers):
            wire = Wire(lambda: site.addresses, f"{site.plan.seed}/wire-{number}", site.host)
            stack.callback(wire.close)
            site.wires.append(wire)
            name = f"worker-{number}"
            command = [*(site.network.inside if site.network else []), *_clock(site, name)]
            command += [sys.executable, "-m", "tests.chaos.worker", wire.address]
            command += map(str, [site.folder / "workers", clip, site.folder / "renders.jsonl"])
            command += [str(STEP_S)]
            program = Program(name, command, site.folder / f"{name}.log", site.older or ROOT)
            site.workers.append(supervisor.add(program))
        yield


def _clock(site: Site, name: str) -> list[str]:
    """How the command of a program begins whose wall clock can be set off."""
    off = site.folder / f"{name}.clock"
    off.write_bytes(bytes(8))
    site.clocks.append(off)
    return preloaded(Path(__file__).parent / "clock.c", site.folder, CLOCK_OFF=str(off))


def make_clip(path: Path) -> None:
    """Makes the video that workers send, but for its last box."""
    params = RenderParams(width_px=SIZE_PX, height_px=SIZE_PX, frame_count=FRAMES, step_count=1)
    image = (IMAGES / "rocket.jpg").read_bytes()
    FakeRenderer().render(image, resolve(params, TINY, 1)).write(path)


def _gateway_command(site: Site) -> list[str]:
    command = [sys.executable, "-m", "tests.chaos.gateway", f"--address=127.0.0.1:{free_port()}"]
    command += [
        f"--data={site.data}",
        f"--lease-s={site.plan.lease_s}",
        f"--reserve-bytes={RESERVE_BYTES}",
    ]
    if site.postgres is not None:
        command.append(f"--database={site.url.render_as_string(hide_password=False)}")
    if site.bucket is not None and site.s3_faults is not None:
        command.append(f"--artifacts=s3://{site.bucket.name}/{site.bucket.prefix}")
        command.append(f"--endpoint={site.s3_faults.endpoint}")
        command += ["--direct-upload"] if site.plan.direct_upload else []
    return command


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[bool]:
    """A file system of its own at `folder`, where this machine lets us mount one."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={size_bytes}", "farm-chaos", str(folder)]
    mounted = mount and not subprocess.run(command, capture_output=True, check=False).returncode
    try:
        yield bool(mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
