"""A real gateway on a port of its own, in a thread, and workers with the fake renderer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import structlog

from farm.gateway.config import Address
from farm.render.errors import ParamsRejected
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from tests.running import free_port, running_gateway, running_worker

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
        self.folder = folder
        self._gateway = ExitStack()
        self._workers = ExitStack()

    def start(self) -> None:
        address = Address.parse(self.address)
        gateway = running_gateway(self.folder / "data", address=address, token=self.token)
        self._gateway.enter_context(gateway)

    def stop(self) -> None:
        self._gateway.close()

    def add_worker(self, step_s: float = 0.0, *, fails: bool = False) -> None:
        renderer = FailingRenderer() if fails else FakeRenderer(step_s=step_s)
        worker = running_worker(self.address, self.folder, renderer=renderer, token=self.token)
        self._workers.enter_context(worker)

    def close(self) -> None:
        self._workers.close()
        self.stop()


@contextmanager
def running_farm(folder: Path, token: str | None = None) -> Iterator[RunningFarm]:
    farm = RunningFarm(folder, token)
    farm.start()
    try:
        yield farm
    finally:
        farm.close()
