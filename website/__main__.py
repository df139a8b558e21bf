"""`python -m website`: build/pages, then build/docs."""

from __future__ import annotations

import subprocess
import sys

from website.stage import CONFIG, stage


def main() -> int:
    """Returns the exit code of the site's builder."""
    stage()
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run([*build, "--config-file", str(CONFIG)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
