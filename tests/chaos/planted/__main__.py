"""Plants each bug in a copy of the farm, runs a suite there, and tells whether it was found.

    python -m tests.chaos.planted [BUG ...] [--table docs/PLANTED.md]

What found a bug stays in build/planted/; it is not tried again unless `--again` says so.

A patch says in its first lines what is wrong, what the suite has to find, and what to run:
`python -m tests.chaos` with these options, another module of it whose name stands first, or
`pytest` with a test that has to fail.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.chaos.versions import current

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]
_COPIED = ("farm", "client", "tests", "examples", "pyproject.toml")
_FOUND = _ROOT / "build" / "planted"
_TOLD = re.compile(r"^# (found as|run with): (.*)$", re.MULTILINE)


def main() -> int:
    """Returns the exit code: 1 where a bug was not found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {patch.stem: patch for patch in sorted(_HERE.glob("*.patch"))}
    parser.add_argument("bugs", nargs="*", metavar="BUG", help=f"{', '.join(known)}; default all")
    parser.add_argument("--again", action="store_true", help="also those that were found before")
    parser.add_argument("--table", type=Path, help="where what was found is written to")
    options = parser.parse_args()
    if unknown := set(options.bugs) - known.keys():
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    _FOUND.mkdir(parents=True, exist_ok=True)
    found = {name: _found(known[name], again=options.again) for name in options.bugs or known}
    if options.table is not None:
        options.table.write_text(_page(found), encoding="utf-8")
    caught = sum(map(bool, found.values()))
    print(f"{caught} of {len(found)} planted bugs were found")
    return 0 if caught == len(found) else 1


def _found(patch: Path, *, again: bool) -> str | None:
    """The line by which a suite told of the bug, now or before, and of which commit; or None."""
    path = _FOUND / f"{patch.stem}.txt"
    if path.exists() and not again:
        return path.read_text(encoding="utf-8")
    commit, line = current(), _try(patch)
    if line is None:
        return None
    told = f"{line} ({commit})"
    path.write_text(told, encoding="utf-8")
    return told


def _try(patch: Path) -> str | None:
    """The line of the suite by which it told of the bug; None where it did not."""
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
    told = (re.search(rf"^(.* x |){re.escape(kind)}.*", run.stdout, re.MULTILINE) for kind in kinds)
    line = next((re.split(": | - ", match[0])[0] for match in told if match), None)
    print(f"{patch.stem:<34}{line or 'MISSED'}", flush=True)
    if line is None:
        print(run.stdout, run.stderr, sep="\n")
    return line


def _page(found: dict[str, str | None]) -> str:
    """All bugs, for people."""
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    lines = [
        "# Bugs that were planted",
        "",
        f"Made by `make planted`, {today}: each bug alone, in a copy of the farm whose commit",
        "stands behind what found it. The patches are in tests/chaos/planted.",
        "",
        "| bug | run | found by |",
        "|---|---|---|",
    ]
    for name, line in found.items():
        text = (_HERE / f"{name}.patch").read_text(encoding="utf-8")
        wrong, run = text.splitlines()[0].removeprefix("# "), dict(_TOLD.findall(text))["run with"]
        told = (line or "**missed**").removeprefix("VIOLATED ")
        lines.append(f"| {wrong} | `{run}` | {told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
