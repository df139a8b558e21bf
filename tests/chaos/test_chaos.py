"""A farm that is broken again and again keeps its promises: a short run of `make chaos`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("database", "artifacts"), [("sqlite", "folder"), ("postgres", "s3")])
def test_nothing_is_lost(database: str, artifacts: str, tmp_path: Path) -> None:
    options = [f"--database={database}", f"--artifacts={artifacts}", f"--out={tmp_path}"]
    # A process of its own, as it starts others while gRPC's threads run.
    run = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--seed=1", "--seconds=8", *options],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
