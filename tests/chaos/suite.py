"""The whole suite, in parts that can be gone on with: `quick` in minutes, `full` in hours.

    python -m tests.chaos.suite quick
    python -m tests.chaos.suite full --table docs/chaos.md

Each part's table stays in build/chaos-suite/KIND/; a part that has one is not run again, unless
`--again` says so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import farm
from tests.chaos.versions import OLDER, current, why_no_history

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Part:
    """A run of a module with these arguments."""

    name: str
    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """Which run it is, and when."""
        set_to = (f"{name}={value}" for name, value in self.environment.items())
        return {
            "name": self.name,
            "command": " ".join([*set_to, "python", "-m", self.module, *self.arguments]),
            "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        }


def _farm(name: str, counts: Mapping[str, int], *arguments: str, seed: int = 1) -> Part:
    wanted = [f"--count={fault}:{count}" for fault, count in counts.items()]
    return Part(name, "tests.chaos", (f"--seed={seed}", *arguments, *wanted))


_OLDER = f"--older={OLDER}"
_POSTGRES = ("--database=postgres", "--artifacts=s3")
_QUICK = [
    _farm(
        "sqlite",
        {"gateway_kill": 4, "gateway_dies_at": 3, "worker_kill": 3, "worker_freeze": 2}
        | {"disk_full": 3, "answers_lost": 1, "clock_jump": 1}
        | {"network_partition": 1, "images_collected": 1},
    ),
    _farm(
        "postgres and s3",
        {"gateway_kill": 3, "gateway_dies_at": 2, "worker_kill": 3, "worker_freeze": 1}
        | {"postgres_restart": 2, "s3_lost_replies": 1, "wire_stall": 1, "network_bad": 1},
        *_POSTGRES,
    ),
    _farm("two versions", {"version_change": 6}, "--database=postgres", _OLDER),
    Part("power cuts", "tests.chaos.power", ("--cuts=50", "--seconds=4")),
    Part("ray's nodes", "tests.chaos.nodes", ("--nodes=1", "--heads=0")),
]
# A third of each count on SQLite, on PostgreSQL, and with direct uploads; other seeds each.
_EACH = {
    "gateway_kill": 20,
    "gateway_dies_at": 14,
    "gateway_stop": 4,
    "gateway_freeze": 4,
    "worker_kill": 17,
    "worker_stop": 4,
    "worker_freeze": 7,
    "wire_cut": 6,
    "wire_stall": 6,
    "disk_low": 3,
    "disk_full": 7,
    "answers_lost": 8,
    "clock_jump": 4,
}
_OF_POSTGRES = {"postgres_restart": 10, "postgres_cut": 5, "s3_errors": 5, "s3_lost_replies": 5}
_OF_NETWORK = {
    "network_partition": 12,
    "network_bad": 10,
    "images_collected": 8,
    "gateway_kill": 6,
    "gateway_dies_at": 4,
    "worker_kill": 4,
}
_OF_VERSIONS = {
    "version_change": 20,
    "gateway_kill": 6,
    "gateway_dies_at": 4,
    "worker_kill": 4,
    "worker_freeze": 2,
    "images_collected": 4,
    "network_partition": 4,
}
_ONE = ("--seconds=0", "--fault=wire_cut")
_FULL = [
    _farm("sqlite", _EACH, seed=11),
    _farm("postgres and s3", _EACH | _OF_POSTGRES, *_POSTGRES, seed=12),
    _farm("direct uploads", _EACH | _OF_POSTGRES, *_POSTGRES, "--direct-upload", seed=13),
    _farm("a bad network", _OF_NETWORK, *_POSTGRES, "--direct-upload", seed=14),
    _farm("two versions", _OF_VERSIONS, *_POSTGRES, _OLDER, seed=15),
    _farm("two versions on sqlite", _OF_VERSIONS, _OLDER, seed=16),
    _farm("5,000 jobs and lost answers", {}, "--lose-answers=0.05", "--jobs=5000", *_ONE, seed=17),
    Part("power cuts", "tests.chaos.power", ("--cuts=1000", "--seconds=10", "--seed=11")),
    Part("ray's nodes", "tests.chaos.nodes", ("--nodes=6", "--heads=2", "--seed=11")),
    Part(
        "the model of the rules",
        "pytest",
        ("-q", "--timeout=3600", "tests/unit/store/test_model.py"),
        {"FARM_MODEL_EXAMPLES": "2000"},
    ),
]
_SUMMED = (
    "faults injected",
    "pairs of them at once",
    "gateways dead at a named point",
    "jobs acknowledged",
    "of them lost",
    "calls with an unknown outcome",
    "shots",
    "with other than one ending",
    "torn, lost or orphan artifacts",
    "second jobs for one key",
    "shots with attempts out of bounds",
    "stale finishes refused",
)
KINDS = {"quick": _QUICK, "full": _FULL}


def main() -> int:
    """Returns the exit code: 1 where a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--again", action="store_true", help="also parts that have a table")
    parser.add_argument("--only", action="append", help="parts by name")
    parser.add_argument("--table", type=Path, help="where the tables of all parts are written to")
    options = parser.parse_args()
    folder = _ROOT / "build" / "chaos-suite" / options.kind
    folder.mkdir(parents=True, exist_ok=True)
    parts = [part for part in KINDS[options.kind] if part.name in (options.only or [part.name])]
    done = [_done(part, folder, again=options.again) for part in parts]
    if options.table is not None:
        options.table.write_text(_page(done), encoding="utf-8")
    kept = [part["name"] for part in done if part["code"] == 0]
    print(f"{len(kept)} of {len(done)} parts kept every promise")
    return 0 if len(kept) == len(done) else 1


