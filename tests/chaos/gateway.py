"""A gateway as a process of its own, with a lease of seconds: `python -m tests.chaos.gateway`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from farm.gateway.config import Address, GatewayConfig
from farm.gateway.server import run
from farm.logs import configure_logs
from farm.store.bucket import Bucket
from farm.store.errors import StoreError
from farm.store.postgres import read_url
from tests.chaos import inside
from tests.chaos.worker import end_with_starter


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", type=Address.parse, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--lease-s", type=float, required=True)
    parser.add_argument("--reserve-bytes", type=int, required=True)
    parser.add_argument("--database", type=read_url)
    parser.add_argument("--artifacts")
    parser.add_argument("--endpoint")
    parser.add_argument("--direct-upload", action="store_true")
    parser.add_argument("--inside", type=Path, help="where tests/chaos/inside.py looks")
    options = parser.parse_args()
    configure_logs()
    end_with_starter()
    if options.inside is not None:
        inside.install(options.inside)
    artifacts = Bucket.read(options.artifacts, options.endpoint) if options.artifacts else None
    config = GatewayConfig(
        address=options.address,
        http=Address("127.0.0.1", 0),
        data=options.data,
        database=options.database,
        artifacts=artifacts,
        direct_upload=options.direct_upload,
        lease_s=options.lease_s,
        heartbeat_s=options.lease_s / 6,
        stall_s=5 * options.lease_s,
        disk_reserve_bytes=options.reserve_bytes,
        stop_grace_s=1.0,
    )
    try:
        asyncio.run(run(config, lambda gateway: print(f"ready {gateway.address}", flush=True)))
    except (StoreError, OSError) as error:  # its starter tries again
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
