"""Tells whoever started this program that it serves."""

from __future__ import annotations

import socket
import sys

from farm.settings import notify_socket


def tell_ready(address: str) -> None:
    """Prints `ready ADDRESS`, and tells systemd where that has asked (sd_notify(3))."""
    print(f"ready {address}", flush=True)  # noqa: T201 - what waits for us reads it
    if path := notify_socket():
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
                systemd.connect(f"\0{path[1:]}" if path.startswith("@") else path)
                systemd.send(b"READY=1")
        except OSError as error:
            print(f"systemd cannot be told at {path}: {error.strerror}", file=sys.stderr)  # noqa: T201
