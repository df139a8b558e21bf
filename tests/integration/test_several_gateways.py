"""Two gateways on one PostgreSQL, as processes, behind one address; one of them is killed.

The address is a load balancer's, or one that stands for both: what a name with two addresses is
to gRPC. Only the workers' GPUs are fake.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from svdfarm import Client, Job, JobState, NewShot, RenderParams, Shot, ShotState
from tests.chaos.wire import Wire
from tests.postgres import PostgresServer
from tests.running import IMAGES, eventually, free_port, running_worker

SHOTS, STEPS, STEP_S = 24, 20, 0.03
ORDER = (ShotState.QUEUED, ShotState.RENDERING, ShotState.SUCCEEDED)


@dataclass
class GatewayProcess:
    """`farm gateway`."""

    address: str
    http: str
    process: subprocess.Popen[str]

    def metric(self, name: str) -> dict[str, float]:
        """A metric's values, by their `worker` where they have one."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=10) as response:
            families = text_string_to_metric_families(response.read().decode())
        samples = [sample for family in families for sample in family.samples]
        return {s.labels.get("worker", ""): s.value for s in samples if s.name == name}


@contextmanager
def gateway_process(folder: Path, database: str) -> Iterator[GatewayProcess]:
    address, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = ["-m", "farm", "gateway", "--address", address, "--http", http]
    process = subprocess.Popen(
        [sys.executable, *command, "--data", str(folder), "--stop-on-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FARM_DATABASE": database},
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"ready {address}\n"
            yield GatewayProcess(address, http, process)
        finally:
            process.kill()


@contextmanager
def balancer(gateways: list[GatewayProcess]) -> Iterator[str]:
    """Leads each connection to a gateway that lives."""

    def alive() -> list[str]:
        return [gateway.address for gateway in gateways if gateway.process.poll() is None]

    wire = Wire(alive, "several gateways")
    try:
        yield wire.address
    finally:
        wire.close()


@contextmanager
def several_addresses(gateways: list[GatewayProcess]) -> Iterator[str]:
    yield "ipv4:" + ",".join(gateway.address for gateway in gateways)


@pytest.mark.parametrize("one_address", [balancer, several_addresses])
def test_a_watch_and_workers_move_when_their_gateway_is_killed(
    one_address: Callable[[list[GatewayProcess]], ExitStack],
    postgres: PostgresServer,
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.database()).render_as_string(hide_password=False)
        gateways = [stack.enter_context(gateway_process(tmp_path / "data", url)) for _ in range(2)]
        address = stack.enter_context(one_address(gateways))

        def workers_of(gateway: GatewayProcess) -> int:
            return len(gateway.metric("svdfarm_worker_busy_seconds_total"))

        for count in range(1, 17):  # until each gateway has some, as each dials whichever
            stack.enter_context(running_worker(address, tmp_path, step_s=STEP_S))
            eventually(lambda count=count: sum(map(workers_of, gateways)) == count)
            if min(map(workers_of, gateways)) >= 2:
                break
        assert min(map(workers_of, gateways)) >= 2

        client = stack.enter_context(Client(address, connect_timeout_s=20))
        params = RenderParams(model="tiny", step_count=STEPS)
        shots = [NewShot(IMAGES / "rocket.jpg", params, name=f"s{n}") for n in range(SHOTS)]
        job = client.submit(shots, use_cache=False)
        seen: list[tuple[float, Job | Shot]] = []
        watching = threading.Thread(
            target=lambda: seen.extend((time.monotonic(), event) for event in job.watch(100))
        )
        watching.start()
        eventually(lambda: sum(ended(event) for _, event in seen) >= SHOTS // 4)
        holds_it = next(g for g in gateways if g.metric("svdfarm_watchers")[""])
        lost = workers_of(holds_it)
        killed_at = time.monotonic()
        holds_it.process.kill()
        holds_it.process.wait()
        watching.join(90)
        assert not watching.is_alive()

        goes_on_s = next(at for at, _ in seen if at > killed_at) - killed_at
        told = [event for _, event in seen]
        final = told[-1]
        assert isinstance(final, Job)
        assert (final.state, final.succeeded_shot_count) == (JobState.SUCCEEDED, SHOTS)
        of_shot: dict[str, list[Shot]] = {}
        for event in told:
            if isinstance(event, Shot):
                of_shot.setdefault(event.name, []).append(event)
        assert len(of_shot) == SHOTS
        for events in of_shot.values():
            states = [ORDER.index(event.state) for event in events]
            assert states == sorted(states)  # never back
            assert sum(map(ended, events)) == 1
            assert all(one != other for one, other in pairwise(events))
        assert {shot.attempt_count for shot in job.shots()} == {1}  # workers kept their shots
        assert [a.outcome for a in job.attempts()] == ["SUCCEEDED"] * SHOTS
        assert goes_on_s < 5
        (left,) = (gateway for gateway in gateways if gateway is not holds_it)
        assert lost >= 2
        eventually(lambda: workers_of(left) == count)
        print(f"{lost} of {count} workers and the watch moved, after {goes_on_s:.2f} s")


def ended(event: Job | Shot) -> bool:
    return isinstance(event, Shot) and event.state is ShotState.SUCCEEDED
