"""Who listens on this machine's TCP ports."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Listener:
    """A TCP port on which a program of this machine listens."""

    host: str  # an IP address; 0.0.0.0 or :: is every one
    port: int
    process: str = ""  # such as `nginx, pid 42`; empty where it is another user's

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_everywhere(self) -> bool:
        """Whether it listens on every address."""
        return ipaddress.ip_address(self.host).is_unspecified


def listeners() -> list[Listener]:
    """Every listening TCP socket. Raises ModuleNotFoundError without psutil."""
    import psutil  # type: ignore[import-untyped]

    found = []
    for socket in psutil.net_connections("tcp"):
        if socket.status == psutil.CONN_LISTEN:
            process = ""
            if socket.pid is not None:
                try:
                    process = f"{psutil.Process(socket.pid).name()}, pid {socket.pid}"
                except psutil.Error:  # it has just ended
                    process = f"pid {socket.pid}"
            # An IPv6 socket shows an IPv4 address as ::ffff:127.0.0.1.
            host = socket.laddr.ip.removeprefix("::ffff:")
            found.append(Listener(host, socket.laddr.port, process))
    return found


def holder(port: int) -> str:
    """Who listens on `port`, as far as can be seen; empty where it cannot."""
    try:
        everyone = listeners()
    except ImportError:
        return ""
    return next((one.process for one in everyone if one.port == port and one.process), "")
