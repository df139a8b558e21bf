"""A gateway in a process of its own, whose memory and life can be looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.chaos.processes import Program

GROWTH_LIMIT_BYTES = 50 * 2**20


@dataclass(frozen=True)
class RealGateway:
    address: str
    http: str
    process: psutil.Process

    def memory_bytes(self) -> int:
        """What it has now, without what it has started."""
        return int(self.process.memory_info().rss)

    @contextmanager
    def growing_little(self) -> Iterator[None]:
        """Fails where it has much more memory at the end of the with block, or has ended."""
        before = self.memory_bytes()
        yield
        assert self.process.status() != psutil.STATUS_ZOMBIE
        grown = self.memory_bytes() - before
        assert grown < GROWTH_LIMIT_BYTES, f"{grown / 2**20:.0f} MiB more"


@contextmanager
def real_gateway(folder: Path) -> Iterator[RealGateway]:
    """One that serves; its log is gateway.log in `folder`."""
    options = ["--address", "127.0.0.1:0", "--data", str(folder / "data")]
    options += ["--lease-s", "30", "--reserve-bytes", "0"]
    log = folder / "gateway.log"
    program = Program("gateway", [sys.executable, "-m", "tests.chaos.gateway", *options], log)
    try:
        assert program.ready.wait(60), log.read_text()
        ready = next(line for line in log.read_text().splitlines() if "gateway.ready" in line)
        yield RealGateway(
            program.said, json.loads(ready)["http"], psutil.Process(program.process.pid)
        )
    finally:
        program.end()
        for pipe in (program.process.stdin, program.process.stdout):
            if pipe is not None:
                pipe.close()
