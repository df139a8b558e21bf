"""What the farm's benchmarks share: a gateway and workers as processes, and what they cost."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

IMAGE = Path(__file__).parent.parent / "examples" / "images" / "rocket.jpg"


class Gateway:
    """A `farm gateway` in a process of its own; started again, it keeps its port."""

    def __init__(self, data: Path, database: str | None = None, http: str = "127.0.0.1:0") -> None:
        self.address = "127.0.0.1:0"
        self._log = data.parent / "gateway.log"
        self._options = ["--http", http, "--data", str(data)]
        if database:
            self._options += ["--database", database]
        self.start()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [sys.executable, "-m", "farm", "gateway", "--address", self.address]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, *self._options], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        word, _, address = self.process.stdout.readline().strip().partition(" ")
        assert word == "ready", self._log.read_text()
        self.address = address

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it with a signal."""
        end(self.process, number)

    def cpu_s(self) -> float:
        """Seconds of processor time so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, field: str = "VmHWM") -> int:
        """Its memory: the peak, or with VmRSS what it has now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) // 1024
        raise AssertionError(field)


@contextlib.contextmanager
def gateway(
    data: Path, database: str | None = None, http: str = "127.0.0.1:0"
) -> Iterator[Gateway]:
    """A gateway for the length of a with block."""
    running = Gateway(data, database, http)
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def worker(address: str, step_s: float) -> Iterator[subprocess.Popen[str]]:
    """A worker as a process: all of it real but the GPU, which takes `step_s` a step."""
    command = [sys.executable, __file__, address, str(step_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> None:
    """Sends a signal to a process, if it still runs, and waits for its end."""
    if process.poll() is None:
        process.send_signal(number)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def spread(name: str, values: Sequence[float], unit: str = "s") -> dict[str, float]:
    """The middle and the worst of some measurements, as figures."""
    return {
        f"{name}_p50_{unit}": round(statistics.median(values), 3),
        f"{name}_max_{unit}": round(max(values), 3),
    }


def parser(about: str | None) -> argparse.ArgumentParser:
    """With the options that all benchmarks have."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--database", help="a PostgreSQL URL; default: SQLite in a new folder")
    made.add_argument("--out", type=Path, help="where the figures go, as JSON")
    return made


def publish(options: argparse.Namespace, load: float, figures: dict[str, Any]) -> None:
    """Prints the figures, and the machine they are of; writes them to --out."""
    machine = {
        "database": "postgresql" if options.database else "sqlite, synchronous=FULL",
        "cores": os.cpu_count(),
        "load_average_before": round(load, 1),  # what else ran: 0 is a machine of one's own
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    text = json.dumps(figures | machine, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")


def _be_a_worker(address: str, step_s: float) -> None:
    import tempfile

    from farm.cluster.agent import Agent
    from farm.render.fake import FakeRenderer

    with tempfile.TemporaryDirectory(prefix="bench-worker-") as folder:
        agent = Agent(address, None, folder=Path(folder), version="bench")
        agent.start()
        agent.serve(FakeRenderer(step_s=step_s))
        print("serving", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        agent.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _be_a_worker(sys.argv[1], float(sys.argv[2]))