def _done(part: Part, folder: Path, *, again: bool) -> dict[str, Any]:
    """What a part said, now or before."""
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', part.name)}.json"
    if path.exists() and not again:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        print(f"{part.name}: was run {found['date']}", flush=True)
        return found
    if _OLDER in part.arguments and (why := why_no_history()):
        told = f"not staged here: {why}"
        print(f"{part.name}: {told}\n", flush=True)
        return {**part.told, "commit": current(), "took_s": 0, "code": 0, "table": told}
    print(f"{part.name}: runs", flush=True)
    started = time.monotonic()
    out = [] if part.module == "pytest" else [f"--out={path.with_suffix('.out')}"]
    run = subprocess.run(
        [sys.executable, "-m", part.module, *out, *part.arguments],
        cwd=_ROOT,
        env={**os.environ, **part.environment},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    told = re.sub(r"^\d{4}-\d\d-\d\d .*\n", "", run.stdout, flags=re.MULTILINE).strip()
    print(told, f"\n{part.name}: {time.monotonic() - started:.0f} s, code {run.returncode}\n")
    found = {
        **part.told,
        "commit": current(),
        "took_s": round(time.monotonic() - started),
        "code": run.returncode,
        "table": told,
    }
    if run.returncode == 0:
        path.write_text(json.dumps(found), encoding="utf-8")
    return found


def _page(done: list[dict[str, Any]]) -> str:
    """All tables, and what they come to, for people."""
    lines = [
        "# Faults that the farm was broken with",
        "",
        "Made by `make chaos`.",
        f"svdfarm {farm.__version__}, Python {platform.python_version()}, {platform.system()}.",
        *_sums([part["table"] for part in done]),
    ]
    for part in done:
        when = f"{part['date']}, commit {part['commit']}, {part['took_s'] / 60:.0f} min"
        about = f"`{part['command']}`, {when}"
        lines += [
            "",
            f"## {part['name'].capitalize()}",
            "",
            about,
            "",
            "```text",
            part["table"],
            "```",
        ]
    return "\n".join(lines) + "\n"


def _sums(tables: list[str]) -> list[str]:
    """Of the farms under load."""
    figures, times, slowest_s = Counter[str](), Counter[str](), defaultdict[str, float](float)
    for table in tables:
        for name, n in re.findall(r"^(.+?) {2,}(\d+)$", table, re.MULTILINE):
            figures[name.strip()] += int(n)
        for name, n, last in re.findall(r"^(\w+) +(\d+) .* ([\d.]+|-)$", table, re.MULTILINE):
            times[name] += int(n)
            slowest_s[name] = max(slowest_s[name], 0.0 if last == "-" else float(last))
    lines = ["", "## All farms under load", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {figures[name]:,} |" for name in _SUMMED]
    lines += ["", "| fault | times | slowest recovery, s |", "|---|---|---|"]
    return lines + [f"| {name} | {n} | {slowest_s[name]:g} |" for name, n in sorted(times.items())]


if __name__ == "__main__":
    sys.exit(main())
