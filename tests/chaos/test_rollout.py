"""A rollout of the gateways costs no shot a try and no client its job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_rollout_of_the_gateways_costs_nothing(tmp_path: Path) -> None:
    # A process of its own, as it starts others while gRPC's threads run.
    run = subprocess.run(
        [sys.executable, "-m", "tests.chaos.rollout", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
