"""The `farm` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command and ends the process with its exit code."""
    # What gRPC writes by itself at each failed handshake is said in words of ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from farm.cli.app import run  # nothing is loaded until it is needed

    sys.exit(run(args))
