"""Says which build of torch pip finds on this machine, by its lock file: `cpu` or `cuda`.

PyPI's are CUDA's on Linux, and the only ones elsewhere; an index of CPU builds gives versions such
as 2.13.0+cpu.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def version() -> str:
    """The version that server.in pins."""
    lines = (HERE / "server.in").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith("torch=="))


def build() -> str:
    """`cpu` or `cuda`."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    ask = [*pip, "--no-deps", "--report", "-", f"torch=={version()}"]
    report = json.loads(subprocess.run(ask, check=True, stdout=subprocess.PIPE).stdout)
    found = report["install"][0]["metadata"]["version"]
    return "cpu" if found.endswith("+cpu") else "cuda"


if __name__ == "__main__":
    print(build())  # noqa: T201 - make reads it
