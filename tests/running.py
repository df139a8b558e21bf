"""Real parts of the farm, started for tests: a gateway in a thread, workers with a fake GPU."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from farm.cluster.agent import Agent
from farm.gateway.config import Address, GatewayConfig
from farm.gateway.server import Gateway, serving
from farm.jobs.params import TINY, ModelInfo
from farm.render.fake import FakeRenderer
from farm.render.renderer import Renderer
from svdfarm.tls import Tls

LOOPBACK = Address("127.0.0.1", 0)
IMAGES = Path(__file__).parent.parent / "examples" / "images"


def eventually(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Waits until `condition` holds; fails the test when it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {condition}"
        threading.Event().wait(0.01)


@contextmanager
def running_gateway(
    data: Path,
    *,
    address: Address = LOOPBACK,
    http: Address = LOOPBACK,
    lease_s: float = 30.0,
    **settings: object,
) -> Iterator[Gateway]:
    """A gateway on a thread of its own."""
    config = GatewayConfig(
        address=address,
        http=http,
        data=data,
        lease_s=lease_s,
        heartbeat_s=lease_s / 6,
        stop_grace_s=1.0,
        **settings,  # type: ignore[arg-type]
    )
    started: list[Gateway] = []
    failed: list[BaseException] = []
    up = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(config) as gateway:
            started.append(gateway)
            up.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 - shown to the test's own thread
            failed.append(error)
            up.set()

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    assert up.wait(30)
    if failed:
        thread.join()
        loop.close()
        raise failed[0]
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
        if failed:
            raise failed[0]


@contextmanager
def running_worker(
    gateway: str,
    folder: Path,
    *,
    model: ModelInfo = TINY,
    step_s: float = 0.0,
    renderer: Renderer | None = None,
    token: str | None = None,
    fault: str = "",
    group: str = "",
    tls: Tls | None = None,
) -> Iterator[Agent]:
    """A worker whose GPU is fake, and all else real."""
    agent = Agent(gateway, token, folder=folder, version="test", group=group, tls=tls)
    agent.start()
    agent.serve(renderer or FakeRenderer(model, step_s), fault)
    try:
        yield agent
    finally:
        agent.stop()


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
