"""The whole path on this machine: starts a farm, submits jobs.yaml, saves the videos, stops.

Run it with `make demo`. By hand it is `farm up` in one terminal and
`farm submit examples/jobs.yaml --out out` in another.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# What every machine has, with or without a GPU and a token for Stability's weights.
MODEL = os.environ.get("MODEL", "nano")
FARM = [sys.executable, "-m", "farm"]


def main() -> int:
    """Returns the exit code of `farm submit`."""
    with tempfile.TemporaryDirectory(prefix="farm-demo-") as data:
        print("starting a farm (about 20 s) ...", flush=True)
        # Port 0: whatever else runs on this machine, there is a free one.
        anywhere = ["--address", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", data]
        up = [*FARM, "up", *anywhere, "--model", MODEL]
        farm = subprocess.Popen(up, stdout=subprocess.PIPE, text=True)
        assert farm.stdout is not None
        try:
            word, _, address = farm.stdout.readline().strip().partition(" ")
            if word != "ready":
                return farm.wait() or 1
            jobs = HERE / "jobs.yaml"
            submit = [*FARM, "--address", address, "submit", str(jobs), "--out", "out"]
            code = subprocess.run([*submit, "--overwrite"]).returncode
        finally:
            farm.terminate()
            farm.wait()
            farm.stdout.close()
    print(f"the videos are in {Path('out').resolve()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
