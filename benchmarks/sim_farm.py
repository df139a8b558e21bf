"""A farm of up to 5,000 GPUs: what shots cost a real gateway, and what follows for many workers.

    python -m benchmarks.sim_farm load --out benchmarks/results/sim-load.json
    python -m benchmarks.sim_farm store --out benchmarks/results/sim-store.json
    python -m benchmarks.sim_farm virtual --out benchmarks/results/sim-virtual.json
    python -m benchmarks.sim_farm plots

`load` has simulated workers hold real sessions with a real gateway, and measures processor seconds.
`store` measures the store's work by how many changes share a transaction. `virtual` runs the real
dispatcher in virtual time with those costs. docs/SCALING.md says what is measured and what assumed.
Files keep what a run does not measure. The database is a PostgreSQL of its own, with fsync, unless
--database names another one on this machine, or --sqlite.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import structlog

from benchmarks.farm_sim import load, store_costs, sweep
from benchmarks.farm_sim.workers import Load
from tests.postgres import running_postgres

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parent.parent / "docs" / "images"


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("load", "store", "virtual", "plots"))
    parser.add_argument("--database", help="a PostgreSQL URL on this machine")
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--workers", type=int, default=1500)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--clip-s", type=float, default=30.0)
    parser.add_argument("--shots", type=int, default=10_000, help="that are queued")
    parser.add_argument("--warm-s", type=float, default=30.0)
    parser.add_argument("--window-s", type=float, default=30.0)
    parser.add_argument("--label", default="now", help="what the figures are of: now, or before")
    parser.add_argument("--only", help="of `virtual`: names of its runs, with ; between")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    average = os.getloadavg()[0]
    match options.part:
        case "load":
            with _database(options) as url:
                figures = load.measure(
                    Load(options.workers, options.connections, options.clip_s),
                    url,
                    shots=options.shots,
                    warm_s=options.warm_s,
                    window_s=options.window_s,
                )
                name = f"{options.label}, {_kind(url)}, {options.workers} workers"
                _publish(options, name, figures | _machine(url, average))
        case "store":
            with _database(options) as url:
                figures = store_costs.measure(url, shots=options.shots, rounds_s=options.window_s)
                name = f"{options.label}, {_kind(url)}, {options.shots} shots"
                _publish(options, name, figures | _machine(url, average))
        case "virtual":
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
            for name, run in sweep.runs(RESULTS):
                if options.only is None or name in options.only.split(";"):
                    _publish(options, name, run() | _machine(None, average))
        case "plots":
            from benchmarks.farm_sim import plots  # matplotlib is no dependency of the farm's

            plots.draw(RESULTS, IMAGES)
    return 0


@contextlib.contextmanager
def _database(options: argparse.Namespace) -> Iterator[str | None]:
    if options.sqlite:
        yield None
    elif options.database:
        yield options.database
    else:
        with running_postgres(durable=True) as server, server.database() as url:
            yield url.render_as_string(hide_password=False)


def _kind(url: str | None) -> str:
    return "postgresql" if url else "sqlite"


def _machine(url: str | None, average: float) -> dict[str, Any]:
    """What ran, and on what."""
    versions = {
        name: importlib.metadata.version(name) for name in ("grpcio", "sqlalchemy", "psycopg")
    }
    if url:
        with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as conn:
            row = conn.execute("SHOW server_version").fetchone()
        assert row is not None
        versions["postgresql"] = row[0]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "command": " ".join(["python -m benchmarks.sim_farm", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "versions": versions,
        "cores": os.cpu_count(),
        "load_average_before": round(average, 1),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _publish(options: argparse.Namespace, name: str, figures: dict[str, Any]) -> None:
    """Prints figures, and puts them into --out beside those of other names."""
    print(json.dumps({name: figures}, indent=2), flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        told = json.loads(options.out.read_text()) if options.out.exists() else {}
        told[name] = figures
        options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
