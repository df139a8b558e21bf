"""Writes the lock files: every package that pip's own resolver picks, by exact version.

A local version such as 2.13.0+cpu loses its suffix, so that the same line takes the build that
fits the machine. torch's CUDA packages are not listed: its CUDA build pins them itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LOCKS = {
    "server.txt": ["server.in"],
    "gateway.txt": ["gateway.in"],
    "fuzz.txt": ["fuzz.in"],
    "dev.txt": ["server.in", "dev.in"],
    "nano.txt": ["server.in", "nano.in"],
    "proto.txt": ["proto.in"],
    "deploy.txt": ["deploy.in"],
}


def resolve(sources: list[str]) -> list[str]:
    """`name==version` of everything that the requirements in `sources` need."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        wanted = [word for source in sources for word in ("--requirement", str(HERE / source))]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        ask = [*pip, "--ignore-installed", "--report", str(report), *wanted]
        subprocess.run(ask, check=True, cwd=HERE.parent)
        found = json.loads(report.read_text())["install"]
    pins = {}
    for package in found:
        name = re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()
        pins[name] = package["metadata"]["version"].partition("+")[0]
    pins.pop("svdfarm", None)
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def main() -> None:
    """Writes every lock file."""
    for lock, sources in LOCKS.items():
        header = f"# Made by `make lock` from {' and '.join(sources)}. Do not edit.\n"
        (HERE / lock).write_text(header + "\n".join(resolve(sources)) + "\n")


if __name__ == "__main__":
    main()
