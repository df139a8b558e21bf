"""A worker whose GPU is fake, as a program: `python -m tests.docs.worker ADDRESS`, or with the
arguments of `farm worker`.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

from svdfarm.tls import Tls
from tests.running import running_worker


def main() -> int:
    """Works until it is told to end."""
    words = sys.argv[1:]
    address = words[words.index("--gateway") + 1] if "--gateway" in words else words[0]
    ca = words[words.index("--tls-ca") + 1] if "--tls-ca" in words else None
    tls = Tls(ca, None, None, None) if address.startswith("grpcs://") else None
    token = os.environ.get("FARM_WORKER_TOKEN") or os.environ.get("FARM_TOKEN")
    with (
        tempfile.TemporaryDirectory(prefix="farm-docs-") as folder,
        running_worker(address, Path(folder), token=token, tls=tls),
    ):
        print("ready", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main())
