"""Plants each bug in a copy of the farm, runs a suite there, and tells whether it was found.

A patch says in its first lines what the suite has to find, and what to run: `python -m tests.chaos`
with these options, another module of it whose name stands first, or `pytest` with a test that has
to fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]
_COPIED = ("farm", "client", "tests", "examples", "pyproject.toml")
_TOLD = re.compile(r"^# (found as|run with): (.*)$", re.MULTILINE)


def main() -> int:
    """Returns the exit code: 1 where a bug was not found."""
    wanted = sys.argv[1:]
    patches = [p for p in sorted(_HERE.glob("*.patch")) if not wanted or p.stem in wanted]
    missed = [patch.stem for patch in patches if not _is_found(patch)]
    print(f"{len(patches) - len(missed)} of {len(patches)} planted bugs were found")
    return 1 if missed or not patches else 0


def _is_found(patch: Path) -> bool:
    about = dict(_TOLD.findall(patch.read_text(encoding="utf-8")))
    kinds, options = about["found as"].split(", "), about["run with"].split()
    if options[0] == "pytest":
        command = options
    else:
        suite = "tests.chaos" if options[0].startswith("-") else f"tests.chaos.{options.pop(0)}"
        command = [suite, "--out=out", *options]
    git = ["git", "-C", str(_ROOT), "rev-parse", "--absolute-git-dir"]
    git_dir = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="farm-planted-") as name:
        copy = Path(name)
        for part in _COPIED:
            copy_it = shutil.copytree if (_ROOT / part).is_dir() else shutil.copy
            copy_it(_ROOT / part, copy / part)
        subprocess.run(["git", "apply", str(patch)], cwd=copy, check=True)
        run = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=copy,
            # The history is where an older farm comes from.
            env={**os.environ, "PYTHONPATH": f"{copy}:{copy / 'client'}", "GIT_DIR": git_dir},
            capture_output=True,
            text=True,
            check=False,
        )
    found = [k for k in kinds if re.search(rf"( x |^){re.escape(k)}", run.stdout, re.MULTILINE)]
    print(f"{patch.stem:<34}{'found as ' + found[0] if found else 'MISSED'}", flush=True)
    if not found:
        print(run.stdout, run.stderr, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
