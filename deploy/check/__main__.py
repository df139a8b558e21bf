"""Runs the check: `python -m deploy.check`, with whatever else pytest takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.check import tools


def main() -> int:
    """Fetches what the check needs and is not there yet, then checks. The exit code is pytest's."""
    tools.prepare()
    return pytest.main([str(Path(__file__).parent), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
