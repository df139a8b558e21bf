"""Commits of this repository: what is tried, and the earlier farm of a rollout."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The last commit without tokens and tenants, two migrations ago. Once there are releases, the
# newest's tag belongs here.
OLDER = "ff76c0b59b"


def check_out(commit: str, folder: Path) -> Path:
    """Makes a tree with that commit's farm and this one's tests; fails where there is no such.

    The programs that faults are staged with are this version's, on the earlier one's farm.
    """
    git = ["git", "-C", str(ROOT), "archive", "--format=tar", commit, "farm", "client", "examples"]
    try:
        found = subprocess.run(git, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode().strip() or error
        raise SystemExit(f"a rollout needs the history of this repository: {said}") from None
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as tree:
        tree.extractall(folder, filter="data")
    ignore = shutil.ignore_patterns("__pycache__", "planted")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignore)
    return folder


def why_no_history() -> str:
    """Why this copy of the project has no earlier commits; empty where it has them."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--is-shallow-repository"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "this copy is no git repository"
    return "this clone is shallow" if found.stdout.strip() == "true" else ""


def current() -> str:
    """The commit of what is tried, with a plus where it has been changed since."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
