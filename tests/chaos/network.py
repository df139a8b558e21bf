"""A network of their own for the workers, joined to this machine by one wire that loses packets.

Needs Linux, root, and the programs `ip` and `nft` (Debian: iproute2, nftables).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator

from tests.reaper import reaper

_END = 'ip netns del "$1"'  # and with it both ends of its wire


class Network:
    """A namespace; made by `apart`."""

    def __init__(self, name: str, host: str) -> None:
        self.host = host  # this machine's address, as the namespace sees it
        self.inside = ["ip", "netns", "exec", name]  # how a command begins that runs there
        self._tables = itertools.count(1)

    @contextlib.contextmanager
    def dropping(self, percent: int, ports: Collection[int] = ()) -> Iterator[None]:
        """Loses so many of the packets, either way, for the length of a with block.

        Nobody is told of a loss. With `ports`, only what goes to these of this machine's ports, and
        what comes from there.
        """
        table = f"inet faults-{next(self._tables)}"
        only = f"{{ {', '.join(map(str, ports))} }}"
        some = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        rules = [f"add table {table}"]
        for hook, end in (("input", "sport"), ("output", "dport")):
            whose = f"tcp {end} {only}" if ports else ""
            rules += [
                f"add chain {table} {hook} {{ type filter hook {hook} priority 0; }}",
                f"add rule {table} {hook} {whose} {some} drop",
            ]
        self._nft("; ".join(rules))
        try:
            yield
        finally:
            self._nft(f"delete table {table}")

    def _nft(self, commands: str) -> None:
        subprocess.run([*self.inside, "nft", commands], check=True, capture_output=True)


@contextlib.contextmanager
def apart() -> Iterator[Network | None]:
    """A new network for the length of a with block; None where this machine lets us make none."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "nft"))):
        yield None
        return
    pid = os.getpid()
    # Both names and addresses are this process's own: others may run beside it.
    name, subnet = f"farm-chaos-{pid}", f"10.{200 + pid // 16384 % 50}.{pid // 64 % 256}"
    first = pid % 64 * 4
    host, there = f"{subnet}.{first + 1}", f"{subnet}.{first + 2}"
    near, far = f"near{pid}", f"far{pid}"
    with reaper(_END, name):
        try:
            _ip("netns", "add", name)
            _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
            _ip("addr", "add", f"{host}/30", "dev", near)
            _ip("link", "set", near, "up")
            for command in (
                ("addr", "add", f"{there}/30", "dev", far),
                ("link", "set", far, "up"),
                ("link", "set", "lo", "up"),
            ):
                _ip("-n", name, *command)
            network = Network(name, host)
            with network.dropping(1):  # that the kernel can
                pass
        except subprocess.CalledProcessError:
            _ip("netns", "del", name, check=False)
            yield None
            return
        try:
            yield network
        finally:
            _ip("netns", "del", name)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
