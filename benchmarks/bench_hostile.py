"""How much longer an honest client waits while a gateway is attacked: its p99, and when quiet.

    python -m benchmarks.bench_hostile --out benchmarks/results/hostile.json

The gateway is a process of its own; one client asks for a list of jobs, call after call, alone and
during each attack of tests/hostile/connections.py. Attackers and client share the cores with the
gateway: on another machine than theirs it would have more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc as pb_grpc
from tests.hostile.connections import ATTACKS, attacked
from tests.hostile.gateway import real_gateway


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    figures: dict[str, Any] = {}
    for name in ("quiet", *ATTACKS):
        with tempfile.TemporaryDirectory() as folder, real_gateway(Path(folder)) as gateway:
            before = gateway.memory_bytes()
            with (
                nullcontext() if name == "quiet" else attacked(name, gateway.address, gateway.http),
                grpc.insecure_channel(gateway.address) as channel,
            ):
                p50_ms, p99_ms = _ask(channel, options.calls)
                more = gateway.memory_bytes() - before
        quiet = figures.get("quiet", {"p99_ms": p99_ms})
        figures[name] = {
            "p50_ms": round(p50_ms, 2),
            "p99_ms": round(p99_ms, 2),
            "p99_of_quiet": round(p99_ms / quiet["p99_ms"], 2),
            "more_memory_mib": round(more / 2**20),
        }
        print(name, figures[name], flush=True)
    figures |= {
        "calls": options.calls,
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": round(load, 1),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _ask(channel: grpc.Channel, count: int) -> tuple[float, float]:
    """Milliseconds that half, and 99 in 100, of the calls take."""
    farm = pb_grpc.RenderServiceStub(channel)
    farm.ListJobs(pb.ListJobsRequest(), timeout=10)
    took_ms = []
    for _ in range(count):
        started = time.perf_counter()
        farm.ListJobs(pb.ListJobsRequest(), timeout=10)
        took_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98]


if __name__ == "__main__":
    sys.exit(main())
