"""A power cut, at any moment, takes nothing that was promised: a few of `make chaos`'s."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_power_cut_takes_nothing_that_was_promised(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.chaos.power",
            "--cuts=50",
            "--seconds=4",
            f"--out={tmp_path}",
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
