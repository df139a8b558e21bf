"""Faults: each breaks one thing of a running farm and heals it again.

A fault returns when what it broke is whole again, with what the history should tell of it. A
program that was ended counts as whole: to start again is the farm's own recovery.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from svdfarm import Client, SvdfarmError
from tests.chaos import inside
from tests.chaos.load import submit
from tests.chaos.processes import Program
from tests.chaos.site import LEASE_S, RESERVE_BYTES, Site
from tests.chaos.versions import ROOT
from tests.running import eventually

_REACHED_WITHIN_S = 5.0  # or nobody asks for that just now
_STARTED_WITHIN_S = 60.0  # again; what comes before may take as long as it drains
_FIRST_COMING = 1000  # of images that the load does not use; one every two seconds


def gateway_kill(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGKILL at a random moment."""
    return _end(rng.choice(site.gateways), signal.SIGKILL)


def gateway_stop(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGTERM, as at an upgrade."""
    return _end(rng.choice(site.gateways), signal.SIGTERM)


def gateway_freeze(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGSTOP for less or more than a lease."""
    return _freeze(rng.choice(site.gateways), rng.uniform(0.2, 2.5 * LEASE_S))


def gateway_dies_at(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGKILL at a named point of what it does to its store, or where it does not get there soon.

    See inside.py.
    """
    program, point = rng.choice(site.gateways), rng.choice(inside.POINTS)
    pid, said, order = program.process.pid, program.said, site.inside(program.name) / "die-at"
    program.killed = True
    _put(order, point)
    deadline = time.monotonic() + _REACHED_WITHIN_S
    while order.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    reached = not order.exists()
    order.unlink(missing_ok=True)
    if not reached:
        program.kill()
    about = {"program": program.name, "pid": pid, "said": said}
    return {**about, "point": point, "reached": reached}


def answers_lost(site: Site, rng: random.Random) -> dict[str, Any]:
    """Writes to the store that are done, and whose callers are told that it is away."""
    share, for_s = rng.choice([0.05, 0.05, 0.3]), rng.uniform(1.0, 5.0)
    with orders(site, "lose-answers", str(share)):
        time.sleep(for_s)
    return {"share": share, "for_s": for_s}


def clock_jump(site: Site, rng: random.Random) -> dict[str, Any]:
    """Wall clocks go wrong by an hour or a month, in some programs, and then right again."""
    off_s, for_s = rng.choice([3600, 30 * 86400]) * rng.choice([-1, 1]), rng.uniform(1.0, 5.0)
    clocks = rng.sample(site.clocks, rng.randint(1, len(site.clocks)))
    for clock in clocks:
        _set_off(clock, off_s)
    time.sleep(for_s)
    for clock in clocks:
        _set_off(clock, 0)
    return {"off_s": off_s, "for_s": for_s, "programs": [clock.stem for clock in clocks]}


def worker_kill(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGKILL at a random moment."""
    return _end(rng.choice(site.workers), signal.SIGKILL)


def worker_stop(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGTERM: it drains."""
    return _end(rng.choice(site.workers), signal.SIGTERM)


def worker_freeze(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGSTOP until its lease has run out, then SIGCONT: it comes back with what it has lost."""
    return _freeze(rng.choice(site.workers), rng.uniform(1.2 * LEASE_S, 2 * LEASE_S))


def wire_cut(site: Site, rng: random.Random) -> dict[str, Any]:
    """Connections between workers and gateways break, several times."""
    for _ in range(rng.randrange(1, 5)):
        rng.choice(site.wires).cut()
        time.sleep(rng.uniform(0, 0.7))
    return {}


def wire_stall(site: Site, rng: random.Random) -> dict[str, Any]:
    """A worker is cut off for less or more than a lease, then all it said arrives."""
    for_s = rng.uniform(0.3, 2 * LEASE_S)
    with rng.choice(site.wires).stalled():
        time.sleep(for_s)
    return {"for_s": for_s}


def network_partition(site: Site, rng: random.Random) -> dict[str, Any]:
    """No packet gets through, for some workers or for all, for less or more than a lease."""
    assert site.network is not None
    ports = [wire.port for wire in rng.sample(site.wires, rng.randint(1, len(site.wires)))]
    whose = rng.choice([[], ports])
    for_s = rng.uniform(0.3, 2 * LEASE_S)
    with site.network.dropping(100, whose):
        time.sleep(for_s)
    return {"for_s": for_s, "wires": len(whose) or len(site.wires)}


def network_bad(site: Site, rng: random.Random) -> dict[str, Any]:
    """What workers and gateways send takes 200 ms longer, and of 20 packets one is lost."""
    assert site.network is not None
    for_s = rng.uniform(2.0, 8.0)
    with site.network.dropping(5):
        for wire in site.wires:
            wire.delay_s = 0.2
        time.sleep(for_s)
        for wire in site.wires:
            wire.delay_s = 0.0
    return {"for_s": for_s}


def version_change(site: Site, rng: random.Random) -> dict[str, Any]:
    """SIGTERM, and what comes up again is of the other version: forward or back."""
    assert site.older is not None
    program = rng.choice([rng.choice(site.gateways), rng.choice(site.workers)])
    back = program.code == ROOT
    program.code = site.older if back else ROOT
    return {**_end(program, signal.SIGTERM), "back": back}


def images_collected(site: Site, rng: random.Random) -> dict[str, Any]:
    """Images go at once that no job uses, and come again with other jobs in the same moment."""
    end = time.monotonic() + rng.uniform(1.0, 4.0)
    comers = [
        threading.Thread(target=_come_and_go, args=[site, random.Random(rng.random()), end])
        for _ in range(2)
    ]
    prunes = 0
    with orders(site, "no-grace"), _caller(site, rng) as client:
        for comer in comers:
            comer.start()
        while time.monotonic() < end:
            with contextlib.suppress(SvdfarmError):
                client.prune(timedelta(days=1))  # no job is so old
                prunes += 1
            time.sleep(rng.uniform(0, 0.1))
        for comer in comers:
            comer.join()
    return {"prunes": prunes}


def _come_and_go(site: Site, rng: random.Random, end: float) -> None:
    """Submits jobs with one image and deletes most, then with another, until `end` (monotonic)."""
    with _caller(site, rng) as client:
        while time.monotonic() < end:
            request = {
                "request_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                "name": "comes and goes",
                "priority": 0,
                "seeds": [rng.randrange(10**6, 10**9)],
                "steps": 1,
                "poison": 0,
                "image": f"{_FIRST_COMING + int(time.monotonic() / 2)}",
            }
            with contextlib.suppress(SvdfarmError):
                job = submit(client, site.history, request)
                if rng.random() < 0.8:
                    with site.history.call("cancel", job=job.name):
                        job.cancel()
                    with site.history.call("delete", job=job.name):
                        job.delete()


def postgres_restart(site: Site, rng: random.Random) -> dict[str, Any]:
    """pg_ctl stop -m immediate, as a crash, and a start."""
    assert site.postgres is not None
    site.postgres.stop("immediate")
    time.sleep(rng.choice([0, rng.uniform(0, 4)]))
    site.postgres.start()
    return {}


def postgres_cut(site: Site, rng: random.Random) -> dict[str, Any]:
    """The server ends some of the farm's connections."""
    assert site.postgres is not None
    for _ in range(rng.randrange(1, 8)):
        with contextlib.suppress(psycopg.OperationalError):  # it is away: of a pair of faults
            site.postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'svdfarm' ORDER BY random() LIMIT 2"
            )
        time.sleep(rng.uniform(0, 0.2))
    return {}


def s3_errors(site: Site, rng: random.Random) -> dict[str, Any]:
    """500 and 503 instead of answers, now and then or to everything."""
    assert site.s3_faults is not None
    kinds: list[int | None] = rng.choice([[500, 503], [500, 503, None, None]])
    for_s = rng.uniform(0.5, 8.0)
    with _bad_requests(site, rng):
        site.s3_faults.answers = [rng.choice(kinds) for _ in range(10_000)]
        time.sleep(for_s)
        site.s3_faults.answers = []
    return {"for_s": for_s}


def s3_lost_replies(site: Site, rng: random.Random) -> dict[str, Any]:
    """Requests that are done, and whose answers never come."""
    assert site.s3_faults is not None
    with _bad_requests(site, rng):
        site.s3_faults.lost_replies = rng.randrange(1, 30)
        time.sleep(rng.uniform(0.5, 3.0))
        site.s3_faults.lost_replies = 0
    return {}


def s3_slow(site: Site, rng: random.Random) -> dict[str, Any]:
    """Seconds for each answer."""
    assert site.s3_faults is not None
    with _bad_requests(site, rng):
        site.s3_faults.delay_s = rng.uniform(0.3, 3.0)
        time.sleep(rng.uniform(1.0, 5.0))
        site.s3_faults.delay_s = 0.0
    return {}


def disk_low(site: Site, rng: random.Random) -> dict[str, Any]:
    """Less is free than is kept back."""
    return _fill(site, rng, RESERVE_BYTES // 2)


def disk_full(site: Site, rng: random.Random) -> dict[str, Any]:
    """Hardly a byte is free."""
    return _fill(site, rng, rng.choice([0, 0, 40_000, 400_000]))


def _end(program: Program, number: signal.Signals) -> dict[str, Any]:
    process, said = program.process, program.said
    program.kill(number)
    eventually(lambda: program.process is not process, _STARTED_WITHIN_S)
    return {"program": program.name, "pid": process.pid, "said": said}


def _put(order: Path, text: str) -> None:
    """Writes a file that is there whole, or not at all."""
    half = order.with_suffix(".half")
    half.write_text(text, encoding="utf-8")
    half.rename(order)


@contextlib.contextmanager
def orders(site: Site, name: str, text: str = "") -> Iterator[None]:
    """What all gateways find within the block; see inside.py."""
    orders = [site.inside(gateway.name) / name for gateway in site.gateways]
    for order in orders:
        _put(order, text)
    try:
        yield
    finally:
        for order in orders:
            order.unlink(missing_ok=True)  # of a pair of faults, the other one was first


def _caller(site: Site, rng: random.Random) -> Client:
    return Client(rng.choice(site.addresses), connect_timeout_s=0, call_timeout_s=20)


def _set_off(clock: Path, off_s: int) -> None:
    with clock.open("r+b") as file:  # in place: the file is in its program's memory
        file.write(struct.pack("=q", off_s * 10**9))


def _freeze(program: Program, for_s: float) -> dict[str, Any]:
    said = program.said
    with program.frozen():
        time.sleep(for_s)
    return {"program": program.name, "said": said, "for_s": for_s}


@contextlib.contextmanager
def _bad_requests(site: Site, rng: random.Random) -> Iterator[None]:
    assert site.s3_faults is not None
    every = ("PUT", "GET", "HEAD", "DELETE", "POST")
    site.s3_faults.methods = rng.choice([every, every, ("PUT",), ("HEAD", "GET")])
    yield


def _fill(site: Site, rng: random.Random, leave_bytes: int) -> dict[str, Any]:
    ballast = site.data / f"ballast-{rng.random()}"
    for_s = rng.uniform(1.0, 5.0)
    try:
        with ballast.open("wb") as file:
            _grow(file.fileno(), site.data, leave_bytes)
            time.sleep(for_s)
    finally:
        ballast.unlink(missing_ok=True)
    return {"for_s": for_s, "left_bytes": leave_bytes}


def _grow(descriptor: int, folder: Path, leave_bytes: int) -> None:
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize - leave_bytes
    if free_bytes > 0:
        with contextlib.suppress(OSError):  # the farm was first
            os.posix_fallocate(descriptor, 0, free_bytes)
