"""The bugs that `make planted` plants still have their places in the code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PATCHES = sorted((Path(__file__).parent / "planted").glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_bug_can_be_planted(patch: Path) -> None:
    tried = subprocess.run(
        ["git", "apply", "--check", str(patch)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 0, tried.stderr
