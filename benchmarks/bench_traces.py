"""What it costs a gateway to be watched: bench_dispatch without anything, with a Prometheus that
asks every second, and with traces, in turns.

    python benchmarks/bench_traces.py --out benchmarks/results/traces.json

`traced` is one job, of which the first hundred shots are traced; `all_traced` has jobs of a hundred
shots, so that each shot is. Spans go to a collector in a process of its own, which only counts
them. The rounds are told one by one: on a machine with other work the gateway's processor time says
more than the shots a second.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_dispatch
import rig

from tests.running import free_port

_COLLECTOR = """
import signal, sys
from tests.otlp import grpc_collector
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with grpc_collector() as (collector, endpoint):
    print(endpoint, flush=True)
    signal.sigwait({signal.SIGTERM})
    print(len(collector.spans), flush=True)
"""
MODES = ("off", "scraped", "traced", "all_traced")
TRACED = ("traced", "all_traced")


def main() -> int:
    """Returns the exit code."""
    parser = rig.parser(__doc__)
    parser.add_argument("--shots", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    cpu_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    shots_per_s: dict[str, list[float]] = {mode: [] for mode in MODES}
    spans: dict[str, int] = {}
    for number in range(options.rounds):
        for mode in MODES[number % 4 :] + MODES[: number % 4]:  # none always follows the same
            figures, spans[mode] = _run(mode, options)
            cpu_ms[mode].append(figures["gateway_cpu_ms_per_shot"])
            shots_per_s[mode].append(figures["shots_per_s"])
            print(number, mode, figures["gateway_cpu_ms_per_shot"], file=sys.stderr, flush=True)
        _publish(options, load, cpu_ms, shots_per_s, spans)  # a run that is stopped has told those
    return 0


def _publish(
    options: Any,
    load: float,
    cpu_ms: dict[str, list[float]],
    shots_per_s: dict[str, list[float]],
    spans: dict[str, int],
) -> None:
    told: dict[str, Any] = {"shots": options.shots}
    for mode in MODES:
        told[mode] = {
            "gateway_cpu_ms_per_shot": cpu_ms[mode],
            "shots_per_s": shots_per_s[mode],
            "spans": spans[mode],
        }
        if mode != "off":
            more = statistics.median(cpu_ms[mode]) / statistics.median(cpu_ms["off"]) - 1
            told[mode]["more_cpu_percent"] = round(more * 100, 1)
    rig.publish(options, load, told)


def _run(mode: str, options: Any) -> tuple[dict[str, float], int]:
    each = 100 if mode == "all_traced" else options.shots
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        collector = stack.enter_context(_collector()) if mode in TRACED else None
        folder, http = Path(made), f"127.0.0.1:{free_port()}"
        with rig.gateway(folder / "data", options.database, http) as gateway:
            if mode == "scraped":
                stack.enter_context(_scraping(http))
            figures = bench_dispatch.measure(gateway, folder, options.shots, options.workers, each)
        if collector is None:
            return figures, 0
        collector.terminate()
        assert collector.stdout is not None
        return figures, int(collector.stdout.readline())


@contextlib.contextmanager
def _collector() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _COLLECTOR]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = process.stdout.readline().strip()
    try:
        yield process
    finally:
        del os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
        rig.end(process)


@contextlib.contextmanager
def _scraping(http: str) -> Iterator[None]:
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(1.0):
            with urllib.request.urlopen(f"http://{http}/metrics", timeout=30) as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
