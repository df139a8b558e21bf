"""A real gateway on a port of its own, in a thread, and workers with the fake renderer."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from farm.cluster.agent import Agent
from farm.gateway.config import Address, GatewayConfig
from farm.gateway.server import serving
from farm.render.errors import ParamsRejected
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered

# The gateway logs to this process's stdout, where tests of the command look for its output.
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


class FailingRenderer(FakeRenderer):
    """Finds every shot impossible."""

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        raise ParamsRejected("this worker renders nothing")


class RunningFarm:
    """Starts and stops a gateway over one data folder, always at the same address."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.token = token
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._agents: list[Agent] = []

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(30)

    def stop(self) -> None:
        if self._thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
            self._thread = None

    def add_worker(self, step_s: float = 0.0, *, fails: bool = False) -> None:
        agent = Agent(self.address, self.token, folder=self._folder)
        agent.start()
        agent.serve(FailingRenderer() if fails else FakeRenderer(step_s=step_s))
        self._agents.append(agent)

    def close(self) -> None:
        for agent in self._agents:
            agent.stop()
        self.stop()

    async def _serve(self, ready: threading.Event) -> None:
        config = GatewayConfig(
            address=Address.parse(self.address),
            http=Address("127.0.0.1", 0),
            data=self._folder / "data",
            token=self.token,
            stop_grace_s=0.2,
        )
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(config):
            ready.set()
            await self._stop.wait()


@contextmanager
def running_farm(folder: Path, token: str | None = None) -> Iterator[RunningFarm]:
    farm = RunningFarm(folder, token)
    farm.start()
    try:
        yield farm
    finally:
        farm.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
