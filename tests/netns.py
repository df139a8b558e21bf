"""Hosts for tests: network namespaces with addresses of their own, on one switch.

Needs root, Linux and iproute2. All of it is gone with its with block, or with this process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reaper import reaper

# One of the networks that RFC 2544 keeps for such tests; no route of this machine's leads there.
_NETWORK = "198.18.0"
_ETC = Path("/etc/netns")  # whose files `ip netns exec` lays over those of /etc
_PROGRAMS = ("ip", "unshare", "hostname")
# Whatever still runs there, the namespace, and its links with it.
_END = """for space; do
  pids=$(ip netns pids "$space" 2>/dev/null) && test -n "$pids" && kill -KILL $pids
  ip netns del "$space" 2>/dev/null
  rm -rf "/etc/netns/$space"
done"""


@dataclass(frozen=True)
class Host:
    """One machine, as far as the network can tell."""

    name: str
    address: str
    _namespace: str
    _switch: str

    def command(self, *arguments: str | Path) -> list[str]:
        """What runs `arguments` there, in one process; its hostname is the host's."""
        named = 'hostname "$0" && exec "$@"'
        inside = ["unshare", "--uts", "sh", "-c", named, self.name, *map(str, arguments)]
        return ["ip", "netns", "exec", self._namespace, *inside]

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Nothing reaches it, and nothing that it sends arrives; it is not told."""
        port = f"port-{self.name}"
        _ip("-n", self._switch, "link", "set", port, "nomaster")
        try:
            yield
        finally:
            _ip("-n", self._switch, "link", "set", port, "master", "switch")


@contextlib.contextmanager
def network(
    *names: str, aliases: Mapping[str, tuple[str, ...]] | None = None
) -> Iterator[list[Host]]:
    """Hosts of these names (11 characters at most), which know each other by them.

    An alias is one more name, for one or several of them.
    """
    _skip_where_there_are_none()
    own = f"svdfarm-{secrets.token_hex(3)}"
    switch = f"{own}-switch"
    hosts = [
        Host(name, f"{_NETWORK}.{number}", f"{own}-{name}", switch)
        for number, name in enumerate(names, start=1)
    ]
    spaces = [switch, *(host._namespace for host in hosts)]
    called = {host.name: [host.address, host.name] for host in hosts}
    for alias, named in (aliases or {}).items():
        for name in named:
            called[name].append(alias)
    # All names of an address in one line: c-ares, gRPC's resolver, takes its first line alone.
    lines = [" ".join(words) for words in called.values()]
    with reaper(_END, *spaces):
        try:
            _build(switch, hosts, "\n".join(["127.0.0.1 localhost", *lines, ""]))
            yield hosts
        finally:
            subprocess.run(["sh", "-c", _END, "end", *spaces], check=True)


def _skip_where_there_are_none() -> None:
    """Skips the test; fails it instead on a CI that has what they need but for a package."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"network namespaces need {', '.join(missing)}: install iproute2")
    if missing:
        pytest.skip(f"network namespaces need {', '.join(missing)}")
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"this root may make no network namespaces: {tried.stderr.strip()}")


def _build(switch: str, hosts: list[Host], names: str) -> None:
    _ip("netns", "add", switch)
    _ip("-n", switch, "link", "add", "switch", "type", "bridge")
    _ip("-n", switch, "link", "set", "switch", "up")
    for host in hosts:
        space, port = host._namespace, f"port-{host.name}"
        (_ETC / space).mkdir(parents=True)
        (_ETC / space / "hosts").write_text(names)
        _ip("netns", "add", space)
        peer = ("peer", "name", "eth0", "netns", space)
        _ip("-n", switch, "link", "add", port, "type", "veth", *peer)
        _ip("-n", switch, "link", "set", port, "master", "switch", "up")
        _ip("-n", space, "address", "add", f"{host.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", space, "link", "set", link, "up")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
